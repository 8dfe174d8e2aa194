"""`manage.py createtoken USER`: a token for programs, printed once."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webvirt.models import Project, User
from webvirt.services.actors import acting, at_command_line
from webvirt.services.operations import Invalid
from webvirt.services.tokens import create_token


class Command(BaseCommand):
    help = (
        "Make an API token with which a program acts for a person or a service account. It is printed once and cannot "
        "be shown again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the name of the person or service account")
        parser.add_argument("--name", default="command line", help="what to call it (default: %(default)s)")
        parser.add_argument("--days", type=int, default=90, help="how long it is good (default: %(default)s)")
        parser.add_argument(
            "--may",
            default="everything",
            help="what it may of what the account may: %(default)s (which it is without this), read, or verbs such as "
            "domain.start,domain.shutdown",
        )
        parser.add_argument("--project", help="the project in which alone it may anything (default: everywhere)")

    def handle(
        self, *args: object, user: str, name: str, days: int, may: str, project: str | None, **options: object
    ) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is nobody named {user!r}.")
        if not person.is_active:
            raise CommandError(f"{user!r} is deactivated: a token would not work.")
        where = Project.objects.open().filter(name=project).first()
        if project is not None and where is None:
            raise CommandError(f"There is no project named {project!r}.")
        try:
            with acting(at_command_line()):
                token = create_token(person, name, days, kinds=kinds_of(may), project=where)
        except Invalid as error:
            raise CommandError(str(error)) from None
        self.stdout.write(token)
        self.stderr.write(
            f"Keep it now: it cannot be shown again. It is good for {days} days. Try it:\n"
            f"  curl -H 'Authorization: Bearer {token}' {settings.WEBVIRT_PUBLIC_URL}/api/v1/me"
        )


def kinds_of(may: str) -> list[str] | None:
    """The verbs that `--may` names; None for all that the account may."""
    if may == "everything":
        return None
    return [] if may == "read" else [kind for part in may.split(",") if (kind := part.strip())]
