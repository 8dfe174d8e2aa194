"""One contract, held against every kind of host: what callers may rely on, whoever is behind the connection."""

from __future__ import annotations

import io
import queue
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from PIL import Image

from tests.fakes import MEMORY_KIB
from tests.hypervisor.conftest import Bench
from tests.hypervisor.subjects import PREFIX, SUBJECTS, Part
from tests.until import until
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, Unsupported, WrongState
from webvirt.hypervisor.types import DomainEvent, DomainState, ObjectEvent, Touch

S = DomainState
STRANGER = str(uuid.uuid4())


def those_that(part: Part) -> pytest.MarkDecorator:
    """Only the subjects that list this part."""
    able = [subject for subject in SUBJECTS if part in subject.parts]
    return pytest.mark.parametrize("bench", able, indirect=True, ids=str)


def those_that_cannot(part: Part) -> pytest.MarkDecorator:
    unable = [subject for subject in SUBJECTS if part not in subject.parts]
    return pytest.mark.parametrize("bench", unable, indirect=True, ids=str)


# --- the host


def test_the_host_tells_what_it_is(bench: Bench) -> None:
    info = bench.connection.host.info()
    assert info.hostname
    assert info.cpus >= 1
    assert info.memory_kib > 1024
    assert info.domain_types
    assert all(part.isdigit() for part in info.libvirt_version.split("."))


def test_the_host_answers(bench: Bench) -> None:
    bench.connection.host.ping()


def test_the_host_counts(bench: Bench) -> None:
    before, after = bench.connection.host.usage(), bench.connection.host.usage()
    assert after.cpu_total_ns >= before.cpu_total_ns
    assert 0 <= after.cpu_busy_ns <= after.cpu_total_ns
    assert after.memory_used_kib >= 0


def test_the_host_is_checked(bench: Bench) -> None:
    checks = bench.connection.host.capability_checks()
    assert "domain-types" in [check.key for check in checks]
    assert all(check.found for check in checks)


# --- reading


def test_it_is_listed(bench: Bench) -> None:
    listed = {summary.uuid: summary for summary in bench.domains.list()}[bench.uuid]
    assert listed.name.startswith(PREFIX)
    assert (listed.state, listed.persistent, listed.autostart, listed.managed_save) == (S.SHUTOFF, True, False, False)


def test_the_list_and_a_look_at_one_agree(bench: Bench) -> None:
    changes: list[Callable[[str], None]] = [bench.domains.start, bench.domains.suspend, bench.domains.destroy]
    for change in changes:
        change(bench.uuid)
        one = bench.summary
        (several,) = [each for each in bench.domains.summaries([bench.uuid, STRANGER]) if each.uuid == bench.uuid]
        (listed,) = [each for each in bench.domains.list() if each.uuid == bench.uuid]
        assert one == several == listed


def test_strangers_are_left_out(bench: Bench) -> None:
    assert bench.domains.summaries([STRANGER]) == []
    assert bench.domains.summaries([]) == []


def test_both_definitions_are_read(bench: Bench) -> None:
    reading = bench.domains.read(bench.uuid)
    assert reading.inactive is not None
    assert (reading.inactive.uuid, reading.inactive.name) == (bench.uuid, reading.summary.name)
    assert (reading.live, reading.live_xml) == (None, "")
    bench.domains.start(bench.uuid)
    reading = bench.domains.read(bench.uuid)
    assert reading.live is not None
    assert reading.live.memory_kib == MEMORY_KIB
    assert bench.uuid in reading.live_xml
    assert bench.uuid in reading.inactive_xml


UUID_CALLS: tuple[Callable[[DomainCalls], object], ...] = (
    lambda domains: domains.read(STRANGER),
    lambda domains: domains.start(STRANGER),
    lambda domains: domains.destroy(STRANGER),
    lambda domains: domains.suspend(STRANGER),
    lambda domains: domains.save(STRANGER, lambda _done, _total: None),
    lambda domains: domains.describe(STRANGER, title="x"),
    lambda domains: domains.rename(STRANGER, f"{PREFIX}x"),
    lambda domains: domains.set_autostart(STRANGER, True),
    lambda domains: domains.screenshot(STRANGER),
    lambda domains: domains.display(STRANGER),
    lambda domains: domains.addresses(STRANGER),
    lambda domains: domains.send_key(STRANGER, [30], 50),
)


def test_a_stranger_is_not_found(bench: Bench) -> None:
    for call in UUID_CALLS:
        with pytest.raises(NotFound):
            call(bench.domains)


# --- power


