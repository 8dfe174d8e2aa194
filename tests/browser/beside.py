"""Somebody at a guest's display who did not come by us, as far as their clipboard goes (RFB's extended clipboard)."""

from __future__ import annotations

import re
import socket
import struct
import zlib
from types import TracebackType
from typing import Self

from tests.guests import Guest

TEXT, REQUEST, NOTIFY, PROVIDE = 1, 1 << 25, 1 << 27, 1 << 28
RAW, EXTENDED_CLIPBOARD = 0, 0xC0A1E5CE
CUT_TEXT = struct.Struct(">BxxxiI")
"""Of either side: the type of the message, minus how many bytes follow, flags."""


class Beside:
    """Connected for as long as it is entered."""

    def __init__(self, guest: Guest) -> None:
        found = re.search(r"<graphics type='vnc' socket='([^']+)'", guest.virsh("dumpxml"))
        assert found, "its display listens on a socket"
        self.path = found[1]

    def __enter__(self) -> Self:
        self.line = socket.socket(socket.AF_UNIX)
        self.line.settimeout(30)
        self.line.connect(self.path)
        assert self.read(12).startswith(b"RFB 003.")
        self.line.sendall(b"RFB 003.008\n")
        self.read(self.read(1)[0])
        self.line.sendall(b"\x01")
        assert self.read(4) == bytes(4), "it asks for no password"
        self.line.sendall(b"\x01")
        self.read(int.from_bytes(self.read(24)[20:], "big"))
        self.line.sendall(struct.pack(">BxHII", 2, 2, RAW, EXTENDED_CLIPBOARD))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()

    def copies(self, text: str) -> None:
        self.say(NOTIFY)
        self.hear(REQUEST)
        said = text.encode() + b"\0"
        self.say(PROVIDE, zlib.compress(len(said).to_bytes(4, "big") + said))

    def pastes(self) -> str:
        """What somebody else copies next."""
        self.hear(NOTIFY)
        self.say(REQUEST)
        said = zlib.decompressobj().decompress(self.hear(PROVIDE))
        return said[4 : 4 + int.from_bytes(said[:4], "big")].rstrip(b"\0").decode()

    def say(self, what: int, data: bytes = b"") -> None:
        self.line.sendall(CUT_TEXT.pack(6, -4 - len(data), what | TEXT) + data)

    def hear(self, what: int) -> bytes:
        while True:
            kind, length, flags = CUT_TEXT.unpack(self.read(CUT_TEXT.size))
            assert kind == 3, "a display says nothing else that was not asked for"
            data = self.read(-length - 4)
            if flags & what:
                return data

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.line.recv(size - len(data))
            assert piece, "the display hung up"
            data += piece
        return data
