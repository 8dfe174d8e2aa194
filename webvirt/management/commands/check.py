"""`manage.py check`: Django's checks of the code, and ours of the installation."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import check

from webvirt.services.checks import TAG


class Command(check.Command):
    help = "Check the project and this installation: each unmet need is named with its remedy."

    def handle(self, *app_labels: Any, **options: Any) -> None:
        super().handle(*app_labels, **options)
        if not (app_labels or options["tags"] or options["list_tags"]):
            self.check(tags=[TAG], display_num_errors=True, include_deployment_checks=True)
