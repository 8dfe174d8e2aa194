"""The hops to a guest's display or serial line: which of them failed, and that what hangs is found out in time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from webvirt.hypervisor.errors import (
    HostRefused,
    HypervisorError,
    InUse,
    NoDisplay,
    NotFound,
    NotResponding,
    NotVnc,
    Unsupported,
    WrongState,
)
from webvirt.services.consoles import Close, Refusal

T = TypeVar("T")

GREETING_SECONDS = 5.0
ANSWER_SECONDS = 8.0
CODES: tuple[tuple[type[HypervisorError], Close], ...] = (
    (HostRefused, Close.SIGN_IN),
    (NotFound, Close.UNKNOWN),
    (InUse, Close.TAKEN),
    (WrongState, Close.NOT_NOW),
    (NoDisplay, Close.NO_DISPLAY),
    (NotVnc, Close.NOT_VNC),
    (Unsupported, Close.DISPLAY),
    (NotResponding, Close.SILENT),
)
"""The hop that an error speaks of; of any other it is the host that cannot be reached."""


def refusal_of(error: HypervisorError) -> Refusal:
    return Refusal(next((code for kind, code in CODES if isinstance(error, kind)), Close.HOST), str(error))


def in_time(ask: Callable[[], T]) -> T:
    """What libvirt answers about a guest. Raises Refusal where that takes so long that the guest must hang, and what
    `ask` raises."""
    answers: list[T] = []
    failures: list[HypervisorError] = []

    def run() -> None:
        try:
            answers.append(ask())
        except HypervisorError as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="ask-libvirt", daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if failures:
        raise failures[0]
    if not answers:
        raise Refusal(Close.SILENT, f"the guest's process did not answer within {ANSWER_SECONDS:.0f} s")
    return answers[0]


def demand_greeting(end: socket.socket) -> None:
    """Raise Refusal unless a display greets us: it is always the display that speaks first."""
    end.settimeout(GREETING_SECONDS)
    try:
        if end.recv(1, socket.MSG_PEEK):
            return
    except TimeoutError:
        words = f"the display took the connection and did not greet within {GREETING_SECONDS:.0f} s"
        raise Refusal(Close.SILENT, words) from None
    except OSError as error:
        raise Refusal(Close.DISPLAY, f"the display does not answer: {error}") from None
    raise Refusal(Close.DISPLAY, "the display took the connection and hung up")
