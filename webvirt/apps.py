"""Django's entry in its list of applications."""

from __future__ import annotations

from django.apps import AppConfig

from webvirt.services import checks


class WebvirtConfig(AppConfig):
    name = "webvirt"
    verbose_name = "webvirt"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        checks.register_all()
