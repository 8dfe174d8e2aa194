"""Which connections to screens are our own consoles', and which are told as somebody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.people import Cast, make_console
from webvirt.hypervisor.types import Transport, ViewerEvent
from webvirt.models import AuditLine, Domain, Host, HostState, ScreenConnection, Status
from webvirt.services import strangers


@pytest.fixture
def domain(cast: Cast) -> Domain:
    Host.objects.filter(pk=cast.host.pk).update(transport=Transport.SSH)
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    return cast.domain


def happens(domain: Domain, address: str = "192.0.2.66", port: str = "40000", *, comes: bool = True) -> None:
    host = Host.objects.get(pk=domain.host_id)
    strangers.hear(host, ViewerEvent(domain.uuid, comes, address, port, "192.0.2.1", "none"))


def seen() -> list[str]:
    return [row.address for row in strangers.among(ScreenConnection.objects.all())]


@pytest.mark.parametrize("address", ["", "127.0.0.1", "::1", "192.0.2.1"])
def test_each_console_has_one_connection_from_its_host(cast: Cast, domain: Domain, address: str) -> None:
    make_console(domain, cast.operator)
    happens(domain, address, "1")
    assert seen() == []
    happens(domain, address, "2")
    assert seen() == [address]
    assert AuditLine.objects.filter(event="console.foreign").count() == 1


def test_from_elsewhere_nobody_is_ours(cast: Cast, domain: Domain) -> None:
    make_console(domain, cast.operator)
    happens(domain)
    assert seen() == ["192.0.2.66"]
    happens(domain, comes=False)
    assert seen() == []


def test_of_a_host_without_ssh_our_own_come_from_elsewhere(cast: Cast, domain: Domain) -> None:
    Host.objects.filter(pk=domain.host_id).update(transport=Transport.TLS)
    make_console(domain, cast.operator)
    happens(domain)
    assert seen() == []


@pytest.mark.parametrize(
    "console",
    [
        {"opened_at": timezone.now() - timedelta(seconds=40), "ended_at": timezone.now() - timedelta(seconds=20)},
        {"opened_at": None},
        {"device": "serial"},
        {"opened_at": timezone.now() - timedelta(hours=1)},
    ],
)
def test_what_is_no_console_that_was_just_opened_hides_nobody(
    cast: Cast, domain: Domain, console: dict[str, object]
) -> None:
    make_console(domain, cast.operator, **console)
    happens(domain, "")
    assert seen() == [""]


def test_nobody_is_at_what_does_not_run_or_is_not_watched(domain: Domain) -> None:
    happens(domain)
    assert seen()
    Host.objects.update(state=HostState.DOWN)
    assert not seen()
    Host.objects.update(state=HostState.UP)
    Domain.objects.update(status=Status.SHUTOFF)
    assert not seen()


def test_with_the_machine_or_the_watch_they_are_forgotten(domain: Domain) -> None:
    host = Host.objects.get(pk=domain.host_id)
    happens(domain)
    strangers.stop(host, domain.uuid)
    assert not ScreenConnection.objects.exists()
    happens(domain)
    strangers.begin(host)
    assert not ScreenConnection.objects.exists()
    happens(domain, comes=False)
    strangers.hear(host, ViewerEvent("00000000-0000-4000-8000-00000000beef", True, "", "", "", ""))
    assert not ScreenConnection.objects.exists()
