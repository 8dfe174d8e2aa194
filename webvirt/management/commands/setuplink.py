"""`manage.py setuplink`: the link with which the first administrator sets name and password."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core import signing
from django.core.management.base import BaseCommand
from django.urls import reverse

from webvirt.services.grants import administrators_exist
from webvirt.services.people import SETUP_SALT


class Command(BaseCommand):
    help = "Print the link for the first administrator; nothing once there is one."

    def handle(self, *args: object, **options: object) -> None:
        if administrators_exist():
            self.stderr.write("There is an administrator already: sign in.")
            return
        token = signing.dumps(secrets.token_urlsafe(16), salt=SETUP_SALT)
        self.stdout.write(settings.WEBVIRT_PUBLIC_URL + reverse("setup", args=[token]))
