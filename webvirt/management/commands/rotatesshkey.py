"""`manage.py rotatesshkey`: another SSH key, in two steps, so that no host locks us out in between."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from webvirt.services import ourkey


class Command(BaseCommand):
    help = "Change the SSH key by which hosts let us in. Both keys are good until it is called again with --finish."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--finish", action="store_true", help="let go of the old key, once every host has the new")

    def handle(self, *args: object, finish: bool, **options: object) -> None:
        if not finish:
            line = ourkey.begin_change()
            self.stdout.write(f"On each host that is reached by SSH, as the account we sign in to:\n\n  {line}\n")
            self.stdout.write("Then: manage.py rotatesshkey --finish. Until then either key lets us in.")
            return
        if not ourkey.is_changing():
            raise CommandError("There is no new key: call it without --finish first.")
        without = [host.name for host, accepts in ourkey.hosts_with_next_key() if not accepts]
        if without:
            raise CommandError(
                f"These hosts do not let us in by the new key: {', '.join(without)}. Nothing is changed."
            )
        ourkey.end_change()
        self.stdout.write("The new key is the only one now. Take the old one out of authorized_keys on the hosts.")
