"""Runners of the verbs of hosts: trying the connection step by step, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.utils import timezone
from django.utils.translation import gettext_noop

from webvirt import bus
from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.trial import try_address
from webvirt.hypervisor.types import Check, Verdict
from webvirt.models import Host
from webvirt.services import inventory
from webvirt.services.catalogue.hosts import HostSpec, TrustSpec
from webvirt.services.hosts import check_unique, keep_password
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.unsealing import way_to


def check(context: Context) -> Result:
    """Try the connection and read what the host can do; fails with the step that failed."""
    host = context.operation.host
    steps = try_steps(context, host)
    failed = next((step for step in steps if step.verdict == Verdict.FAIL), None)
    if failed is not None:
        raise Failed(failed.found, failed.remedy)
    with connect(way_to(host)) as connection:
        inventory.remember_host(host.pk, connection.host.info(), connection.host.capability_checks())
    return {"steps": len(steps)}


def try_steps(context: Context, host: Host) -> list[Check]:
    steps: list[Check] = []
    for step in try_address(way_to(host)):
        steps.append(step)
        inventory.remember_trial(host.pk, steps)
        context.progress(step.key, len(steps))
    return steps


EDITED = ("name", "transport", "hostname", "port", "user", "keys", "offered", "sealed_password", "password_at")


def edit(context: Context) -> Result:
    """Give a host another name or address, then try it. The watcher follows by itself."""
    spec = cast(HostSpec, context.spec)
    host = context.operation.host
    if spec.leads_elsewhere(host):
        host.sealed_password, host.password_at = "", None
    if (host.transport, host.hostname, host.port) != (spec.transport, spec.hostname, spec.port):
        # Whoever answers there is somebody else until a person says so.
        host.keys, host.offered = [], []
    host.name, host.transport = spec.name, spec.transport
    host.hostname, host.port, host.user = spec.hostname, spec.port, spec.user
    check_unique(host)
    host.save(update_fields=EDITED)
    keep_password(host, spec)
    bus.announce([f"host:{host.pk}", "hosts", "domains"])
    return check(context)


def trust(context: Context) -> Result:
    """Know a host from now on by the keys that a person compared, then try it. The watcher follows by itself."""
    spec = cast(TrustSpec, context.spec)
    host = context.operation.host
    if {fingerprint(key) for key in host.offered} != set(spec.fingerprints):
        raise Failed(
            gettext_noop("The host shows other keys by now than those that were compared."),
            gettext_noop("Look at them again on its page."),
        )
    host.keys, host.offered = host.offered, []
    host.save(update_fields=["keys", "offered"])
    bus.announce([f"host:{host.pk}", "hosts"])
    return check(context)


def remove(context: Context) -> Result:
    """Take a host off the list. Its row stays for the history; nothing happens on the host."""
    host = context.operation.host
    Host.objects.filter(pk=host.pk, removed_at=None).update(removed_at=timezone.now())
    bus.announce([f"host:{host.pk}", "hosts", "domains"])
    return None


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "host.add": check,
    "host.check": check,
    "host.edit": edit,
    "host.trust": trust,
    "host.remove": remove,
}
