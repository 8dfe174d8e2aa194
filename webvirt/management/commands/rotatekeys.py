"""`manage.py rotatekeys`: a new key for the secrets at rest, while everything runs."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from webvirt.services.unsealing import change_keys


class Command(BaseCommand):
    help = (
        "Keep the passwords of hosts with a new key from now on. No connection is broken; the key before stays until "
        "the next time, older ones are deleted."
    )

    def handle(self, *args: object, **options: object) -> None:
        done, lost = change_keys()
        self.stdout.write(f"{done} passwords are kept with a new key.")
        if lost:
            raise CommandError(f"{lost} cannot be read, since their key is not here: enter them again on their hosts.")
