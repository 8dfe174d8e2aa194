"""`manage.py signinlink USER`: a link with which a person signs in again, whatever they lost."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from webvirt.models import User
from webvirt.services import factors, links, people
from webvirt.services.actors import acting, at_command_line
from webvirt.services.operations import NotNow


class Command(BaseCommand):
    help = "Print a link with which a person chooses a new password and signs in. It is good once, and for a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the person's sign-in name")
        parser.add_argument(
            "--forget-factors",
            action="store_true",
            help="remove the person's app, passkeys and recovery codes, which the link does not stand in for",
        )
        parser.add_argument("--activate", action="store_true", help="activate the account if it is deactivated")

        parser.add_argument(
            "--local",
            action="store_true",
            help="keep the account here from now on, if it is from OpenID Connect or LDAP",
        )

    def handle(
        self, *args: object, user: str, forget_factors: bool, activate: bool, local: bool, **options: object
    ) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is nobody named {user!r}.")
        try:
            people.refuse_service(person)
        except NotNow as error:
            raise CommandError(str(error)) from None
        if not person.is_active and not activate:
            raise CommandError(f"{user!r} is deactivated: add --activate to let them in again.")
        with acting(at_command_line()):
            if not person.is_active:
                people.set_active(person, active=True)
                person.refresh_from_db()
            if forget_factors:
                factors.forget(person)
            if local:
                people.make_local(person)
            try:
                link = links.make(person)
            except NotNow as error:
                raise CommandError(f"{error} Add --local to keep the account here from now on.") from None
        self.stdout.write(settings.WEBVIRT_PUBLIC_URL + reverse("password_link", args=[link]))
