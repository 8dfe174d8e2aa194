"""`manage.py createtoken USER`: a token for programs, printed once."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webvirt.models import User
from webvirt.services.actors import acting, at_command_line
from webvirt.services.operations import Invalid
from webvirt.services.tokens import create_token


class Command(BaseCommand):
    help = "Make an API token with which a program acts for a person. It is printed once and cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the person's sign-in name")
        parser.add_argument("--name", default="command line", help="what to call it (default: %(default)s)")
        parser.add_argument("--days", type=int, default=90, help="how long it is good (default: %(default)s)")

    def handle(self, *args: object, user: str, name: str, days: int, **options: object) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is nobody named {user!r}.")
        if not person.is_active:
            raise CommandError(f"{user!r} is deactivated: a token would not work.")
        try:
            with acting(at_command_line()):
                token = create_token(person, name, days)
        except Invalid as error:
            raise CommandError(str(error)) from None
        self.stdout.write(token)
        self.stderr.write(
            f"Keep it now: it cannot be shown again. It is good for {days} days. Try it:\n"
            f"  curl -H 'Authorization: Bearer {token}' {settings.WEBVIRT_PUBLIC_URL}/api/v1/me"
        )