def test_on_pause_go_on_off(bench: Bench) -> None:
    steps: list[tuple[Callable[[str], None], DomainState]] = [
        (bench.domains.start, S.RUNNING),
        (bench.domains.suspend, S.PAUSED),
        (bench.domains.resume, S.RUNNING),
        (bench.domains.destroy, S.SHUTOFF),
    ]
    for step, state in steps:
        step(bench.uuid)
        assert bench.summary.state == state
        assert state != S.PAUSED or bench.summary.reason == "asked"


def calls_against_state(bench: Bench) -> Iterator[Callable[[], None]]:
    """What a stopped machine cannot do, then what a running one cannot."""
    domains, uuid = bench.domains, bench.uuid
    for call in (domains.suspend, domains.shutdown, domains.destroy, domains.restore, domains.discard_saved):
        yield partial(call, uuid)
    domains.start(uuid)
    yield partial(domains.start, uuid)
    yield partial(domains.resume, uuid)
    yield partial(domains.rename, uuid, f"{PREFIX}other")


@those_that(Part.STATES)
def test_what_the_state_forbids_is_a_wrong_state(bench: Bench) -> None:
    for call in calls_against_state(bench):
        with pytest.raises(WrongState):
            call()


@those_that_cannot(Part.STATES)
def test_what_the_state_forbids_fails(bench: Bench) -> None:
    for call in calls_against_state(bench):
        with pytest.raises(HypervisorError):
            call()


@those_that(Part.RESET)
def test_reset(bench: Bench) -> None:
    bench.domains.start(bench.uuid)
    bench.domains.reset(bench.uuid)
    assert bench.summary.state == S.RUNNING


@those_that(Part.GUEST)
def test_the_guest_heeds_the_power_button(bench: Bench) -> None:
    uuid = bench.subject.define(bench.connection, f"{PREFIX}linux", True)
    guest = Bench(bench.subject, bench.connection, uuid)
    guest.domains.start(uuid)

    def asked() -> bool:
        # It hears the button once it has booted; a state that is over already is what we want.
        with suppress(WrongState):
            guest.domains.shutdown(uuid)
        return guest.summary.state == S.SHUTOFF

    try:
        until(asked, 30, every=0.5, what="the guest turned itself off")
    finally:
        bench.subject.undefine(bench.connection, uuid)


@those_that(Part.SAVE)
def test_save_restore_discard(bench: Bench) -> None:
    domains, uuid = bench.domains, bench.uuid
    domains.start(uuid)
    domains.save(uuid, lambda _done, _total: None)
    assert (bench.summary.state, bench.summary.managed_save) == (S.SHUTOFF, True)
    domains.restore(uuid)
    assert (bench.summary.state, bench.summary.managed_save) == (S.RUNNING, False)
    domains.save(uuid, lambda _done, _total: None)
    domains.discard_saved(uuid)
    assert not bench.summary.managed_save


# --- changing


def test_autostart(bench: Bench) -> None:
    for enabled in (True, False):
        bench.domains.set_autostart(bench.uuid, enabled)
        assert bench.summary.autostart is enabled


def test_rename(bench: Bench) -> None:
    bench.domains.rename(bench.uuid, f"{PREFIX}renamed")
    assert bench.summary.name == f"{PREFIX}renamed"


def test_a_name_that_is_taken_is_refused(bench: Bench) -> None:
    other = bench.subject.define(bench.connection, f"{PREFIX}taken", False)
    try:
        with pytest.raises(WrongState):
            bench.domains.rename(bench.uuid, f"{PREFIX}taken")
    finally:
        bench.subject.undefine(bench.connection, other)


@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_title_description_and_tags(bench: Bench, on: bool) -> None:
    domains, uuid = bench.domains, bench.uuid
    if on:
        domains.start(uuid)
    domains.describe(uuid, title="A <title>", description="two\r\nlines & more", tags=["web", "prod-1"])
    domains.describe(uuid, tags=["web", "db"])
    reading = domains.read(uuid)
    for info in (reading.inactive, reading.live if on else reading.inactive):
        assert info is not None
        assert (info.title, info.description, info.tags) == ("A <title>", "two\nlines & more", ("web", "db"))
    domains.describe(uuid, title="", description="", tags=[])
    info = domains.read(uuid).inactive
    assert info is not None
    assert (info.title, info.description, info.tags) == ("", "", ())


