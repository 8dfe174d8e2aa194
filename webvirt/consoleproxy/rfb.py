"""What a browser may say to a guest's display: the client's half of RFB (RFC 6143), judged message by message.

View-only is enforced here. Only whole messages of kinds that change nothing at the guest are passed on, so whatever a
modified client sends, the display reads what we meant it to read. Who types may be told to watch at any moment, and the
other way round: where messages begin and end is known in control too.
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
KEY_EVENT = 4
POINTER_EVENT = 5
MOST_HELD = 256
"""Keys that are let go of for somebody: no keyboard has more."""


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
        self._held: dict[bytes, bytes] = {}
        """Keys and buttons that were passed down, each with the message that lets go of it."""
        self._is_lost = False
        """In control, after a message whose end is not known here: all passes, as it is."""

    def feed(self, data: bytes) -> bytes:
        """What of these bytes goes to the display. Raises NotRfb."""
        at = 0
        while at < len(data) and not self._is_lost:
            wanted = self._rest or self._need - len(self._head)
            piece = data[at : at + wanted]
            at += len(piece)
            if self._rest:
                self._rest -= len(piece)
                if self._keeps_rest:
                    self._out += piece
                self._let_go()
                continue
            self._head += piece
            if len(self._head) == self._need:
                self._step(self._head)
        self._out += data[at:]
        return self._taken()

    def switch(self, *, view_only: bool) -> bytes:
        """From the next message on, judge by this. Returns what lets go of all that is held down; where a message is
        half passed, that follows it. Raises NotRfb where nobody knows any more which message that is."""
        if view_only and self._is_lost:
            raise NotRfb("it was told to watch in the middle of what no client of a display says")
        self._view_only = view_only
        self._let_go()
        return self._taken()

    def _taken(self) -> bytes:
        passed, self._out = bytes(self._out), bytearray()
        return passed

    def _let_go(self) -> None:
        """Between two messages to the display: nobody who only watches holds a key."""
        if self._view_only and self._held and not (self._rest and self._keeps_rest):
            for release in self._held.values():
                self._out += release
            self._held = {}

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
        try:
            message = self._measured(head)
        except NotRfb:
            if self._view_only:
                raise
            # The display judges it: a newer one must not need a newer proxy.
            self._is_lost = True
            self._out += head
            return
        if message is None:
            return
        self._keeps_rest = not (message.is_input and self._view_only)
        if self._keeps_rest:
            self._out += head
        if self._keeps_rest and message.is_input:
            self._remember(bytes(head))
        self._next(self._message, 1)

    def _measured(self, head: bytearray) -> Message | None:
        """Which kind it is, with the length of what follows its head; None while more of that is needed."""
        kind = head[0]
        if kind == QEMU and len(head) == 1:
            self._need = 2
            return None
        message = QEMU_MESSAGES.get(head[1]) if kind == QEMU else MESSAGES.get(kind)
        if message is None:
            raise NotRfb(f"unknown message {kind}" + (f"/{head[1]}" if kind == QEMU else ""))
        if len(head) < message.head:
            self._need = message.head
            return None
        self._rest = message.rest(bytes(head))
        return message

    def _remember(self, head: bytes) -> None:
        """Which keys and buttons are down now, the newest last."""
        if head[0] == QEMU:
            self._hold(head[8:12], b"\xff\0\0\0" + head[4:], is_down=bool(head[3]))
        elif head[0] == KEY_EVENT:
            self._hold(b"key" + head[4:], b"\x04\0\0\0" + head[4:], is_down=bool(head[1]))
        elif head[0] == POINTER_EVENT:
            self._hold(b"buttons", b"\x05\0" + head[2:], is_down=bool(head[1]))

    def _hold(self, key: bytes, release: bytes, *, is_down: bool) -> None:
        self._held.pop(key, None)
        if is_down and len(self._held) < MOST_HELD:
            self._held[key] = release
