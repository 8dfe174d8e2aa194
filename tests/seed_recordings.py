"""Recordings for pages to show and to play, their files included."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from webvirt.models import ConsoleDevice, ConsoleMode, ConsoleSession, Domain, Recording, RecordingEnd, User
from webvirt.services.recordingfile import FRAME, MAGIC, path_of

SAID = (
    "[    0.000000] Linux version 6.1.0-28-amd64\r\n",
    "[    1.204411] virtio_blk virtio1: [vda] 41943040 512-byte logical blocks\r\n",
    "\r\nDebian GNU/Linux 12 app-server ttyS0\r\n\r\napp-server login: ",
    "ada\r\nPassword: \r\nada@app-server:~$ ",
    "uptime\r\n 14:02:11 up 9 days,  3:12,  1 user,  load average: 0.42\r\nada@app-server:~$ ",
)
"""What a serial line said, each 2.5 s after the one before."""


def add_recordings(person: User, domains: list[Domain]) -> None:
    """One of each machine: the first of a serial line, to be played; the others of screens, ended by all reasons."""
    for number, domain in enumerate(domains):
        ended = timezone.now() - timedelta(hours=7 * number)
        device = ConsoleDevice.SCREEN if number else ConsoleDevice.SERIAL
        session = ConsoleSession.objects.create(
            user=person,
            domain=domain,
            device=device,
            mode=ConsoleMode.CONTROL,
            leased_until=ended,
            opened_at=ended - timedelta(minutes=4),
            ended_at=ended,
            is_recorded=True,
        )
        recording = Recording.objects.create(
            session=session,
            domain=domain,
            name=domain.name,
            person=person.get_username(),
            device=device,
            ended_at=ended,
            end_reason=list(RecordingEnd)[number % len(RecordingEnd)],
            kept_until=ended + timedelta(days=30),
        )
        write(recording)


def write(recording: Recording) -> None:
    frames = [FRAME.pack(2500 * number, len(said)) + said.encode() for number, said in enumerate(SAID)]
    path = path_of(recording.pk)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(MAGIC + b"".join(frames))
    recording.size = path.stat().st_size
    recording.milliseconds = 2500 * (len(SAID) - 1)
    recording.save()
