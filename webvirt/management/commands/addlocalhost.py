"""`manage.py addlocalhost`: this machine's own libvirt as the first host; `deploy/run` calls it at every start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from webvirt.hypervisor.types import Transport
from webvirt.models import Host, Origin
from webvirt.services import hosts
from webvirt.services.operations import Actor

SOCKET = Path("/run/libvirt/libvirt-sock")


class Command(BaseCommand):
    help = "Adds this machine's own libvirt as a host, unless there is or ever was one, or libvirt is not here."

    def handle(self, *args: Any, **options: Any) -> None:
        # A host that somebody removed must not come back with the next start.
        if Host.objects.exists() or not SOCKET.exists():
            return
        name = socket.gethostname().split(".")[0]
        hosts.add(Actor(user=None, origin=Origin.SYSTEM), {"name": name, "transport": Transport.LOCAL.value})
        self.stdout.write(f"Added this machine's libvirt as host {name}.")