def test_what_no_definition_can_hold_is_refused(bench: Bench) -> None:
    calls: list[Callable[[str], None]] = [
        lambda text: bench.domains.describe(bench.uuid, title=text),
        lambda text: bench.domains.describe(bench.uuid, description=text),
        lambda text: bench.domains.describe(bench.uuid, title="fine", tags=[text]),
        lambda text: bench.domains.rename(bench.uuid, text),
    ]
    for wrong in ("a\0b", "bell\a", "\ud800"):
        for call in calls:
            with pytest.raises(InvalidSpec):
                call(wrong)
    for end in ("\n", "\r"):
        with pytest.raises(InvalidSpec):
            bench.domains.describe(bench.uuid, title=f"two{end}lines")
    info = bench.domains.read(bench.uuid).inactive
    assert info is not None
    assert info.title == ""


# --- screen and keys


def test_the_screen_is_png(bench: Bench) -> None:
    bench.domains.start(bench.uuid)
    shot = bench.domains.screenshot(bench.uuid)
    assert Image.open(io.BytesIO(shot.png)).format == "PNG"


@those_that(Part.SEND_KEY)
def test_keys(bench: Bench) -> None:
    with pytest.raises(WrongState):
        bench.domains.send_key(bench.uuid, [30], 50)
    bench.domains.start(bench.uuid)
    bench.domains.send_key(bench.uuid, [29, 56, 111], 50)


@those_that(Part.VNC)
def test_where_the_display_is(bench: Bench) -> None:
    with pytest.raises(WrongState):
        bench.domains.display(bench.uuid)
    bench.domains.start(bench.uuid)
    display = bench.domains.display(bench.uuid)
    assert (display.uuid, display.type) == (bench.uuid, "vnc")
    assert (display.fd is not None) + bool(display.socket) + bool(display.port) == 1


@those_that_cannot(Part.VNC)
def test_no_display(bench: Bench) -> None:
    bench.domains.start(bench.uuid)
    with pytest.raises(Unsupported):
        bench.domains.display(bench.uuid)


# --- use


@those_that(Part.USAGE)
def test_use(bench: Bench) -> None:
    assert bench.domains.usage([bench.uuid]) == []
    bench.domains.start(bench.uuid)
    (before,) = bench.domains.usage([bench.uuid])
    assert (before.uuid, before.vcpus, before.memory_kib) == (bench.uuid, 1, MEMORY_KIB)
    until(lambda: bench.domains.usage([bench.uuid])[0].cpu_ns > before.cpu_ns, what="its CPU time grows")
    assert bench.uuid in [usage.uuid for usage in bench.domains.usage()]


@those_that_cannot(Part.USAGE)
def test_no_figures_of_use(bench: Bench) -> None:
    bench.domains.start(bench.uuid)
    assert bench.domains.usage([bench.uuid]) == []


@those_that(Part.ADDRESSES)
def test_addresses_of_a_guest_without_a_network(bench: Bench) -> None:
    with pytest.raises(WrongState):
        bench.domains.addresses(bench.uuid)
    bench.domains.start(bench.uuid)
    assert bench.domains.addresses(bench.uuid) == ()


# --- events


def test_what_happens_is_heard(bench: Bench) -> None:
    heard: queue.SimpleQueue[DomainEvent | ObjectEvent] = queue.SimpleQueue()
    bench.connection.listen(heard.put, lambda _why: None)

    def next_of_mine() -> DomainEvent:
        while True:
            event = heard.get(timeout=5)
            if isinstance(event, DomainEvent) and event.uuid == bench.uuid:
                return event

    def hears(what: str, touch: Touch) -> None:
        event = next_of_mine()
        while event.what != what:
            event = next_of_mine()
        assert event.touch == touch

    bench.domains.start(bench.uuid)
    hears("started/booted", Touch.DEFINITION)
    bench.domains.suspend(bench.uuid)
    hears("suspended/paused", Touch.STATE)
    bench.domains.resume(bench.uuid)
    hears("resumed/unpaused", Touch.STATE)
    bench.domains.destroy(bench.uuid)
    hears("stopped/destroyed", Touch.DEFINITION)
    bench.domains.describe(bench.uuid, title="new")
    hears("metadata changed", Touch.DEFINITION)
    bench.domains.rename(bench.uuid, f"{PREFIX}elsewhere")
    hears("defined/renamed", Touch.DEFINITION)
    bench.subject.undefine(bench.connection, bench.uuid)
    hears("undefined/removed", Touch.GONE)


def test_every_part_is_told_of_each_subject() -> None:
    """A part that no subject lacks or has would be tested nowhere."""
    assert set().union(*(subject.parts for subject in SUBJECTS)) == set(Part)
