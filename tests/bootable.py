"""A disc that a BIOS starts from: twenty bytes of machine code that make the whole screen light, and rest."""

from __future__ import annotations

import io

import pycdlib

CODE = bytes.fromhex(
    "b80300cd10"  # mov ax, 3; int 10h: text, 80 by 25
    "b8db09bb0700b9d007cd10"  # mov ax, 09dbh; mov bx, 7; mov cx, 2000; int 10h: a full block, everywhere
    "f4ebfd"  # hlt; jmp hlt
)
LIT = 200_000
"""So many pixels of the screen are light then, and never else: a BIOS says a few words."""


def bootable_disc(label: str = "WVTEST") -> bytes:
    """An ISO 9660 image with an El Torito boot sector. Its label is of no system that osinfo-db knows."""
    sector = CODE.ljust(2048, b"\0")
    disc, out = pycdlib.PyCdlib(), io.BytesIO()
    disc.new(interchange_level=3, vol_ident=label)
    disc.add_fp(io.BytesIO(sector), len(sector), "/BOOT.;1")
    disc.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1", boot_load_size=4)
    disc.write_fp(out)
    disc.close()
    return out.getvalue()
