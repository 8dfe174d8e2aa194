"""Discs that guests read at their first boot: what readers of all kinds find on them, a booted guest among them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pycdlib import PyCdlib

from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.until import until
from webvirt.hypervisor.discs import LABEL_AT, LABEL_BYTES, label_of
from webvirt.services.seeds.cloudinit import LABEL, Address, CloudInit, files_of
from webvirt.services.seeds.disc import LARGEST, disc_of

WANTED = CloudInit(
    "web1", "i-1", user="ada", addresses=(Address("52:54:00:12:34:56", "192.0.2.10/24"),), user_data="#!/bin/sh\nid\n"
)
FILES = {name: text.encode() for name, text in files_of(WANTED).items()} | {"autounattend.xml": b"<x/>", "empty": b""}


@pytest.fixture(scope="module")
def disc() -> bytes:
    return disc_of(FILES, LABEL)


def read(disc: bytes, **how: str) -> bytes:
    image, found = PyCdlib(), BytesIO()
    image.open_fp(BytesIO(disc))
    try:
        image.get_file_from_iso_fp(found, **how)
    finally:
        image.close()
    return found.getvalue()


def test_every_reader_finds_every_file(disc: bytes) -> None:
    plain = {"meta-data": "META_DATA.", "autounattend.xml": "AUTOUNATTEND.XML"}
    for name, data in FILES.items():
        assert read(disc, joliet_path=f"/{name}") == data
        assert read(disc, rr_path=f"/{name}") == data
        if name in plain:
            assert read(disc, iso_path=f"/{plain[name]};1") == data


def test_it_is_labelled(disc: bytes, tmp_path: Path) -> None:
    label = label_of(disc[LABEL_AT : LABEL_AT + LABEL_BYTES])
    assert label is not None
    assert (label.volume_id, label.size) == ("cidata", len(disc))
    assert "cidata".encode("utf-16-be") in disc[LABEL_AT + LABEL_BYTES :]
    assert len(disc) < 512 * 1024
    # As cloud-init looks for it.
    (tmp_path / "disc").write_bytes(disc)
    asked = ["blkid", "-p", "-o", "value", "-s", "LABEL", str(tmp_path / "disc")]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "cidata\n"


def test_it_differs_in_times_alone(disc: bytes) -> None:
    again = disc_of(dict(reversed(FILES.items())), LABEL)
    assert len(again) == len(disc)
    assert sum(a != b for a, b in zip(again, disc, strict=True)) < 400


@pytest.mark.parametrize(
    ("files", "label", "sentence"),
    [
        ({"a": bytes(LARGEST), "b": b"x"}, "cidata", "8 MiB"),
        ({"a/b": b""}, "cidata", "called 'a/b'"),
        ({"..": b""}, "cidata", "called"),
        ({"": b""}, "cidata", "called"),
        ({"a\n": b""}, "cidata", "called"),
        ({"é": b""}, "cidata", "called"),
        ({"a" * 31: b""}, "cidata", "called"),
        ({"a-b": b"", "A_B": b""}, "cidata", "same to a reader"),
        ({}, "", "label"),
        ({}, "a" * 17, "label"),
        ({}, "a b", "label"),
    ],
)
def test_what_no_disc_can_hold_is_refused(files: dict[str, bytes], label: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        disc_of(files, label)


@pytest.mark.parametrize("name", ["a.b.c-d", "a.", "A" * 30, "a" * 26 + ".xml", "9_-.x_-"])
def test_odd_names_are_kept(name: str) -> None:
    disc = disc_of({name: b"here"}, "x")
    assert read(disc, joliet_path=f"/{name}") == read(disc, rr_path=f"/{name}") == b"here"


@pytest.fixture
def guest(disc: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A Linux that has booted with the disc."""
    # Where QEMU, which runs as somebody else, gets through.
    folder, run = Path("/var/tmp"), tmp_path_factory.getbasetemp().name
    image, log = folder / f"wvs-disc-{run}.iso", folder / f"wvs-serial-{run}.log"
    image.write_bytes(disc)
    guest = Guest("wvs-linux", guest=tiny_guest(), serial_log=log, disc=image, memory=96)
    try:
        guest.define().virsh("start")
        yield guest
    finally:
        guest.remove()
        log.unlink(missing_ok=True)
        image.unlink()


def test_linux_reads_it(guest: Guest) -> None:
    log = guest.serial_log
    assert log is not None
    until(lambda: "guest is up" in log.read_text(errors="replace"), 60, what="the guest is up")
    said = log.read_text(errors="replace")
    for name, data in FILES.items():
        assert f"{hashlib.sha256(data).hexdigest()}  {name}" in said
