"""Runners of the verbs of machines whose display is SPICE."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

from django.utils import timezone
from django.utils.translation import gettext_noop

from webvirt.hypervisor.credentials import tls_folder
from webvirt.hypervisor.displays import subject_at
from webvirt.services import spice
from webvirt.services.catalogue.displays import ToVncSpec, video_for_vnc
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.domains import look_again
from webvirt.services.spice import Viewing

PASSWORD_LIFE = timedelta(minutes=2)
"""From when the file is asked for until its viewer has connected."""


def viewer_file(context: Context) -> Result:
    """Hand out the way to the display, with a password that nobody else gets to see: it is in this file alone."""
    domain, calls = context.domain, context.connection.domains
    display = calls.spice(domain.uuid)
    address = spice.address_of(context.host, display.listen)
    if not address or not (display.port or display.tls_port):
        raise Failed(
            gettext_noop("The display listens on its host alone."),
            gettext_noop("Let it listen on an address of the host, or go there by an SSH tunnel."),
        )
    password = secrets.token_urlsafe(24)
    if not calls.let_in(domain.uuid, password, timezone.now() + PASSWORD_LIFE):
        password = ""
    authority = tls_folder() / "cacert.pem"
    subject = subject_at(address, display.tls_port, authority) if display.tls_port else ""
    told = Viewing(domain.name, address, display, password, text_of(authority) if subject else "", subject)
    data = spice.viewer_file(told)
    context.sink.begin(f"{domain.name}.vv", len(data))
    context.sink.write(data, lambda: None)
    return {"bytes": len(data)}


def text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def to_vnc(context: Context) -> Result:
    video = video_for_vnc(context.domain, cast(ToVncSpec, context.spec))
    before = context.connection.domains.convert_to_vnc(context.domain.uuid, video)
    look_again(context)
    return {"before": before}


RUNNERS: dict[str, Callable[[Context], Result]] = {"domain.viewer_file": viewer_file, "domain.to_vnc": to_vnc}
