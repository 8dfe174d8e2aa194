"""Network filters: their XML, and on the fake and a real host that nothing is ever without the one it had."""

from __future__ import annotations

import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import libvirt
import pytest
from lxml import etree

from tests.fakes import FakeConnection
from tests.guests import Guest
from tests.hypervisor.subjects import PREFIX, SECOND, SUBJECTS, Subject
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.filters import FilterCalls, change_live
from webvirt.hypervisor.types import FilterInfo, Forward, NetworkAddress, NetworkSpec
from webvirt.hypervisor.xml.filters import CardChange, card_with_filter, checked_filter, parse_filter

REAL = next(subject for subject in SUBJECTS if subject.name == "qemu-tcp")
FILTERED = [subject for subject in SUBJECTS if subject.name == "fake" or subject is REAL]
STRANGER = str(uuid.uuid4())
MAC = "52:54:00:00:39:0a"
NAME = f"{PREFIX}filter"
FILTER = """<filter name='{name}'><rule action='drop' direction='in'><tcp dstportstart='{port}'/></rule>
<rule action='drop' direction='out'><mac protocolid='arp'/></rule></filter>"""


def at_port(xml: str, port: int) -> str:
    """The same filter for another port."""
    return re.sub(r"dstportstart=.\d+.", f"dstportstart='{port}'", xml)


def ports(xml: str) -> list[str]:
    return re.findall(r"dstportstart=.(\d+).", xml)


# --- XML

TOLD = """<filter name='clean-traffic' chain='ipv4' priority='-700'>
  <uuid>bb6df7a2-ce85-43a8-9fee-6c4b174c88a0</uuid>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ip-spoofing'><parameter name='IP' value='10.0.0.1'/></filterref>
  <rule action='accept' direction='out' priority='-650'><mac protocolid='ipv4'/></rule>
  <rule action='drop' direction='inout' priority='-500'><all/></rule>
</filter>"""


def test_a_filter_is_read() -> None:
    assert parse_filter(TOLD) == FilterInfo(
        uuid="bb6df7a2-ce85-43a8-9fee-6c4b174c88a0",
        name="clean-traffic",
        chain="ipv4",
        priority=-700,
        rules=2,
        references=("no-mac-spoofing", "no-ip-spoofing"),
        xml=TOLD,
    )
    assert parse_filter("<filter name='bare' priority='odd'/>").priority is None


