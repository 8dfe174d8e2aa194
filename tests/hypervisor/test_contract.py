"""One contract, held against every kind of host: what callers may rely on, whoever is behind the connection."""

from __future__ import annotations

import io
import queue
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from PIL import Image

from tests.fakes import MEMORY_KIB
from tests.hypervisor.conftest import Bench
from tests.hypervisor.subjects import PREFIX, SUBJECTS, Part
from tests.lab.lab import LAB
from tests.until import until
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, Unsupported, WrongState
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.types import (
    Bus,
    DiskCopy,
    DiskMirror,
    DiskSpec,
    DomainCopy,
    DomainEvent,
    DomainSpec,
    DomainState,
    Source,
    Touch,
)

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


@those_that(Part.MACHINES)
def test_the_host_tells_what_machines_it_runs(bench: Bench) -> None:
    machines = {(each.type, each.machine): each for each in bench.connection.host.info().machines}
    assert {("qemu", "q35"), ("qemu", "pc")} <= machines.keys()
    for each in machines.values():
        assert each.arch == "x86_64"
        assert each.emulator.startswith("/")
        assert 1 < each.vcpus_max <= 255
        assert "virtio" in each.disk_buses
        assert set(each.disk_buses) <= set(Bus)
        assert "virtio" in each.video_models
    q35, pc = machines["qemu", "q35"], machines["qemu", "pc"]
    assert "maximum" in q35.cpu_modes
    assert "host-passthrough" not in q35.cpu_modes
    assert (q35.efi, q35.secure_boot, q35.tpm) == (True, True, True)
    assert not pc.secure_boot
    assert ("ide" in pc.disk_buses, "ide" in q35.disk_buses) == (True, False)


@those_that_cannot(Part.MACHINES)
def test_the_host_does_not_tell_what_machines_it_runs(bench: Bench) -> None:
    assert bench.connection.host.info().machines == ()


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
    lambda domains: domains.undefine(STRANGER),
    lambda domains: domains.insert(STRANGER, "sda", Source("/srv/x.iso")),
    lambda domains: domains.eject(STRANGER, "sda"),
    lambda domains: domains.add_tablet(STRANGER),
    lambda domains: domains.add_clipboard(STRANGER),
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


# --- making


@pytest.fixture
def made(bench: Bench) -> Iterator[Bench]:
    """A second machine beside the first: made by its spec, with a drive, and off."""
    spec = spec_of(bench)
    bench.domains.define(spec)
    yield Bench(bench.subject, bench.connection, spec.uuid)
    if bench.domains.summaries([spec.uuid]):
        bench.subject.undefine(bench.connection, spec.uuid)


def spec_of(bench: Bench, name: str = "made") -> DomainSpec:
    return DomainSpec(
        uuid=str(uuid.uuid4()),
        name=f"{PREFIX}{name}-{bench.subject}",
        type="qemu",
        arch="x86_64",
        machine="q35",
        emulator="/usr/bin/qemu-system-x86_64",
        vcpus=1,
        memory_kib=MEMORY_KIB,
        disks=(DiskSpec(None, device="cdrom", bus=Bus.SATA, boot=1),),
        title="A <title>",
        description="two\r\nlines",
    )


def drives(made: Bench) -> list[str]:
    """What is in the machine's one drive, by each definition that it has."""
    reading = made.domains.read(made.uuid)
    return [info.disks[0].source for info in (reading.inactive, reading.live) if info is not None]


def test_a_machine_is_made(made: Bench) -> None:
    assert (made.summary.state, made.summary.persistent) == (S.SHUTOFF, True)
    info = made.domains.read(made.uuid).inactive
    assert info is not None
    assert (info.uuid, info.name, info.memory_kib) == (made.uuid, f"{PREFIX}made-{made.subject}", MEMORY_KIB)
    assert (info.title, info.description) == ("A <title>", "two\nlines")
    assert [(disk.target, disk.source, disk.boot_order) for disk in info.disks] == [("sda", "", 1)]
    made.domains.start(made.uuid)
    assert made.summary.state == S.RUNNING


def test_a_name_or_uuid_that_is_taken_makes_nothing(made: Bench) -> None:
    spec = spec_of(made)
    with pytest.raises(WrongState):
        made.domains.define(spec)
    assert made.domains.summaries([spec.uuid]) == []
    before = made.domains.read(made.uuid)
    with pytest.raises(WrongState):
        made.domains.define(replace(spec, uuid=made.uuid, name=f"{PREFIX}other", vcpus=2))
    assert made.domains.read(made.uuid) == before


def test_what_is_no_machine_makes_nothing(bench: Bench) -> None:
    spec = replace(spec_of(bench), memory_kib=0)
    with pytest.raises(InvalidSpec):
        bench.domains.define(spec)
    assert bench.domains.summaries([spec.uuid]) == []


def copy_for(made: Bench, name: str = "copy", **more: Any) -> DomainCopy:
    return DomainCopy(str(uuid.uuid4()), f"{PREFIX}{name}-{made.subject}", **more)


