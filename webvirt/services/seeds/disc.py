"""A small disc with a few files, as an image of ISO 9660 with Joliet's names for Windows and Rock Ridge's for Linux."""

from __future__ import annotations

import re
from collections import Counter
from io import BytesIO

from pycdlib import PyCdlib

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,29}", re.ASCII)
LABEL = re.compile(r"[A-Za-z0-9_-]{1,16}", re.ASCII)
"""As many characters as Joliet has room for."""
LARGEST = 8 * 1024 * 1024
"""Bytes of all files together."""
READABLE = 0o100444


def disc_of(files: dict[str, bytes], label: str) -> bytes:
    """The image of a disc with these files at its top, by name. ValueError where it cannot hold them.

    Two images of the same files differ in nothing but the times that are written on them.
    """
    check(files, label)
    image = PyCdlib()
    image.new(interchange_level=3, vol_ident=label, joliet=3, rock_ridge="1.09")
    try:
        for name, data in sorted(files.items()):
            image.add_fp(
                BytesIO(data),
                len(data),
                iso_path=f"/{plain_name(name)};1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=READABLE,
            )
        written = BytesIO()
        image.write_fp(written)
    finally:
        image.close()
    return written.getvalue()


def check(files: dict[str, bytes], label: str) -> None:
    """Raise ValueError unless a disc can have these files and this label."""
    if not LABEL.fullmatch(label):
        raise ValueError("A disc's label is 1 to 16 letters, digits, '_' and '-'.")
    for name in files:
        if not NAME.fullmatch(name):
            raise ValueError(f"A file on the disc cannot be called {name[:64]!r}: letters, digits, '.', '_' and '-'.")
    twice = [name for name, times in Counter(map(plain_name, files)).items() if times > 1]
    if twice:
        raise ValueError(f"Two files would be the same to a reader that knows only {twice[0]}: rename one.")
    if sum(map(len, files.values())) > LARGEST:
        raise ValueError(f"The files are too large for such a disc: {LARGEST // 1024 // 1024} MiB at most.")


def plain_name(name: str) -> str:
    """The name for readers of ISO 9660 alone: capitals, digits and one dot."""
    stem, _, extension = name.upper().rpartition(".") if "." in name else (name.upper(), "", "")
    return f"{re.sub('[^A-Z0-9]', '_', stem)}.{extension.replace('-', '_')}"