HOSTILE = [
    "",
    "no xml",
    "<domain/>",
    "<filter/>",
    "<filter name='../../../tmp/x'/>",
    "<filter name='a b'/>",
    "<filter name='-rf'/>",
    "<filter name='two\nlines'/>",
    '<!DOCTYPE filter SYSTEM "file:///etc/hostname"><filter name="x"/>',
    '<!DOCTYPE f [<!ENTITY file SYSTEM "file:///etc/hostname">]><filter name="x"><rule>&file;</rule></filter>',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        checked_filter(text, None)


def test_what_takes_anothers_place_keeps_its_name_and_uuid() -> None:
    before = parse_filter(TOLD)
    for wrong in (TOLD.replace("clean-traffic", "other"), TOLD.replace("bb6df7a2", "bb6df7a3")):
        with pytest.raises(InvalidSpec, match="keeps its name and its uuid"):
            checked_filter(wrong, before)
    for without in ("<filter name='clean-traffic'><uuid/></filter>", "<filter name='clean-traffic'/>"):
        assert [each.text for each in etree.fromstring(checked_filter(without, before)).iterfind("uuid")] == [
            before.uuid
        ]


CARDS = f"""<domain><devices>
  <interface type='network'><mac address='52:54:00:00:39:ff'/><filterref filter='other'/></interface>
  <interface type='network'><mac address='{MAC.upper()}'/><strange/>
    <filterref filter='old'><parameter name='IP' value='10.0.0.1'/></filterref></interface>
</devices></domain>"""


def test_a_card_is_given_a_filter_and_keeps_the_rest() -> None:
    change = card_with_filter(CARDS, MAC, "new")
    before, unplugged, after = map(etree.fromstring, (change.before, change.unplugged, change.after))
    assert change.swaps
    assert [each.get("filter") for each in before.iterfind("filterref")] == ["old"]
    assert [each.get("filter") for each in unplugged.iterfind("filterref")] == ["old"]
    assert [each.get("state") for each in unplugged.iterfind("link")] == ["down"]
    assert [each.get("filter") for each in after.iterfind("filterref")] == ["new"]
    assert after.find("link") is None
    assert after.find("strange") is not None
    assert after.find("filterref/parameter[@value='10.0.0.1']") is not None
    assert etree.fromstring(card_with_filter(CARDS, MAC, "").after).find("filterref") is None
    with pytest.raises(NotFound):
        card_with_filter(CARDS, "52:54:00:00:39:0b", "new")


@pytest.mark.parametrize(
    ("xml", "name", "swaps"),
    [
        (CARDS, "new", True),
        (CARDS, "old", False),
        (CARDS, "", False),
        (CARDS.replace("<strange/>", "<link state='down'/>"), "new", False),
        (CARDS.replace("filter='old'", "filter=''"), "new", False),
    ],
)
def test_the_cable_is_out_only_where_one_filter_follows_another(xml: str, name: str, swaps: bool) -> None:
    assert card_with_filter(xml, MAC, name).swaps is swaps


class Recorder:
    """A domain that notes what it is changed to, and refuses one of it."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.sent: list[str] = []

    def updateDeviceFlags(self, xml: str, flags: int) -> None:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        self.sent.append(xml)
        if xml == self.refuses:
            raise libvirt.libvirtError("refused")


def test_the_cable_is_out_while_filters_change_and_in_again_if_they_cannot() -> None:
    domain = Recorder()
    change_live(domain, CardChange("before", "unplugged", "after", swaps=True))
    assert domain.sent == ["unplugged", "after"]
    domain = Recorder(refuses="after")
    with pytest.raises(libvirt.libvirtError):
        change_live(domain, CardChange("before", "unplugged", "after", swaps=True))
    assert domain.sent == ["unplugged", "after", "before"]
    domain = Recorder()
    change_live(domain, CardChange("before", "unplugged", "after", swaps=False))
    assert domain.sent == ["after"]


# --- on hosts


@dataclass
class Gate:
    """A subject and a filter on it."""

    subject: Subject
    connection: Connection | FakeConnection
    uuid: str = ""

    @property
    def filters(self) -> FilterCalls:
        # The fake has the same methods without being one.
        return self.connection.filters  # type: ignore[return-value]

    @property
    def info(self) -> FilterInfo:
        return self.filters.read(self.uuid)


@pytest.fixture(params=FILTERED, ids=str)
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    subject: Subject = request.param
    if subject is REAL:
        request.getfixturevalue("second")
    with subject.open() as connection:
        gate = Gate(subject, connection)
        gate.uuid = gate.filters.define(FILTER.format(name=NAME, port=22))
        yield gate
        for info in gate.filters.list():
            if info.name.startswith(PREFIX):
                gate.filters.undefine(info.uuid)


def test_it_is_listed_and_read(gate: Gate) -> None:
    (listed,) = [info for info in gate.filters.list() if info.uuid == gate.uuid]
    assert listed == gate.info
    assert (listed.name, listed.chain, listed.rules, listed.references) == (NAME, "root", 2, ())


def test_a_stranger_is_not_found(gate: Gate) -> None:
    calls: list[Callable[[], object]] = [
        lambda: gate.filters.read(STRANGER),
        lambda: gate.filters.undefine(STRANGER),
        lambda: gate.filters.assign(STRANGER, MAC, NAME),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()


def test_a_redefinition_stays_the_same_filter(gate: Gate) -> None:
    seen = gate.info
    for xml in (FILTER.format(name=NAME, port=80), at_port(seen.xml, 443)):
        assert gate.filters.define(xml, gate.info.version) == gate.uuid
    assert ports(gate.info.xml) == ["443"]
    assert len([info for info in gate.filters.list() if info.name == NAME]) == 1


def test_what_may_not_take_its_place_changes_nothing(gate: Gate) -> None:
    before = gate.info
    other = FILTER.format(name=f"{PREFIX}other", port=1)
    with pytest.raises(WrongState, match="edit that one"):
        gate.filters.define(FILTER.format(name=NAME, port=80))
    for wrong in (
        before.xml.replace(NAME, f"{PREFIX}renamed"),
        other.replace("<rule", f"<uuid>{gate.uuid}</uuid><rule", 1),
        FILTER.format(name=NAME, port=80).replace("<rule", f"<uuid>{STRANGER}</uuid><rule", 1),
    ):
        with pytest.raises(InvalidSpec, match="keeps its name"):
            gate.filters.define(wrong, before.version)
    with pytest.raises(WrongState, match="taken away meanwhile"):
        gate.filters.define(other, before.version)
    assert gate.filters.list() == [info for info in gate.filters.list() if info.name != f"{PREFIX}other"]
    assert gate.info == before


def test_an_edit_of_what_is_no_longer_there_is_refused(gate: Gate) -> None:
    seen = gate.info
    gate.filters.define(at_port(seen.xml, 80), seen.version)
    with pytest.raises(WrongState, match="changed"):
        gate.filters.define(at_port(seen.xml, 443), seen.version)
    assert ports(gate.info.xml) == ["80"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_filter_is_refused(gate: Gate, text: str) -> None:
    before = gate.filters.list()
    with pytest.raises(InvalidSpec):
        gate.filters.define(text)
    assert gate.filters.list() == before


# --- the real thing

really = pytest.mark.parametrize("gate", [REAL], indirect=True, ids=str)


@really
def test_a_filter_is_never_off_the_list_while_it_is_redefined(gate: Gate) -> None:
    done = threading.Event()
    looks: list[bool] = []

    def look() -> None:
        with REAL.open() as connection:
            while not done.is_set():
                looks.append(gate.uuid in [info.uuid for info in connection.filters.list()])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for port in range(1, 201):
            gate.filters.define(FILTER.format(name=NAME, port=port), gate.info.version)
    finally:
        done.set()
        watcher.join()
    assert len(looks) > 50
    assert all(looks)
    assert ports(gate.info.xml) == ["200"]


@pytest.fixture
def guest(gate: Gate) -> Iterator[Guest]:
    """A stopped machine with a card on a network of its own."""
    networks = gate.connection.networks
    network = networks.define(
        NetworkSpec(f"{PREFIX}fenced", Forward.ISOLATED, addresses=(NetworkAddress("10.239.0.1", 24),))
    )
    networks.start(network)
    guest = Guest(f"{PREFIX}fenced", uri=SECOND.uri).define()
    card = f"<interface type='network'><mac address='{MAC}'/><source network='{PREFIX}fenced'/></interface>"
    attach(guest, card)
    yield guest
    guest.remove()
    networks.stop(network)
    networks.undefine(network)


def attach(guest: Guest, device: str) -> None:
    command = ["virsh", "-q", "-c", guest.uri, "attach-device", guest.uuid, "/dev/stdin", "--config"]
    subprocess.run(command, input=device, text=True, check=True, capture_output=True)


def cards(gate: Gate, guest: Guest) -> tuple[str, str]:
    """What is kept of the card's filter and cable, and what is in force."""
    reading = gate.connection.domains.read(guest.uuid)
    return card_of(reading.inactive_xml), card_of(reading.live_xml)


def card_of(xml: str) -> str:
    if not xml:
        return ""
    card = etree.fromstring(xml).find("devices/interface")
    assert card is not None
    link, reference = card.find("link"), card.find("filterref")
    return f"{'' if reference is None else reference.get('filter')} {'in' if link is None else link.get('state')}"


def rules() -> list[str]:
    """The ports that the guest's rules name."""
    command = ["ip", "netns", "exec", f"wvhost{SECOND.n}", "iptables-save", "-t", "filter"]
    saved = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("--dport ")[1].split()[0] for line in saved.splitlines() if "-A FO-vnet" in line]


