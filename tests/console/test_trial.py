"""The console proxy's look at the hops behind it: a real guest, the hops broken in turn, and nobody's session."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from tests.console.proxy import SOCKET, Process
from tests.guests import Guest
from tests.people import Cast
from webvirt import bus
from webvirt.consoleproxy.trial import demand_rfb
from webvirt.models import ConsoleDevice, ConsoleSession, Host, User
from webvirt.services import hops
from webvirt.services.access import access_of
from webvirt.services.consoles import Close, Refusal

SPICE = "<graphics type='spice' autoport='yes' listen='127.0.0.1'/>"


def ask(address: str) -> tuple[int, Any]:
    """What the proxy answers to the front."""
    connection = http.client.HTTPConnection("proxy")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(25)
    connection.sock.connect(str(SOCKET))
    connection.request("GET", address)
    response = connection.getresponse()
    body = response.read()
    return response.status, json.loads(body) if body and response.status == 200 else None


def look(people: Cast, who: User, device: ConsoleDevice = ConsoleDevice.SCREEN) -> dict[str, Any] | None:
    """The hop that fails, or None."""
    bus.store().delete(f"webvirt.looks.{who.pk}")
    address = hops.begin(access_of(who), people.domain, device)
    assert isinstance(address, str), address
    status, told = ask(address)
    assert status == 200
    failed: dict[str, Any] | None = next((one for one in told["hops"] if one["state"] == "failed"), None)
    assert told["ok"] == (failed is None)
    return failed


def hop(failed: dict[str, Any] | None) -> str:
    assert failed
    return str(failed["hop"])


def test_each_hop_in_turn(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    assert look(people, people.administrator) is None
    assert look(people, people.administrator, ConsoleDevice.SERIAL) is None
    blank_guest.virsh("destroy")
    off = look(people, people.administrator)
    assert off
    assert (off["hop"], off["words"]) == ("machine", "The machine is not running.")
    assert off["command"].startswith("virsh -c qemu:///system start ")
    blank_guest.virsh("undefine")
    blank_guest.graphics = SPICE
    blank_guest.define().virsh("start")
    assert hop(look(people, people.administrator)) == "machine"
    blank_guest.remove()
    assert hop(look(people, people.administrator)) == "machine"
    assert not ConsoleSession.objects.exists()


def test_a_host_that_is_away_is_named_and_where_it_is_to_administrators_alone(proxy: Process, people: Cast) -> None:
    Host.objects.filter(pk=people.host.pk).update(transport="tcp", hostname="127.0.0.2", port=9)
    told = look(people, people.administrator)
    assert hop(told) == "host"
    assert told
    assert "127.0.0.2" in told["words"] + told["command"]
    masked = look(people, people.viewer)
    assert hop(masked) == "host"
    assert "127.0.0.2" not in json.dumps(masked)


def test_a_ticket_is_good_once_and_nothing_else_is(proxy: Process, people: Cast) -> None:
    address = hops.begin(access_of(people.viewer), people.domain, ConsoleDevice.SCREEN)
    assert isinstance(address, str)
    assert ask(address)[0] == 200
    assert ask(address)[0] == 404
    assert ask(f"/hops/{'x' * 43}")[0] == 404
    assert ask("/hops/1")[0] == 404


@pytest.mark.parametrize(
    ("said", "code"), [(b"HTTP/1.1 400 Bad Request", Close.MALFORMED), (b"", Close.MALFORMED), (b"RFB 003.008\n", None)]
)
def test_what_is_no_vnc_display_is_told_from_one(said: bytes, code: Close | None) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        if code is None:
            demand_rfb(ours)
        else:
            with pytest.raises(Refusal) as refused:
                demand_rfb(ours)
            assert refused.value.code == code
