"""The drawing of a host's networks: who is connected to what, and nothing that one may not know of."""

from __future__ import annotations

import itertools

import pytest
from django.test import Client

from tests.people import Cast, make_domain, make_host, make_network
from webvirt.models import CardUse, Domain, Grant, Host, Network, NetworkStatus, Role, Status
from webvirt.web.wiring import MOST_ON_ONE, Drawing, drawing_of

INTERFACES = [
    {"name": "enp3s0", "kind": "ethernet", "parent": "br0"},
    {"name": "vnet7", "kind": "tap", "parent": "br0"},
    {"name": "br0", "kind": "bridge", "parent": ""},
]
numbers = itertools.count(100)


def plug(domain: Domain, kind: str, source: str, *, live: bool = False) -> None:
    CardUse.objects.create(
        domain=domain, mac=f"52:54:00:00:00:{next(numbers) % 256:02x}", type=kind, source=source, live=live
    )


def draw(host: Host, known: set[int] | None = None) -> Drawing:
    cards = CardUse.objects.filter(domain__host=host).select_related("domain").order_by("domain__name", "mac")
    everyone = set(Domain.objects.values_list("pk", flat=True))
    return drawing_of(host, list(Network.objects.filter(host=host)), cards, everyone if known is None else known)


@pytest.fixture
def host(db: None) -> Host:
    host = make_host("beta", interfaces=INTERFACES)
    make_network(host, "default", 11)
    make_network(host, "office", 12, forward="bridge", bridge="br0", info={"name": "office"})
    make_network(host, "lab", 13, forward="isolated", bridge="virbr9", status=NetworkStatus.INACTIVE, info={})
    return host


def test_each_network_has_its_ways_out(host: Host) -> None:
    drawing = draw(host)
    assert {switch.label: switch.ways for switch in drawing.switches} == {
        "default": ["*"],
        "office": ["enp3s0"],
        "lab": [],
    }
    assert [way.label for way in drawing.ways] == ["any way out", "enp3s0"]
    assert [wire.live for wire in drawing.wires] == [True, True]


def test_machines_are_on_what_their_cards_are_plugged_into(host: Host) -> None:
    domain = make_domain(host, "web-1", 31, status=Status.RUNNING)
    plug(domain, "network", "default", live=True)
    # The network's bridge by its own name is the network, and the same card may stand in two definitions.
    plug(domain, "bridge", "br0", live=True)
    plug(domain, "bridge", "br0")
    other = make_domain(host, "db-1", 32)
    plug(other, "direct", "enp3s0")
    plug(other, "network", "gone")
    drawing = draw(host)
    on = {switch.label: list(switch.machines) for switch in drawing.switches}
    assert on == {"default": [domain.pk], "office": [domain.pk], "lab": [], "enp3s0": [other.pk], "gone": [other.pk]}
    assert [machine.label for machine in drawing.machines] == ["web-1", "db-1"]
    assert {switch.label: switch.note for switch in drawing.switches}["gone"] == "not there"


def test_only_what_runs_carries_something(host: Host) -> None:
    for number, (status, live) in enumerate([(Status.RUNNING, True), (Status.SHUTOFF, False), (Status.RUNNING, False)]):
        plug(make_domain(host, f"m-{number}", 40 + number, status=status), "network", "default", live=live)
    wires = [wire for wire in draw(host).wires if wire.x2 == 690]
    assert [wire.live for wire in wires] == [True, False, False]


def test_nothing_is_drawn_over_anything_else(host: Host) -> None:
    for number in range(30):
        plug(make_domain(host, f"m-{number:02d}", 50 + number), "network", ("default", "office", "lab")[number % 3])
    drawing = draw(host)
    for spots, height in ((drawing.machines, 28), (drawing.switches, 44), (drawing.ways, 28)):
        ys = sorted(spot.y for spot in spots)
        assert all(below - above >= height for above, below in itertools.pairwise(ys))
        assert ys[-1] + height / 2 <= drawing.height


def test_a_crowd_is_a_number(host: Host) -> None:
    for number in range(MOST_ON_ONE + 5):
        plug(make_domain(host, f"m-{number:02d}", 50 + number), "network", "default")
    drawing = draw(host)
    (default,) = [switch for switch in drawing.switches if switch.label == "default"]
    assert (len(drawing.machines), len(default.hidden)) == (MOST_ON_ONE, 5)


def test_what_one_may_not_know_of_is_only_counted(cast: Cast, client: Client) -> None:
    plug(cast.domain, "network", "default")
    plug(cast.other, "network", "default")
    Grant.objects.create(user=cast.stranger, host=cast.host, role=Role.VIEWER)
    client.force_login(cast.stranger)
    page = client.get("/networks/drawing/").content.decode()
    assert "web-1" in page
    assert "db-1" in page
    client.force_login(cast.viewer)
    page = client.get("/networks/drawing/").content.decode()
    assert "Nothing to draw yet" in page
    known = draw(cast.host, {cast.domain.pk})
    assert [machine.label for machine in known.machines] == ["web-1"]
    assert known.switches[0].hidden == {cast.other.pk}


@pytest.mark.parametrize("host", ["999999", "x", "9" * 30])
def test_a_host_that_is_not_there(cast: Cast, client: Client, host: str) -> None:
    client.force_login(cast.administrator)
    assert client.get(f"/networks/drawing/?host={host}").status_code == 200