@really
def test_a_card_is_sent_through_a_filter_off_and_on(gate: Gate, guest: Guest) -> None:
    other, needy = f"{PREFIX}other", f"{PREFIX}needy"
    gate.filters.define(FILTER.format(name=other, port=443))
    gate.filters.define(
        f"<filter name='{needy}'><rule action='drop' direction='in'><tcp srcipaddr='$NOBODY_SAYS'/></rule></filter>"
    )
    gate.filters.assign(guest.uuid, MAC.upper(), NAME)
    assert cards(gate, guest) == (f"{NAME} in", "")
    guest.virsh("start")
    assert rules() == ["22"]
    # One that cannot be set leaves the old one, and the cable in.
    for wrong, kind in ((needy, HypervisorError), (f"{PREFIX}stranger", NotFound)):
        with pytest.raises(kind):
            gate.filters.assign(guest.uuid, MAC, wrong)
        assert cards(gate, guest) == (f"{NAME} in", f"{NAME} in")
        assert rules() == ["22"]
    guest.virsh("domif-setlink", MAC, "down", "--config")
    gate.filters.assign(guest.uuid, MAC, other)
    assert cards(gate, guest) == (f"{other} down", f"{other} in"), "each is changed as it is"
    assert rules() == ["443"]
    with pytest.raises(WrongState):
        gate.filters.undefine(next(info.uuid for info in gate.filters.list() if info.name == other))
    gate.filters.assign(guest.uuid, MAC, "")
    assert cards(gate, guest) == (" down", " in")
    assert rules() == []


def test_the_fake_keeps_to_the_same_manners() -> None:
    with FakeConnection() as connection:
        domain = connection.define(f"{PREFIX}fenced")
        gate = Gate(FILTERED[0], connection, connection.filters.define(FILTER.format(name=NAME, port=22)))
        with pytest.raises(NotFound):
            gate.filters.assign(domain.uuid, MAC, NAME)
        connection.filters.cards[domain.uuid] = {MAC: ""}
        with pytest.raises(NotFound):
            gate.filters.assign(domain.uuid, MAC, f"{PREFIX}stranger")
        gate.filters.assign(domain.uuid, MAC.upper(), NAME)
        assert connection.filters.cards[domain.uuid] == {MAC: NAME}
        with pytest.raises(WrongState):
            gate.filters.undefine(gate.uuid)
        gate.filters.assign(domain.uuid, MAC, "")
        gate.filters.undefine(gate.uuid)
        assert gate.filters.list() == []
