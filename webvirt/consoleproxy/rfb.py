"""What a browser may say to a guest's display: the client's half of RFB (RFC 6143), judged message by message.

View-only is enforced here. Only whole messages of kinds that change nothing at the guest are passed on, so whatever a
modified client sends, the display reads what we meant it to read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VERSIONS = (b"RFB 003.007\n", b"RFB 003.008\n")
SECURITY_NONE = 1
SECURITY_VNC = 2
VNC_RESPONSE = 16
SHARED = b"\x01"
MAX_CUT_TEXT = 1024 * 1024
QEMU = 255
QEMU_KEY = 0
QEMU_AUDIO = 1


class NotRfb(Exception):
    """The browser said something that no client of a display says; `str(error)` is what."""


@dataclass(frozen=True)
class Message:
    """One kind: how many bytes tell how long it is, how many follow those, and whether it is input to the guest."""

    head: int
    is_input: bool = False
    rest: Callable[[bytes], int] = lambda head: 0


def cut_text_rest(head: bytes) -> int:
    """A negative length marks the extended clipboard; its size is what counts."""
    size = abs(int.from_bytes(head[4:8], "big", signed=True))
    if size > MAX_CUT_TEXT:
        raise NotRfb("a clipboard of more than 1 MiB")
    return size


def audio_rest(head: bytes) -> int:
    operation = int.from_bytes(head[2:4], "big")
    if operation not in (0, 1, 2):
        raise NotRfb(f"unknown audio message {operation}")
    return 6 if operation == 2 else 0


MESSAGES = {
    0: Message(20),  # SetPixelFormat
    2: Message(4, rest=lambda head: 4 * int.from_bytes(head[2:4], "big")),  # SetEncodings
    3: Message(10),  # FramebufferUpdateRequest
    4: Message(8, is_input=True),  # KeyEvent
    5: Message(6, is_input=True, rest=lambda head: head[1] >> 7),  # PointerEvent, a byte longer with many buttons
    6: Message(8, is_input=True, rest=cut_text_rest),  # ClientCutText
    150: Message(10),  # EnableContinuousUpdates
    248: Message(9, rest=lambda head: head[8]),  # ClientFence
    250: Message(4, is_input=True),  # xvp: shut down, reboot, reset
    251: Message(8, is_input=True, rest=lambda head: 16 * head[6]),  # SetDesktopSize
}
QEMU_MESSAGES = {
    QEMU_KEY: Message(12, is_input=True),
    QEMU_AUDIO: Message(4, rest=audio_rest),
}


class ClientFilter:
    """Takes the browser's bytes in any pieces and gives those for the display.

    `view_only` drops all input. In either mode the display is asked for shared, so that no viewer throws out another.
    """

    def __init__(self, *, view_only: bool) -> None:
        self._view_only = view_only
        self._head = bytearray()
        self._need = len(VERSIONS[0])
        self._step: Callable[[bytearray], None] = self._version
        self._out = bytearray()
        self._rest = 0
        self._keeps_rest = False

    def feed(self, data: bytes) -> bytes:
        """What of these bytes goes to the display. Raises NotRfb."""
        if not self._judges():
            return data
        at = 0
        while at < len(data) and self._judges():
            wanted = self._rest or self._need - len(self._head)
            piece = data[at : at + wanted]
            at += len(piece)
            if self._rest:
                self._rest -= len(piece)
                if self._keeps_rest:
                    self._out += piece
                continue
            self._head += piece
            if len(self._head) == self._need:
                self._step(self._head)
        passed, self._out = bytes(self._out + data[at:]), bytearray()
        return passed

    def _judges(self) -> bool:
        """Whether there is anything left to judge: in control, nothing is after the handshake."""
        return self._view_only or self._step != self._message

    def _next(self, step: Callable[[bytearray], None], need: int) -> None:
        self._head = bytearray()
        self._step = step
        self._need = need

    def _version(self, head: bytearray) -> None:
        if bytes(head) not in VERSIONS:
            raise NotRfb("only versions 3.7 and 3.8 of the protocol are spoken here")
        self._out += head
        self._next(self._security, 1)

    def _security(self, head: bytearray) -> None:
        if head[0] not in (SECURITY_NONE, SECURITY_VNC):
            raise NotRfb(f"security type {head[0]} cannot be carried")
        self._out += head
        if head[0] == SECURITY_VNC:
            self._next(self._response, VNC_RESPONSE)
        else:
            self._next(self._client_init, 1)

    def _response(self, head: bytearray) -> None:
        self._out += head
        self._next(self._client_init, 1)

    def _client_init(self, head: bytearray) -> None:
        self._out += SHARED
        self._next(self._message, 1)

    def _message(self, head: bytearray) -> None:
        """Judge a message by its head, asking for more of it until its length is known."""
        kind = head[0]
        if kind == QEMU and len(head) == 1:
            self._need = 2
            return
        message = QEMU_MESSAGES.get(head[1]) if kind == QEMU else MESSAGES.get(kind)
        if message is None:
            raise NotRfb(f"unknown message {kind}" + (f"/{head[1]}" if kind == QEMU else ""))
        if len(head) < message.head:
            self._need = message.head
            return
        self._rest = message.rest(bytes(head))
        self._keeps_rest = not message.is_input
        if not message.is_input:
            self._out += head
        self._next(self._message, 1)
