"""Ten thousand hostile strings over every text that any verb takes: each is refused, or stays one text.

The texts are found in the catalogue's own parameters, so a new field is tried as soon as it is there. A new verb that
takes text has to be put into `REACHES`, with what of it libvirt is told, or into `TOLD_PLAINLY`, with the reason why it
makes no XML.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.services.conftest import GIB, FakeHost
from tests.services.test_creation import ISO, KEY, host
from webvirt.hypervisor.connection import source_uri, uri_of
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DomainCopy, VolumeSpec
from webvirt.hypervisor.xml.build import tags_element
from webvirt.hypervisor.xml.disks import drive_with
from webvirt.hypervisor.xml.domain_copies import copy_of, moved_copy
from webvirt.hypervisor.xml.domains import build_domain
from webvirt.hypervisor.xml.filters import card_with_filter
from webvirt.hypervisor.xml.moving import placed
from webvirt.hypervisor.xml.network_updates import lease_to_add
from webvirt.hypervisor.xml.networks import build_network, edit_network
from webvirt.hypervisor.xml.secrets import build_secret
from webvirt.hypervisor.xml.storage import build_pool, build_volume
from webvirt.models import Host
from webvirt.services import operations
from webvirt.services.catalogue import BY_KIND, VERBS, Verb
from webvirt.services.catalogue.building import plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.elsewhere import card_specs
from webvirt.services.catalogue.moving import wish_of
from webvirt.services.operations import Invalid
from webvirt.services.ovf import Appliance, Disk
from webvirt.services.subjects import Subject

__all__ = ["host"]

STRINGS = 10_000
BATCHES = 4
Path = tuple[str | int, ...]
DUID = "00:03:00:01:52:54:00:12:34:56"
UUID_OF_ANY = "00000000-0000-4000-8000-000000000001"
MACHINE = (
    "<domain type='qemu'><name>web-1</name><uuid>00000000-0000-4000-8000-000000000009</uuid><memory>65536</memory>"
    "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='cdrom'>"
    "<source file='/srv/a.iso'/><target dev='sda' bus='sata'/></disk><interface type='network'>"
    "<mac address='52:54:00:00:00:01'/><source network='default'/></interface></devices></domain>"
)
NETWORK = (
    "<network><name>default</name><uuid>00000000-0000-4000-8000-000000000008</uuid><forward mode='nat'/>"
    "<ip address='192.0.2.1' prefix='24'><dhcp><range start='192.0.2.2' end='192.0.2.99'/></dhcp></ip>"
    "<ip family='ipv6' address='fd00::1' prefix='64'/></network>"
)

# --- what libvirt is told


def of_wish(there: Host, wish: Any) -> list[str]:
    return [build_domain(plan_of(there, wish, NOBODY).domain)]


def of_copy(there: Host, spec: Any) -> list[str]:
    without_disk = MACHINE.replace("<disk", "<!--").replace("</disk>", "-->")
    copy = DomainCopy(NOBODY, spec.name, spec.title)
    made = [copy_of(without_disk, copy)]
    if spec.cards:
        made.append(placed(*moved_copy(without_disk, copy, card_specs(spec.cards, NOBODY))))
    return [*made, *of_targets([choice.target for choice in spec.disks])]


def of_targets(targets: list[str]) -> list[str]:
    return [drive_with(MACHINE, target, None) for target in targets]


def of_tags(there: Host, spec: Any) -> list[str]:
    return [tags_element(spec.tags)] if spec.tags else []


def of_card(there: Host, spec: Any) -> list[str]:
    change = card_with_filter(MACHINE, spec.mac, spec.filter)
    return [change.before, change.unplugged, change.after]


def of_network(there: Host, spec: Any) -> list[str]:
    return [build_network(spec.network), edit_network(NETWORK, replace(spec.network, name="default"))]


def of_lease(there: Host, spec: Any) -> list[str]:
    update = lease_to_add(NETWORK, spec.lease)
    return [update.xml] if update else []


def of_volume(there: Host, spec: Any) -> list[str]:
    return [build_volume(VolumeSpec(name=spec.name or "v", capacity=GIB))]


REACHES: dict[str, Callable[[Host, Any], list[str]]] = {
    "domain.create": of_wish,
    "domain.import": lambda there, spec: of_wish(there, wish_of(there, spec, Appliance(disks=(Disk(capacity=GIB),)))),
    "domain.clone": of_copy,
    "domain.edit": of_tags,
    "domain.set_filter": of_card,
    "domain.insert": lambda there, spec: of_targets([spec.drive]),
    "domain.eject": lambda there, spec: of_targets([spec.drive]),
    "domain.export_ova": of_volume,
    "pool.create": lambda there, spec: [build_pool(spec.pool)],
    "volume.create": of_volume,
    "volume.upload": of_volume,
    "volume.fetch": of_volume,
    "volume.clone": of_volume,
    "volume.copy": of_volume,
    "network.create": of_network,
    "network.edit": of_network,
    "network.keep_address": of_lease,
    "network.free_address": of_lease,
    "secret.create": lambda there, spec: [build_secret(spec.secret, UUID_OF_ANY)],
    "host.add": lambda there, spec: [f"<uri>{etree_text(uri_of(spec.address))}</uri>"],
    "host.edit": lambda there, spec: [f"<uri>{etree_text(uri_of(spec.address))}</uri>"],
    # What of a path is written otherwise in a URI is the same again in the end.
    "host.look_elsewhere": lambda there, spec: [f"<uri>{escape(unquote(source_uri(spec.address)))}</uri>"],
}
TOLD_PLAINLY = {
    "domain.rename": "libvirt takes the name as an argument",
    "secret.set_value": "libvirt takes the value as bytes",
    "host.trust": "it is compared with what the host shows",
}
AS_XML = {"filter.create", "filter.edit"}
"""It is XML, and read as such: tests/services/test_filters.py."""


SHOWN_ELSEWHERE = {"domain.create"}
"""A shell itself is asked about its commands: tests/services/test_creation_hostile.py."""


def etree_text(text: str) -> str:
    return text.replace("&", "&amp;")


# --- where there is room for text


def texts_of(node: dict[str, Any], schema: dict[str, Any], at: Path = ()) -> Iterator[Path]:
    """Where in a verb's parameters there is room for text, by their schema."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    for choice in (*node.get("anyOf", ()), *node.get("allOf", ())):
        yield from texts_of(choice, schema, at)
    if node.get("type") == "string" and not {"enum", "const"} & node.keys():
        yield at
    if node.get("type") == "array":
        yield from texts_of(node["items"], schema, (*at, 0))
    for name, field in node.get("properties", {}).items():
        yield from texts_of(field, schema, (*at, name))


