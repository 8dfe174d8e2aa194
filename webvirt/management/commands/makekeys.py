"""`manage.py makekeys`: the keys of this installation that are not there yet; `deploy/run` calls it at every start."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from webvirt.services import ourkey
from webvirt.services.unsealing import Keys


class Command(BaseCommand):
    help = "Make what is missing of the SSH key by which hosts let us in, and of the key that secrets are kept with."
    requires_system_checks: list[str] = []

    def handle(self, *args: object, **options: object) -> None:
        ourkey.make()
        Keys().make()
