"""Machines with SPICE: the file for remote-viewer with a password that is nowhere else, and VNC in its place."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core import serializers
from django.utils import timezone

from tests.guests import Guest
from tests.people import Cast, make_domain, make_host
from tests.services.carrying import File, Worker
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.types import HostAddress, Transport
from webvirt.hypervisor.xml.displays import SpiceDisplay
from webvirt.models import AuditLine, Definition, Domain, Host, OperationState
from webvirt.services import inventory, operations, spice
from webvirt.services.access import access_of
from webvirt.services.spice import Viewing
from webvirt.web.offers import offers

DISPLAY = SpiceDisplay("0.0.0.0", 5901, None, "", has_password=True)
XML = "<domain><devices><graphics type='spice' port='5901' listen='{listen}'>{more}</graphics></devices></domain>"
EVERYWHERE = "<graphics type='spice' autoport='yes' listen='0.0.0.0' passwd='of-the-owner'/>"


def file_of(viewing: Viewing) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(spice.viewer_file(viewing).decode())
    return dict(parser["virt-viewer"])


def test_the_file_says_where_and_by_which_password() -> None:
    assert file_of(Viewing("web-1", "kvm7.example", DISPLAY, "once")) == {
        "type": "spice",
        "title": "web-1 - webvirt",
        "host": "kvm7.example",
        "port": "5901",
        "password": "once",
        "delete-this-file": "1",
    }


def test_with_tls_all_goes_by_it_and_who_answers_is_known() -> None:
    display = replace(DISPLAY, port=None, tls_port=5902)
    told = file_of(Viewing("web-1", "kvm7.example", display, authority="-----BEGIN\nAA==\n", subject="O=Here,CN=kvm7"))
    assert (told["tls-port"], told["ca"], told["host-subject"]) == ("5902", r"-----BEGIN\nAA==\n", "O=Here,CN=kvm7")
    assert "port" not in told
    assert "password" not in told
    assert told["secure-channels"].startswith("main;")


@pytest.mark.parametrize("name", ["a\nhost=evil.example", "a\\nhost=evil", " b\r\t"])
def test_no_name_adds_a_line_of_its_own(name: str) -> None:
    text = spice.viewer_file(Viewing(name, "kvm7.example", DISPLAY)).decode()
    assert text.count("\n") == 6
    assert text.count("\nhost=") == 1


@pytest.fixture
def machine(db: None) -> Domain:
    host = make_host("kvm7", transport=Transport.SSH, hostname="kvm7.example", user="root", port=2222)
    return make_domain(host, "wvdoctor-x", 51, status="running")


def runs_with(domain: Domain, listen: str, more: str = "", **later: Any) -> None:
    live = {"graphics": [{"type": "spice", "listen": listen}]}
    Definition.objects.update_or_create(
        domain=domain,
        defaults={
            "live": live,
            "live_xml": XML.format(listen=listen, more=more),
            "inactive": later or live,
            "read_at": timezone.now(),
        },
    )


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0.0.0.0", "kvm7.example"), ("::", "kvm7.example"), ("192.0.2.7", "192.0.2.7"), ("127.0.0.1", ""), ("", "")],
)
def test_from_where_a_display_is_reached(machine: Domain, listen: str, address: str) -> None:
    runs_with(machine, listen)
    assert spice.address_of(machine.host, listen) == address
    assert bool(spice.not_for_viewer(machine)) == (not address)
    assert bool(spice.tunnel_to(machine)) == (not address)


def test_where_its_host_alone_reaches_it_a_tunnel_does(machine: Domain) -> None:
    runs_with(machine, "127.0.0.1")
    assert spice.tunnel_to(machine) == (
        'ssh -p 2222 -fN -L 5901:127.0.0.1:5901 root@kvm7.example\nremote-viewer "spice://127.0.0.1?port=5901"'
    )
    runs_with(machine, "", "<listen type='socket' socket='/run/x y/spice.sock'/>")
    assert "-L /tmp/wvdoctor-x.spice:'/run/x y/spice.sock' root@kvm7.example\n" in spice.tunnel_to(machine)


def offered(cast: Cast, domain: Domain) -> dict[str, str]:
    found = offers(access_of(cast.administrator), domain)
    return {one.name: one.reason for one in found if one.name in ("viewer_file", "to_vnc")}


def test_they_are_offered_for_spice_alone(cast: Cast, machine: Domain) -> None:
    assert offered(cast, machine) == {}
    runs_with(machine, "0.0.0.0")
    assert offered(cast, machine) == {"viewer_file": "", "to_vnc": ""}
    runs_with(machine, "127.0.0.1", graphics=[{"type": "vnc"}])
    assert offered(cast, machine) == {
        "viewer_file": "its display listens on its host alone",
        "to_vnc": "it starts without SPICE",
    }


# --- on a real libvirt


@pytest.fixture
def here(db: None) -> Host:
    return make_host("here", transport=Transport.LOCAL, info={"hostname": "kvm7.example", "arch": "x86_64"})


@pytest.fixture
def worker(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    return Worker(cast.administrator)


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest("wvdoctor-spice", graphics=EVERYWHERE)
    yield guest
    guest.remove()


@pytest.fixture
def running(here: Host, guest: Guest) -> Domain:
    guest.define().virsh("start")
    domain = Domain.objects.create(host=here, name=guest.name, uuid=guest.uuid, status="running", memory_kib=65536)
    with connect(HostAddress(Transport.LOCAL)) as connection:
        inventory.remember_definition(here, connection.domains.read(guest.uuid))
    return domain


def test_the_password_is_in_the_file_and_nowhere_else(worker: Worker, running: Domain, guest: Guest) -> None:
    file = File()
    operation = worker.carry_out(worker.ask("domain.viewer_file", running), file)
    assert operation.state == OperationState.SUCCEEDED, operation.error
    parser = configparser.RawConfigParser()
    parser.read_string(file.data.decode())
    told = parser["virt-viewer"]
    assert (file.name, told["host"]) == ("wvdoctor-spice.vv", "kvm7.example")
    assert f"passwd='{told['password']}'" in guest.virsh("dumpxml", "--security-info")
    assert len(told["password"]) >= 32
    kept = [*AuditLine.objects.all(), operation, *Definition.objects.all()]
    assert told["password"] not in serializers.serialize("json", kept)


def test_it_is_converted_and_what_it_was_is_kept(worker: Worker, running: Domain, guest: Guest) -> None:
    operation = worker.do("domain.to_vnc", running, video="virtio")
    assert operation.state == OperationState.SUCCEEDED, operation.error
    result: Any = operation.result
    assert "spice" in result["before"]
    assert "of-the-owner" not in result["before"]
    definition = Definition.objects.get(domain=running)
    assert [one["type"] for one in definition.inactive["graphics"]] == ["vnc"]
    assert [one["type"] for one in definition.shown["graphics"]] == ["spice"]
    with pytest.raises(operations.NotNow):
        worker.ask("domain.to_vnc", running)