def all_texts() -> Iterator[tuple[str, Path]]:
    for verb in VERBS:
        schema = verb.spec.model_json_schema()
        for at in dict.fromkeys(texts_of(schema, schema)):
            yield verb.kind, at


TEXTS = [(kind, at) for kind, at in all_texts() if kind not in AS_XML]
KINDS = sorted({kind for kind, _ in TEXTS})
SETUP = {"user": "ann", "ssh_keys": [KEY], "dns": ["192.0.2.1"], "packages": ["htop"], "address": "192.0.2.10/24"}
LEASE = {"mac": "52:54:00:00:00:02", "address": "192.0.2.7"}
NAT: dict[str, Any] = {
    "name": "n",
    "addresses": [
        {
            "address": "192.0.2.1",
            "prefix": 24,
            "ranges": [{"start": "192.0.2.5", "end": "192.0.2.9"}],
            "leases": [{"mac": "52:54:00:00:00:02", "address": "192.0.2.7"}],
        }
    ],
    "dns_hosts": [{"address": "192.0.2.3", "names": ["a"]}],
}
IPV6: dict[str, Any] = {
    "name": "n",
    "addresses": [
        {"address": "fd00::1", "prefix": 64, "leases": [{"mac": "", "name": "a", "address": "fd00::7", "duid": DUID}]}
    ],
}
NFS = {"source_format": "nfs"}
NETWORKS = [
    NAT,
    IPV6,
    {"name": "n", "forward": "bridge", "bridge": "br0", "virtualport": "openvswitch"},
    {"name": "n", "forward": "passthrough", "devices": ["eth1"]},
]
PLAIN = (
    "plain",
    "/plain",
    "plain.example.org",
    "192.0.2.8",
    "192.0.2.11/24",
    "fd00::8",
    "52:54:00:00:00:01",
    "00:01:00:02",
    "sda",
    "eth7",
    "/dev/sdz",
    "openvswitch",
    "auto",
    "nfs",
    "ext4",
    KEY,
    UUID_OF_ANY,
    "#cloud-config\n",
    "SHA256:" + "a" * 43,
    "XS",
    "https://example.org/a.img",
    "a" * 64,
    "iqn.2026-01.org.example:a",
    "VK7JG-NPHTM-C97JM-9MPGT-3V66T",
)
"""For each place, one of these is taken: else nothing would be tried there."""


