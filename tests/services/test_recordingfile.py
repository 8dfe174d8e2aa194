"""The file of a recording: what is in it, where it ends, and what is left of one that was cut off."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import PROJECT
from webvirt.models import RecordingEnd
from webvirt.services import recordingfile
from webvirt.services.recordingfile import MAGIC, CannotRecord, Extent, Recorder, extent_of, frames

MIB = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recordings" / "7.rec"


@pytest.fixture
def time_of(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says: the last of these."""
    times = [100.0]
    monkeypatch.setattr("webvirt.services.recordingfile.time.monotonic", lambda: times[-1])
    return times


def add(recorder: Recorder, data: bytes) -> None:
    recorder.add(memoryview(data))


def reason_of(recorder: Recorder, data: bytes) -> RecordingEnd:
    with pytest.raises(CannotRecord) as caught:
        add(recorder, data)
    return caught.value.reason


def test_what_is_in_it(path: Path, time_of: list[float]) -> None:
    recorder = Recorder(path)
    add(recorder, b"RFB 003.008\n")
    time_of.append(101.5)
    add(recorder, b"\x01\x01")
    recorder.close()
    head = struct.Struct(">II")
    assert path.read_bytes() == MAGIC + head.pack(0, 12) + b"RFB 003.008\n" + head.pack(1500, 2) + b"\x01\x01"
    assert (recorder.size, recorder.milliseconds) == (len(path.read_bytes()), 1500)
    assert extent_of(path) == Extent(recorder.size, 1500)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_one_was_asked_twice_for_is_not_written_over(path: Path) -> None:
    Recorder(path).close()
    with pytest.raises(CannotRecord) as caught:
        Recorder(path)
    assert caught.value.reason == RecordingEnd.FAILED


def test_a_torn_end_is_passed_over_wherever_it_tears(path: Path, time_of: list[float]) -> None:
    recorder = Recorder(path)
    add(recorder, b"whole")
    whole = recorder.size
    time_of.append(109)
    add(recorder, b"torn")
    recorder.close()
    said = path.read_bytes()
    for size in range(whole, len(said)):
        path.write_bytes(said[:size])
        assert extent_of(path) == Extent(whole, 0), size
    for size in range(whole):
        path.write_bytes(said[:size])
        assert extent_of(path) == Extent(0, 0), size


@pytest.mark.parametrize("said", [b"", b"no recording at all", MAGIC[:-1] + b"\x02" + bytes(64)])
def test_what_is_no_recording_has_no_frames(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "1.rec"
    path.write_bytes(said)
    with path.open("rb") as file:
        assert list(frames(file)) == []
    assert extent_of(tmp_path / "none.rec") == Extent(0, 0)


def test_one_is_no_larger_than_it_may_be(path: Path, settings: object) -> None:
    settings.WEBVIRT_RECORDING_MIB = 1  # type: ignore[attr-defined]
    recorder = Recorder(path)
    add(recorder, bytes(MIB - 1000))
    assert reason_of(recorder, bytes(2000)) == RecordingEnd.SIZE
    recorder.close()
    assert extent_of(path).size == path.stat().st_size == recorder.size < MIB


def test_so_much_is_left_free_on_the_disk(path: Path, settings: object) -> None:
    recorder = Recorder(path)
    add(recorder, bytes(recordingfile.LOOK_BYTES))
    recorder._free = 2**60
    assert reason_of(recorder, b"more") == RecordingEnd.FULL
    recorder.close()
    settings.WEBVIRT_RECORDINGS_FREE_MIB = 2**40  # type: ignore[attr-defined]
    with pytest.raises(CannotRecord) as caught:
        Recorder(path.with_name("8.rec"))
    assert caught.value.reason == RecordingEnd.FULL


def test_a_disk_that_is_full_takes_whole_frames_alone(path: Path) -> None:
    """In a process of its own, which may write no larger files: its own tests' output is none of them."""
    program = f"""
import django; django.setup()
import resource
from pathlib import Path
from webvirt.services.recordingfile import CannotRecord, Recorder
recorder = Recorder(Path({str(path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
try:
    while True:
        recorder.add(memoryview(bytes(30_000)))
except CannotRecord as stopped:
    print(stopped, recorder.size)
"""
    environment = os.environ | {"WEBVIRT_RECORDINGS_FREE_MIB": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    size = len(MAGIC) + 3 * (8 + 30_000)
    assert done.stdout == f"full {size}\n", done.stderr
    assert path.stat().st_size == size
    assert extent_of(path).size == size
