"""Network filters: as the host lists them, made, changed and deleted; who goes through them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import FakeConnection
from tests.people import Cast
from tests.services.carrying import WorkerOnFake, worker_on
from webvirt.hypervisor.types import DomainInfo, DomainReading, DomainState, DomainSummary, InterfaceInfo
from webvirt.hypervisor.xml.filters import parse_filter
from webvirt.models import CardUse, Definition, Domain, Filter, Operation, OperationState
from webvirt.services import inventory, operations, uses
from webvirt.services.watcher.stock import Stock

MAC = "52:54:00:00:00:01"
XML = "<filter name='no-web' chain='ipv4'><rule action='drop' direction='out'><tcp dstportstart='80'/></rule></filter>"
LAUGHS = "<!DOCTYPE f [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><filter name='x'>&b;</filter>"
REACHES_OUT = "<!DOCTYPE f [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><filter name='x'><uuid>&e;</uuid></filter>"


@pytest.fixture
def host() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def worker(cast: Cast, host: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> WorkerOnFake:
    # As the host has it, the row of the cast.
    host.filters.known[cast.filter.uuid] = parse_filter(cast.filter.xml)
    return worker_on(host, cast.administrator, monkeypatch)


def watched(cast: Cast, host: FakeConnection) -> None:
    """What the watcher does at every resync."""
    Stock(cast.host, _connection=host).filters()  # type: ignore[arg-type]


def plug(domain: Domain, name: str, live: str | None = None) -> None:
    """Give a machine a card behind a filter; `live` is the one of the running machine."""

    def info(filter_name: str) -> DomainInfo:
        card = InterfaceInfo(mac=MAC, type="network", source="default", filter=filter_name)
        return DomainInfo(domain.uuid, domain.name, interfaces=(card,))

    inventory.remember_definition(
        domain.host,
        DomainReading(
            summary=DomainSummary(domain.uuid, domain.name, DomainState.SHUTOFF),
            inactive=info(name),
            inactive_xml=f"<domain>{name}</domain>",
            live=None if live is None else info(live),
            live_xml="" if live is None else f"<domain>{live}</domain>",
        ),
    )


# --- as the host lists them


def test_what_the_host_lists_is_kept_with_its_definition(cast: Cast, host: FakeConnection) -> None:
    taken = parse_filter("<filter name='base' priority='-7'><filterref filter='a'/><filterref filter='b'/></filter>")
    host.filters.known["u"] = replace(taken, uuid="u")
    watched(cast, host)
    row = Filter.objects.get(uuid="u")
    assert (row.name, row.priority, row.rules, row.references, row.xml) == ("base", -7, 0, ["a", "b"], taken.xml)


def test_one_that_is_gone_is_missing_and_may_come_back(cast: Cast, host: FakeConnection) -> None:
    watched(cast, host)
    cast.filter.refresh_from_db()
    assert cast.filter.missing_since
    host.filters.known[cast.filter.uuid] = parse_filter(cast.filter.xml)
    watched(cast, host)
    cast.filter.refresh_from_db()
    assert cast.filter.missing_since is None


def test_a_card_counts_with_both_its_filters(cast: Cast) -> None:
    plug(cast.domain, "no-mail", live="no-web")
    assert {use.filter for use in CardUse.objects.all()} == {"no-mail", "no-web"}
    assert [card.domain for card in uses.cards_through(cast.filter)] == [cast.domain]
    # And is one card on its network all the same.
    assert len(uses.cards_on(cast.network)) == 1


# --- made, changed and deleted


def test_one_is_made_and_known_at_once(cast: Cast, worker: WorkerOnFake) -> None:
    operation = worker.do("filter.create", cast.host, xml=XML)
    assert (operation.state, operation.result) == (OperationState.SUCCEEDED, {"filter": "no-web"})
    assert Filter.objects.get(name="no-web").chain == "ipv4"


@pytest.mark.parametrize(
    "xml",
    [LAUGHS, REACHES_OUT, "<domain/>", "<filter name='../../etc/passwd'/>", "<filter/>", "<filter", "", "x" * 65_537],
)
def test_hostile_xml_never_becomes_an_operation(cast: Cast, worker: WorkerOnFake, xml: str) -> None:
    for kind, target in (("filter.create", cast.host), ("filter.edit", cast.filter)):
        if kind == "filter.edit" and xml.startswith("<filter") and xml.endswith("/>"):
            # The name is compared with the one it takes the place of, when its turn comes.
            assert worker.do(kind, target, xml=xml).state == OperationState.FAILED
            continue
        with pytest.raises(operations.Invalid) as refused:
            worker.ask(kind, target, xml=xml)
        assert list(refused.value.fields) == ["xml"]
    assert not Operation.objects.exclude(state=OperationState.FAILED).exists()
    assert [*worker.host.filters.known] == [cast.filter.uuid]


def test_an_edit_takes_its_place_under_the_same_uuid(cast: Cast, worker: WorkerOnFake) -> None:
    xml = "<filter name='no-mail' chain='root'><rule action='drop' direction='in'/></filter>"
    assert worker.do("filter.edit", cast.filter, xml=xml).state == OperationState.SUCCEEDED
    cast.filter.refresh_from_db()
    assert (cast.filter.rules, cast.filter.missing_since) == (1, None)


def test_an_edit_made_from_an_older_definition_is_refused(cast: Cast, worker: WorkerOnFake) -> None:
    xml = "<filter name='no-mail'><rule action='drop' direction='in'/></filter>"
    operation = worker.do("filter.edit", cast.filter, xml=xml, seen="another")
    assert operation.state == OperationState.FAILED
    assert "changed or taken away meanwhile" in operation.error
    assert worker.host.filters.known[cast.filter.uuid].rules == 0


def test_an_edit_is_of_this_filter_and_no_other(cast: Cast, worker: WorkerOnFake) -> None:
    other = worker.host.filters.define(XML)
    seen = worker.host.filters.known[other].version
    operation = worker.do("filter.edit", cast.filter, xml=XML, seen=seen)
    assert operation.state == OperationState.FAILED
    assert "keeps its name" in operation.error


def test_one_is_deleted(cast: Cast, worker: WorkerOnFake) -> None:
    assert worker.do("filter.undefine", cast.filter).state == OperationState.SUCCEEDED
    cast.filter.refresh_from_db()
    assert cast.filter.missing_since


def test_one_in_use_is_not_deleted_and_the_users_are_named(cast: Cast, worker: WorkerOnFake) -> None:
    plug(cast.domain, "no-mail")
    with pytest.raises(operations.NotNow, match=cast.domain.name):
        worker.ask("filter.undefine", cast.filter)
    Definition.objects.all().delete()
    CardUse.objects.all().delete()
    worker.host.filters.define("<filter name='all'><filterref filter='no-mail'/></filter>")
    watched(cast, worker.host)
    with pytest.raises(operations.NotNow, match="these filters take it in: all"):
        worker.ask("filter.undefine", cast.filter)


def test_one_that_came_into_use_while_it_waited_is_not_deleted(cast: Cast, worker: WorkerOnFake) -> None:
    operation = worker.ask("filter.undefine", cast.filter)
    plug(cast.domain, "no-mail")
    assert worker.carry_out(operation).state == OperationState.FAILED
    assert cast.domain.name in operation.error
    assert cast.filter.uuid in worker.host.filters.known


# --- a machine's card


def test_a_card_is_put_behind_a_filter_and_taken_out_again(cast: Cast, worker: WorkerOnFake) -> None:
    known = worker.host.define(cast.domain.name, uuid=cast.domain.uuid)
    worker.host.filters.cards[known.uuid] = {MAC: ""}
    for name in ("no-mail", ""):
        operation = worker.do("domain.set_filter", cast.domain, mac=MAC.upper(), filter=name)
        assert operation.state == OperationState.SUCCEEDED, operation.error
        assert worker.host.filters.cards[known.uuid] == {MAC: name}
    assert operation.virsh == f"virsh -c test:///default update-device web-1 card-{MAC}.xml --config"


def test_a_filter_that_is_not_there_changes_nothing(cast: Cast, worker: WorkerOnFake) -> None:
    known = worker.host.define(cast.domain.name, uuid=cast.domain.uuid)
    worker.host.filters.cards[known.uuid] = {MAC: "no-mail"}
    assert worker.do("domain.set_filter", cast.domain, mac=MAC, filter="gone").state == OperationState.FAILED
    assert worker.host.filters.cards[known.uuid] == {MAC: "no-mail"}