def test_a_machine_is_copied(made: Bench) -> None:
    made.domains.describe(made.uuid, tags=["prod"])
    before, disc = made.domains.read(made.uuid), Source(str(LAB / f"{PREFIX}copy.iso"))
    copy = copy_for(made, title="Another", seed=disc)
    made.domains.define_copy(made.uuid, copy)
    try:
        info = made.domains.read(copy.uuid).inactive
        assert info is not None
        assert (info.name, info.title, info.description, info.tags) == (copy.name, "Another", "two\nlines", ("prod",))
        assert [(disk.target, disk.source, disk.boot_order) for disk in info.disks] == [("sda", disc.path, 1)]
        assert made.domains.read(made.uuid) == before
    finally:
        made.domains.undefine(copy.uuid)


def test_a_copy_that_cannot_be_made_makes_nothing(made: Bench) -> None:
    # Others' guests come and go meanwhile.
    before = [one for one in made.domains.list() if one.name.startswith("wvh-")]
    for copy, error in (
        (copy_for(made, "made"), WrongState),
        (replace(copy_for(made), uuid=made.uuid), WrongState),
        (copy_for(made, disks=(DiskCopy("sda", "/somewhere/else.iso", keep=True),)), WrongState),
        (copy_for(made, seed=Source("../x")), InvalidSpec),
    ):
        with pytest.raises(error):
            made.domains.define_copy(made.uuid, copy)
    with pytest.raises(NotFound):
        made.domains.define_copy(STRANGER, copy_for(made))
    assert [one for one in made.domains.list() if one.name.startswith("wvh-")] == before


def test_no_disk_is_copied_that_does_not_run_or_is_another(made: Bench) -> None:
    def copy(target_uuid: str) -> None:
        mirror = DiskMirror("vda", "/somewhere/else.img", Source(str(LAB / f"{PREFIX}copy.img")), "raw")
        made.domains.copy_disks(target_uuid, [mirror], lambda _done, _total: None, lambda: None)

    for on in (False, True):
        if on:
            made.domains.start(made.uuid)
        with pytest.raises(WrongState):
            copy(made.uuid)
        made.domains.end_copies(made.uuid, ["/somewhere/else.img"])
    for call in (copy, lambda stranger: made.domains.end_copies(stranger, []), made.domains.go_on):
        with pytest.raises(NotFound):
            call(STRANGER)


def test_a_machine_that_stood_still_goes_on(made: Bench) -> None:
    """And one that does not is left as it is."""
    states = []
    for before in (lambda _uuid: None, made.domains.start, made.domains.suspend):
        before(made.uuid)
        made.domains.go_on(made.uuid)
        states.append(made.summary.state)
    assert states == [S.SHUTOFF, S.RUNNING, S.RUNNING]


def test_a_machine_is_taken_away(made: Bench) -> None:
    made.domains.start(made.uuid)
    with pytest.raises(WrongState):
        made.domains.undefine(made.uuid)
    assert made.summary.persistent
    made.domains.destroy(made.uuid)
    made.domains.undefine(made.uuid)
    with pytest.raises(NotFound):
        made.domains.read(made.uuid)


@those_that(Part.SAVE)
def test_a_machine_is_taken_away_with_its_saved_memory(made: Bench) -> None:
    made.domains.start(made.uuid)
    made.domains.save(made.uuid, lambda _done, _total: None)
    made.domains.undefine(made.uuid)
    assert made.domains.summaries([made.uuid]) == []


@those_that(Part.DISCS)
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_discs_go_in_and_out(made: Bench, on: bool) -> None:
    discs = [LAB / f"{PREFIX}{name}-{made.subject}.iso" for name in ("one", "other")]
    for disc in discs:
        disc.write_bytes(bytes(2048))
    if on:
        made.domains.start(made.uuid)
    sides = 2 if on else 1
    try:
        for disc in discs:
            made.domains.insert(made.uuid, "sda", Source(str(disc)), "raw")
            assert drives(made) == [str(disc)] * sides
            assert made.uuid in made.domains.users_of(str(disc), "", "")
        made.domains.eject(made.uuid, "sda")
        assert drives(made) == [""] * sides
        made.domains.eject(made.uuid, "sda")
        assert drives(made) == [""] * sides
    finally:
        for disc in discs:
            disc.unlink()


@those_that(Part.DISCS)
def test_a_drive_that_is_not_there(made: Bench) -> None:
    with pytest.raises(NotFound):
        made.domains.eject(made.uuid, "sdb")
    with pytest.raises(InvalidSpec):
        made.domains.insert(made.uuid, "sda", Source("../x.iso"))
    with pytest.raises(InvalidSpec):
        made.domains.insert(made.uuid, "sda", Source("/srv/x.iso"), "")
    assert drives(made) == [""]


@those_that_cannot(Part.DISCS)
def test_no_disc_can_be_changed(made: Bench) -> None:
    with pytest.raises(Unsupported):
        made.domains.eject(made.uuid, "sda")


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
    heard: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()
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
