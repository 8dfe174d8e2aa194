"""Networks: what a host says made into rows, verbs on them, and who is connected."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.conftest import FakeHost
from webvirt.hypervisor.types import DomainInfo, DomainReading, DomainState, DomainSummary, InterfaceInfo
from webvirt.models import Network, OperationState
from webvirt.services import inventory, operations, uses

S = OperationState
NAT: dict[str, Any] = {
    "forward": "nat",
    "addresses": [
        {"address": "192.168.7.1", "prefix": 24, "ranges": [{"start": "192.168.7.10", "end": "192.168.7.20"}]}
    ],
}
MAC = "52:54:00:00:00:07"


@pytest.fixture
def lab(alpha: FakeHost) -> Network:
    """A running NAT network."""
    assert alpha.do("network.create", alpha.cast.host, name="lab", **NAT).state == S.SUCCEEDED
    return Network.objects.get(name="lab", missing_since=None)


def plug_in(alpha: FakeHost) -> None:
    domain = alpha.cast.domain
    info = DomainInfo(domain.uuid, domain.name, interfaces=(InterfaceInfo(MAC, source="lab"),))
    summary = DomainSummary(domain.uuid, domain.name, DomainState.SHUTOFF)
    inventory.remember_definition(domain.host, DomainReading(summary, info, "<domain/>"))


def test_it_is_made_started_and_seen(lab: Network) -> None:
    assert (lab.status, lab.forward, lab.autostart) == ("active", "nat", True)
    assert lab.live is not None
    assert lab.live["addresses"][0]["address"] == "192.168.7.1"


def test_an_address_is_kept_and_freed_while_it_runs(alpha: FakeHost, lab: Network) -> None:
    lease = {"mac": MAC, "address": "192.168.7.15", "name": "git"}
    assert alpha.do("network.keep_address", lab, **lease).state == S.SUCCEEDED
    lab.refresh_from_db()
    assert lab.live is not None
    for info in (lab.info, lab.live):
        assert [one["address"] for one in info["addresses"][0]["leases"]] == ["192.168.7.15"]
    assert alpha.do("network.free_address", lab, **lease).state == S.SUCCEEDED
    lab.refresh_from_db()
    assert lab.info["addresses"][0]["leases"] == []


def test_an_edit_tells_what_waits_for_the_next_start(alpha: FakeHost, lab: Network) -> None:
    done = alpha.do("network.edit", lab, name="lab", mtu=1400, **NAT)
    assert (done.state, done.result) == (S.SUCCEEDED, {"waiting": "mtu"})
    lab.refresh_from_db()
    assert lab.live is not None
    assert (lab.info["mtu"], lab.live["mtu"]) == (1400, 0)


def test_an_edit_from_an_old_look_loses_nobodys_change(alpha: FakeHost, lab: Network) -> None:
    seen = "0" * 16
    done = alpha.do("network.edit", lab, name="lab", domain="mine.example.org", seen=seen, **NAT)
    assert done.state == S.FAILED
    assert "was changed meanwhile" in done.error


def test_one_that_machines_are_plugged_into_is_not_deleted(alpha: FakeHost, lab: Network) -> None:
    plug_in(alpha)
    assert [card.mac for card in uses.cards_on(lab)] == [MAC]
    assert alpha.do("network.stop", lab).state == S.SUCCEEDED
    lab.refresh_from_db()
    with pytest.raises(operations.NotNow, match="web-1 is connected to it"):
        alpha.ask("network.undefine", lab)


def test_stopped_and_deleted_it_is_off_the_list(alpha: FakeHost, lab: Network) -> None:
    assert alpha.do("network.stop", lab).state == S.SUCCEEDED
    lab.refresh_from_db()
    assert (lab.status, lab.live, lab.leases) == ("inactive", None, [])
    assert alpha.do("network.undefine", lab).state == S.SUCCEEDED
    assert not Network.objects.kept().exists()


def test_one_that_cannot_start_leaves_no_definition(alpha: FakeHost, lab: Network) -> None:
    made = alpha.do("network.create", alpha.cast.host, name="lab", **NAT)
    assert made.state == S.FAILED
    assert [network.name for network in alpha.connection.networks.list()] == ["lab"]


def test_what_it_has_given_out_is_known(alpha: FakeHost, lab: Network) -> None:
    alpha.stock.networks()
    lab.refresh_from_db()
    assert lab.leases == []
