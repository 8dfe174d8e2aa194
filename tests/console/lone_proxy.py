"""The console proxy with one part replaced: every display is the given address.

`lone_proxy.py SOCKET HOST PORT [FASTER]`: so many times as fast it pings, and gives up a browser that is silent.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import django

django.setup()

from django.conf import settings  # noqa: E402

from webvirt.consoleproxy import pump  # noqa: E402
from webvirt.consoleproxy.server import ConsoleServer  # noqa: E402
from webvirt.consoleproxy.usher import admit  # noqa: E402
from webvirt.services.consoles import Admission  # noqa: E402


def main(path: str, host: str, port: str, faster: str = "1") -> None:
    pump.PING_SECONDS /= float(faster)
    pump.SILENCE_SECONDS /= float(faster)

    def dial(admission: Admission, life: socket.socket) -> list[socket.socket]:
        end = socket.create_connection((host, int(port)))
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [end]

    ConsoleServer(Path(path), settings.SOCKET_ORIGINS, admit, dial).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
