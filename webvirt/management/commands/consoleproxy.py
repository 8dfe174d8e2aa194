"""Serves the bytes of consoles: `manage.py consoleproxy`, one for an installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webvirt.consoleproxy.dial import dial
from webvirt.consoleproxy.server import ConsoleServer, Running
from webvirt.consoleproxy.usher import admit

SOCKET = "console.sock"


class Command(BaseCommand):
    help = "Serves the bytes of consoles on WEBVIRT_HOME/run/console.sock, behind nginx."
    # The checks would load all pages into a process whose memory every console shares.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.WEBVIRT_HOME / "run" / SOCKET
        try:
            server = ConsoleServer(path, settings.SOCKET_ORIGINS, admit, dial)
        except Running as error:
            raise CommandError(str(error)) from None
        self.stderr.write(f"console proxy listens on {path}")
        server.run()