def bases(kind: str, alpha: FakeHost) -> list[dict[str, Any]]:
    """What else stands in the parameters; several where not all of it goes together."""
    pool, disc = alpha.pool.pk, alpha.volume(ISO.name).pk
    cards = [{"bridge": "br0", "filter": "", "mac": "52:54:00:00:00:01"}]
    machine = {"name": "m", "vcpus": 1, "memory_mib": 512, "disks": [{"pool": pool, "size": GIB}], "cards": cards}
    clone = {"name": "m", "disks": [{"target": "sda", "way": "leave"}]}
    found: dict[str, list[dict[str, Any]]] = {
        "domain.create": [machine, machine | {"setup": SETUP}],
        "domain.import": [
            {"name": "m", "volume": disc, "pool": pool, "cards": cards},
            {"name": "m", "source": 7, "machine": UUID_OF_ANY, "pool": pool},
        ],
        "domain.clone": [clone, clone | {"setup": SETUP}, clone | {"host": alpha.pool.host_id, "cards": cards}],
        "domain.export_ova": [{"pool": pool, "name": "m.ova"}],
        "domain.set_filter": [{"mac": "52:54:00:00:00:01", "filter": "f"}],
        "domain.insert": [{"drive": "sda", "volume": disc}],
        "host.add": [
            {"name": "h", "transport": "ssh", "hostname": "h", "user": "ann"},
            {"name": "h", "transport": "tls", "hostname": "h", "user": "ann", "password": "s3cret"},
        ],
        "host.look_elsewhere": [
            {"kind": "xen", "hostname": "h", "user": "ann"},
            {"kind": "esx", "hostname": "h", "user": "ann", "password": "s3cret"},
            {"kind": "vpx", "hostname": "h", "user": "ann", "password": "s3cret", "path": "a/b"},
        ],
        "host.trust": [{"fingerprints": ["SHA256:" + "a" * 43]}],
        "pool.create": [
            {"name": "p", "type": "dir", "target_path": "/p"},
            {"name": "p", "type": "netfs", "target_path": "/p", "source_host": "h", "source_path": "/e"} | NFS,
            {"name": "p", "type": "fs", "target_path": "/p", "source_devices": ["/dev/sdz"]},
            {"name": "p", "type": "logical", "source_name": "vg", "target_path": "/dev/vg"},
            {"name": "p", "type": "logical", "source_name": "plain", "target_path": "/dev/plain"},
            {
                "name": "p",
                "type": "rbd",
                "source_host": "h",
                "source_name": "r",
                "auth_user": "u",
                "auth_secret": UUID_OF_ANY,
            },
        ],
        "volume.create": [{"name": "v", "capacity": GIB}],
        "volume.upload": [{"name": "v", "size": 7}],
        "volume.fetch": [
            {"name": "v", "url": "https://example.org/a.img"},
            {"name": "v", "url": "https://example.org/a.img", "checksum": "a" * 64},
        ],
        "volume.clone": [{"name": "v"}],
        "volume.copy": [{"name": "v", "pool": pool}],
        "network.create": NETWORKS,
        "network.keep_address": [LEASE | {"name": "a"}, {"mac": "", "address": "fd00::7", "duid": DUID}],
        "secret.create": [
            {"usage": "ceph", "usage_id": "a", "value": "s3cret"},
            {"usage": "volume", "usage_id": "/a", "value": "s3cret"},
        ],
    }
    same = {"host.edit": "host.add", "network.edit": "network.create", "network.free_address": "network.keep_address"}
    return found.get(same.get(kind, kind), [{}])


def with_text(base: dict[str, Any], at: Path, text: str) -> dict[str, Any]:
    """The parameters with this text at this place; what leads there is made where it is not."""
    found = deepcopy(base)
    inner: Any = found
    for part, following in pairwise(at):
        empty: Any = [{}] if following == 0 else {}
        inner = inner[0] if isinstance(inner, list) else inner.setdefault(part, empty)
    if isinstance(inner, list):
        inner[0] = text
    else:
        inner[at[-1]] = text
    return found


# --- the strings

MARKUP = "<>&\"'/=![]?-;:%#`$(){}|\\*~ \t\n\r\0\x1b\x7f\u202e\u2028\ufeff\ufffe\U0001f600aA0.,_@+"
NASTY = (
    "x</name><source file='/etc/shadow'/><name>y",
    "x'/><source file='/etc/shadow'/><x y='",
    'x"/><emulator>/bin/sh</emulator><x y="',
    "]]><!-- --><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/shadow'>]>&a;",
    "&lt;disk/&gt; &#60;disk/&#62;",
    "<?xml version='1.0'?>",
    "h/system?command=/tmp/x&a=",
    "h?socket=/x",
    "-oProxyCommand=id",
    "test:///default",
    "$(touch /tmp/pwn)",
    "`id`|x;reboot #",
    "a' b \" c",
    "../../etc/shadow",
    'json:{"driver":"nbd"}',
    "a,b=c,readonly=off",
    "--config",
    "%s%n{}",
    "a" * 300,
)
HOSTILE = st.one_of(
    st.sampled_from(NASTY),
    st.builds("{}{}".format, st.sampled_from(PLAIN), st.sampled_from(NASTY)),
    st.text(st.sampled_from(MARKUP), max_size=24),
    st.text(max_size=12),
)


