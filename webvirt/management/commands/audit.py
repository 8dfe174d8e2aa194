"""`manage.py audit verify` and `manage.py audit export`: whether the audit log is whole, and its lines as JSON."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webvirt.models import AuditResult
from webvirt.services import audit, auditlog
from webvirt.services.actors import acting, at_command_line
from webvirt.services.operations import Invalid


class Command(BaseCommand):
    help = "Verify the audit log, or export its lines as JSON, one on a line."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parts = parser.add_subparsers(dest="part", required=True)
        verify = parts.add_parser("verify", help="read all of it and name the first line that is not as it was written")
        verify.add_argument(
            "--head",
            action="append",
            default=[],
            help="a hash that was noted elsewhere, which must be there: finds an end that was cut off (repeatable)",
        )
        export = parts.add_parser("export", help="print the lines, the oldest first")
        for name in auditlog.FILTERS:
            export.add_argument(f"--{name}", default="", help=f"as {name} on the page")
        export.add_argument("--after", type=int, default=0, help="begin after the line of this number")

    def handle(self, *args: object, part: str, **options: Any) -> None:
        with acting(at_command_line()):
            self.verify(options["head"]) if part == "verify" else self.export(options)

    def verify(self, heads: list[str]) -> None:
        for head in heads:
            if not re.fullmatch(r"[0-9a-f]{64}", head):
                raise CommandError(f"{head!r} is no hash: it has 64 hexadecimal digits.")
        reader = auditlog.Reader(heads=set(heads))
        try:
            auditlog.verify(reader)
        except auditlog.Broken as error:
            raise CommandError(f"The audit log is not as it was written: {error}. {reader.read} lines read.") from None
        self.stdout.write(f"{reader.read} lines read: all are as they were written.\nhead {reader.hash}")

    def export(self, options: dict[str, Any]) -> None:
        filters = {name: options[name] for name in auditlog.FILTERS if options[name]}
        try:
            found = auditlog.chosen(filters)
        except Invalid as error:
            raise CommandError(str(error)) from None
        audit.note("audit.export", result=AuditResult.BEGUN, details=filters)
        written = 0
        for chunk in auditlog.chunks(found, options["after"]):
            self.stdout.write("\n".join(map(audit.exported, chunk)))
            written += len(chunk)
        audit.note("audit.export", details=filters | {"lines": written})
