"""The label of a disc: bytes that anybody may have written."""

from __future__ import annotations

import random
from dataclasses import astuple

import pytest

from tests.discs import BLOCK, BLOCKS, disc, label
from tests.hypervisor.stores import Store, with_bytes
from webvirt.hypervisor.discs import LABEL_AT, LABEL_BYTES, label_of
from webvirt.hypervisor.types import DiscLabel


def test_a_label_in_full() -> None:
    found = label_of(label("Debian 12", system="LINUX", publisher="SOMEBODY", application="xorriso"))
    assert found == DiscLabel("Debian 12", "LINUX", "SOMEBODY", "xorriso", BLOCK * BLOCKS)


@pytest.mark.parametrize("data", [b"", b"\1", b"\1CD00", b"\1CD002" + bytes(2042), bytes(2048), b"QFI\xfb" * 512])
def test_what_is_no_disc(data: bytes) -> None:
    assert label_of(data) is None


@pytest.mark.parametrize("data", [b"\1CD001", b"\0CD001" + b"x" * 2042, b"\xffCD001\1", label()])
def test_a_disc_that_says_nothing_is_one_all_the_same(data: bytes) -> None:
    found = label_of(data)
    assert found is not None
    assert not any(astuple(found)[:4])


def test_a_hostile_label_comes_out_short_and_printable() -> None:
    dice = random.Random(7)
    for length in (6, 40, 100, 700, LABEL_BYTES, 10_000):
        for _ in range(200):
            found = label_of(b"\1CD001" + dice.randbytes(length - 6))
            assert found is not None
            for text in astuple(found)[:4]:
                assert len(text) <= 128
                assert text == text.strip()
                assert text.isascii()
                assert all(character.isprintable() for character in text)
            assert 0 <= found.size < 2**48


def test_control_characters_and_markup() -> None:
    found = label_of(label("\x1b[2J\n<b>\0\u202eevil"))
    assert found is not None
    assert found.volume_id == "[2J<b>evil"


@with_bytes
def test_it_is_read_out_of_a_volume(store: Store) -> None:
    store.put("cd.iso", disc("Debian 12.5.0 amd64 n"))
    store.put("short.img", b"x" * 100)
    found: dict[str, bytearray] = {"cd.iso": bytearray(), "short.img": bytearray()}
    for name, data in found.items():
        store.calls.download(store.uuid, name, LABEL_AT, LABEL_BYTES, data.extend)
        assert len(data) <= LABEL_BYTES
    read = label_of(bytes(found["cd.iso"]))
    assert read is not None
    assert read.volume_id == "Debian 12.5.0 amd64 n"
    assert label_of(bytes(found["short.img"])) is None