def twin(text: str) -> str:
    """A harmless text of the same make: nothing in it means anything to XML or to a shell's quoting."""
    return re.sub(r"""[<>&"'`$\\;|#*~\x00-\x1f\x7f]""", "x", text)


def outline(xml: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements and attributes, without what stands in them."""
    return [(str(element.tag), tuple(map(str, element.keys()))) for element in etree.fromstring(xml).iter()]


def values_in(xml: str) -> list[str]:
    """All that stands in them, each as the harmless text that it is like."""
    elements = etree.fromstring(xml).iter()
    return [twin(value) for element in elements for value in (element.text or "", *map(str, element.values()))]


@dataclass(frozen=True)
class Place:
    """A place for text in a verb's parameters, on a host that is there."""

    verb: Verb
    at: Path
    base: dict[str, Any]
    there: Host
    target: Subject

    def parsed(self, text: str) -> Any:
        """The parameters with this text, or None where it is refused."""
        try:
            return operations.parsed(self.verb.spec, with_text(self.base, self.at, text))
        except Invalid:
            return None

    def told(self, spec: Any) -> list[str] | None:
        """What libvirt would be told, or None where it is refused then."""
        try:
            return REACHES[self.verb.kind](self.there, spec) if self.verb.kind in REACHES else []
        except HypervisorError:
            return None

    def commands(self, spec: Any) -> list[str]:
        """The words of the commands that are shown, as a shell would split them."""
        told = self.verb.virsh(self.target, spec)
        # A command within one has quotes of its own, which a shell knows and shlex does not.
        return shlex.split(re.sub(r'"\$\(stat -c %s (.*)\)" --format raw', r"\1 --format raw", told))


def target_of(verb: Verb, alpha: FakeHost, there: Host) -> Subject:
    cast = alpha.cast
    targets: dict[str, Subject] = {
        "domain": cast.domain,
        "network": cast.network,
        "secret": cast.secret,
        "pool": alpha.pool,
        "volume": alpha.volume(ISO.name),
    }
    return targets.get(verb.on, there)


def place_of(kind: str, at: Path, alpha: FakeHost, there: Host) -> Place:
    target = target_of(BY_KIND[kind], alpha, there)
    for base in bases(kind, alpha):
        place = Place(BY_KIND[kind], at, base, there, target)
        if any((spec := place.parsed(text)) is not None and place.told(spec) is not None for text in PLAIN):
            return place
    raise AssertionError(f"{kind} takes no text of PLAIN at {at}: say there what it takes")


def harmless(place: Place, text: str) -> None:
    spec = place.parsed(text)
    told = None if spec is None else place.told(spec)
    if told is None:
        return
    for xml in told:
        etree.fromstring(xml)
    # What is blank counts as nothing in some places, which no other text is like.
    if twin(text) == text or not text.strip():
        return
    plain = place.parsed(twin(text))
    alike = None if plain is None else place.told(plain)
    assert alike is not None, f"{text!r} is taken, and {twin(text)!r} is not"
    assert [outline(xml) for xml in told] == [outline(xml) for xml in alike]
    assert [value for xml in told for value in values_in(xml)] == [value for xml in alike for value in values_in(xml)]
    if place.verb.kind not in SHOWN_ELSEWHERE:
        assert len(place.commands(spec)) == len(place.commands(plain))


def test_every_verb_that_takes_text_is_here() -> None:
    assert set(KINDS) == {*REACHES, *TOLD_PLAINLY}
    assert len(TEXTS) > 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_text_stays_a_text(alpha: FakeHost, host: Host, kind: str) -> None:
    many = STRINGS // (len(TEXTS) * BATCHES) + 1
    tried = 0
    for at in [at for known, at in TEXTS if known == kind]:
        place = place_of(kind, at, alpha, host)

        @settings(
            max_examples=BATCHES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(HOSTILE, min_size=many, max_size=many))
        def try_all(place: Place, texts: list[str]) -> None:
            nonlocal tried
            for text in texts:
                tried += 1
                harmless(place, text)

        partial(try_all, place)()
    assert tried >= STRINGS / len(TEXTS)
