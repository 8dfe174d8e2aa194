"""Simplified Chinese is complete: every sentence is translated, and no page shows an English word by accident."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from allauth.mfa.totp.internal import auth as totp
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group
from django.core import signing
from django.test import Client
from django.utils import timezone, translation
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from tests.home import HOME
from tests.people import PASSWORD, Cast, make_filter, make_host, make_network, make_pool, make_secret, make_volume
from tests.seed import FAILURE, HOST_KEY, seed
from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.devices import GUESTS_OWN, IS_PORT, IS_WIRELESS, LOOPBACK
from webvirt.hypervisor.pool_rules import PARTS as PARTS_OF_POOLS
from webvirt.hypervisor.types import NetworkInfo, SecretUsage, Transport
from webvirt.models import (
    TRANSPORT_LABELS,
    ApiToken,
    CardUse,
    CloudImage,
    ConsoleMode,
    ConsoleSession,
    CustomRole,
    Definition,
    DeviceList,
    Domain,
    EndReason,
    Filter,
    Grant,
    Host,
    HostState,
    Network,
    NetworkStatus,
    Operation,
    OperationState,
    Origin,
    Pool,
    PoolStatus,
    Project,
    Role,
    Secret,
    Status,
    Theme,
    User,
    Volume,
)
from webvirt.realtime.console import language_of
from webvirt.services import factors, links, people
from webvirt.services.catalogue import BY_KIND, VERBS
from webvirt.services.operations import Invalid, parse_parameters
from webvirt.services.phrases import (
    CHECKS,
    ERRORS,
    FAILURES,
    FIELDS,
    FORBIDDEN,
    INTERFACES,
    PHRASES,
    POOL_PARTS,
    REASONS,
    TRIAL,
    said,
)
from webvirt.services.phrases_machines import APPLIANCES, SEEDS
from webvirt.services.phrases_names import NAMES
from webvirt.services.phrases_sources import DATASTORES
from webvirt.services.subjects import Subject, name_of
from webvirt.services.systems import systems
from webvirt.web.checks import LABELS
from webvirt.web.forms.filters import EXAMPLE
from webvirt.web.kinds import FORWARDS, POOL_TYPES, SECRET_USAGES
from webvirt.web.marks import FAMILIES

ROOT = Path(settings.BASE_DIR)
CATALOGUES = Path("webvirt/locale/zh_Hans/LC_MESSAGES")
DOMAINS = ("django", "djangojs")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HOLE = re.compile(r"%(?:\(\w+\))?[a-z]")
SAME = {
    "SSH",
    "TLS",
    "API",
    "TPM",
    "IOMMU",
    "CD/DVD",
    "NAT",
    "Ceph",
    "iSCSI",
    "libvirt",
    "libvirt %(version)s",
    "%(n)s vCPU",
}
"""What is the same in both languages."""


@dataclass
class Message:
    """One entry of a catalogue."""

    comments: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.texts.get("msgctxt", ""), self.texts["msgid"]

    @property
    def translations(self) -> list[str]:
        return [text for name, text in self.texts.items() if name.startswith("msgstr")]


def messages(domain: str, root: Path = ROOT) -> list[Message]:
    """A catalogue without its header."""
    found = []
    for block in (root / CATALOGUES / f"{domain}.po").read_text().strip().split("\n\n"):
        message, name = Message(), ""
        for line in block.splitlines():
            if line.startswith("#"):
                message.comments.append(line)
                continue
            word, _space, rest = line.rpartition(' "') if line.startswith('"') else line.partition(" ")
            name = name if line.startswith('"') else word
            text = ast.literal_eval(line if line.startswith('"') else rest)
            message.texts[name] = message.texts.get(name, "") + text
        found.append(message)
    return found[1:]


@pytest.fixture(autouse=True, scope="module")
def compiled() -> Iterator[None]:
    """What gettext reads, where it is older than its source."""
    for domain in DOMAINS:
        source = ROOT / CATALOGUES / f"{domain}.po"
        binary = source.with_suffix(".mo")
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["msgfmt", "--check-format", "-o", binary, source], check=True)
    yield
    translation.deactivate()


# --- the catalogues


def test_the_catalogues_hold_just_what_the_sources_say(tmp_path: Path) -> None:
    """Refreshing a copy changes nothing: nothing is missing, nothing is left over."""
    for name in ("manage.py", "deploy", "templates", "webvirt", "static/js"):
        source, copy = ROOT / name, tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.mo"))
        else:
            shutil.copy(source, copy)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [tmp_path / "deploy" / "messages"], env=os.environ | {"PATH": path, "WEBVIRT_HOME": str(HOME)}, check=True
    )
    for domain in DOMAINS:
        kept = {message.key for message in messages(domain)}
        wanted = {message.key for message in messages(domain, tmp_path)}
        assert (wanted - kept, kept - wanted) == (set(), set()), "run deploy/messages, then translate"
        text = (ROOT / CATALOGUES / f"{domain}.po").read_text()
        assert text == (tmp_path / CATALOGUES / f"{domain}.po").read_text(), "run deploy/messages"


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_message_is_translated(domain: str) -> None:
    for message in messages(domain):
        assert not any("fuzzy" in line or line.startswith("#~") for line in message.comments), message
        assert all(message.translations), message
        if message.key[1] not in SAME and re.search("[a-z]", HOLE.sub("", message.key[1])):
            assert all(CHINESE.search(text) for text in message.translations), message


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_translation_is_filled_with_the_same(domain: str) -> None:
    for message in messages(domain):
        wanted = sorted(HOLE.findall(message.texts.get("msgid_plural", message.key[1])))
        for text in message.translations:
            assert sorted(HOLE.findall(text)) == wanted, message


def test_the_extraction_finds_every_call_in_the_templates() -> None:
    """Django's extraction reads templates as text; this reads them as Jinja does, and finds nothing more."""
    known = {message.key[1] for message in messages("django")}
    for path in sorted((ROOT / "templates").rglob("*.html")):
        tree = Environment(autoescape=True).parse(path.read_text())
        for line, _function, found in extract_from_ast(tree, ("_", "pgettext")):
            texts = found if isinstance(found, tuple) else (found,)
            assert texts[-1] in known, f"{path.name}:{line}: {texts} is not extracted"


def test_the_scripts_translate_only_plain_strings() -> None:
    known = {message.key[1] for message in messages("djangojs")}
    for path in sorted((ROOT / "static" / "js").glob("*.js")):
        text = path.read_text()
        for call in re.finditer(r"(?<![\w.])n?gettext\(", text):
            plain = re.compile(r'"((?:[^"\\]|\\.)*)"').match(text, call.end())
            assert plain, f"{path.name}: {text[call.start() : call.start() + 60]}"
            assert plain[1] in known, f"{path.name}: {plain[1]}"


# --- words that are kept in English


def strings_of(tree: ast.AST) -> Iterator[str]:
    """Every string under a node, filled ones with `%s` in each hole; without docstrings and what is compared."""
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(node.value)
        elif isinstance(node, ast.Compare):
            left_out.update(ast.walk(node))
        elif isinstance(node, ast.JoinedStr):
            left_out.update(inner for part in node.values for inner in ast.walk(part))
    for node in ast.walk(tree):
        if node not in left_out and (text := string_of(node)):
            yield text


def string_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(string_of(part) if isinstance(part, ast.Constant) else "%s" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def findings(name: str) -> set[str]:
    """What a module of checks says to people: its sentences, and the arguments of its `Check`s."""
    tree = ast.parse((ROOT / "webvirt" / "hypervisor" / f"{name}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Check"]
    arguments = [each for call in calls for each in (*call.args[2:], *(keyword.value for keyword in call.keywords))]
    short = {text for argument in arguments for text in strings_of(argument)}
    return {text for text in short | set(strings_of(tree)) if is_sentence(text) or (text in short and is_word(text))}


def is_sentence(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]{2,}[,:.;]? [A-Za-z%(]", text)) and not is_command(text)


def is_word(text: str) -> bool:
    return bool(re.search(r"[a-z]{2,}", text)) and not is_command(text)


def is_command(text: str) -> bool:
    """Such as `apt install ovmf`: the same in every language."""
    return bool(re.fullmatch(r"(apt install|ssh-copy-id|systemctl start|virsh|virt-host-validate) [^,]*", text))


def raised(*paths: Path) -> set[str]:
    """The sentences of the exceptions that these modules raise."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                found.add(string_of(node.exc.args[0]))
    return {text for text in found if is_sentence(text)}


def holes_alike(phrases: Iterable[str]) -> set[str]:
    return {re.sub(r"%\(\w+\)s", "%s", phrase) for phrase in phrases}


def marked(path: Path) -> set[str]:
    """The phrases of a module that go through gettext."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {string_of(call.args[0]) for call in calls if ast.unparse(call.func) == "_"}


def filled_before_kept(*paths: Path) -> set[str]:
    """The phrases of `gettext_noop("...") % ...`."""
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    filled = [node.left for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Call)]
    return {string_of(call.args[0]) for call in filled if ast.unparse(call.func) == "gettext_noop"}


JOINED = {
    ", not open to us",
    "%s and %s more",
    "There: ",
    "%susermod -aG libvirt %s, then start its processes anew",
}
"""Phrases that the code puts together, or parts of such."""
PARTS = {" and %s more", "usermod -aG libvirt %s, then start its processes anew"}
WITHIN = {"a value is not what it says", "language", "locale", "keyboard", "time zone"}
"""What sentences about seeds are filled with."""


def test_the_phrases_are_those_of_the_code() -> None:
    cellar = ROOT / "webvirt" / "hypervisor"
    for name, phrases in (("checks", CHECKS), ("trial", TRIAL)):
        assert findings(name) - PARTS - JOINED == holes_alike(phrases) - JOINED
    states = ast.parse((cellar / "states.py").read_text())
    table = next(node for node in ast.walk(states) if isinstance(node, ast.Assign) and "REASONS" in ast.unparse(node))
    assert set(strings_of(table)) == set(REASONS)
    assert raised(*cellar.rglob("*.py")) == holes_alike(ERRORS)
    assert {GUESTS_OWN, IS_PORT, IS_WIRELESS, LOOPBACK} == set(INTERFACES)
    assert set(PARTS_OF_POOLS.values()) == set(POOL_PARTS)
    services = ROOT / "webvirt" / "services"
    reasons = marked(services / "uses.py") | marked(services / "templates.py")
    assert reasons - {"%(names)s and %(n)s more"} == set(FORBIDDEN)
    assert filled_before_kept(*services.rglob("*.py")) == set(FAILURES)
    assert raised(*(services / "catalogue").rglob("*.py")) <= holes_alike(FIELDS)
    of_files = [services / f"{name}.py" for name in ("ovf", "appliances", "vhdx", "vmdk", "runners/moving")]
    assert raised(*of_files) <= holes_alike(APPLIANCES)
    assert raised(services / "foreign.py") == holes_alike(DATASTORES)
    # Some are said by both floors.
    assert raised(*(services / "seeds").rglob("*.py")) - holes_alike(ERRORS) == holes_alike(SEEDS) - WITHIN


def test_what_operations_took_and_brought_has_names() -> None:
    schemas = [verb.spec.model_json_schema() for verb in VERBS]
    parts = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    assert {name for part in parts for name in part.get("properties", ())} <= set(NAMES)
    # What of a network waits for its next start is told by these.
    assert {field.name for field in fields(NetworkInfo)} - {"uuid", "unparsed"} <= set(NAMES)


def test_a_kept_sentence_is_said_in_the_readers_language() -> None:
    with translation.override("zh-hans"):
        assert said("port 16514: no answer within 3 s") == "端口 16514：3 秒内没有响应"
        assert said("There: usermod -aG libvirt ada, then start its processes anew") == (
            "在该主机上：usermod -aG libvirt ada，然后重新启动其进程"
        )
        assert said("The worker that ran this was lost.") == "执行此操作的工作进程已丢失。"
        assert said("A pool of type netfs needs this part: source format.") == "netfs 类型的存储池需要填写：来源格式。"
        assert said("Not a domain: the XML begins with <pool>.") == "不是 <domain> 定义：XML 以 <pool> 开头。"
        assert said("It cannot be done any more: it is a disk of a, b and 3 more.") == (
            "现已无法执行：它是以下虚拟机的磁盘：a, b 等，另有 3 个。"
        )
        assert said("It cannot be done any more: cards of a, b and 3 more go through it.") == (
            "现已无法执行：有虚拟机的网卡使用它：a, b 等，另有 3 个。"
        )
        assert said("It cannot be done any more: fast signs in with it.") == "现已无法执行：有存储池用它登录：fast。"
        assert said("The value that was entered is not kept any longer.") == "所输入的值已不再保留。"
        assert said("Not a filter: the XML begins with <pool>.") == "不是 <filter> 定义：XML 以 <pool> 开头。"
        assert said("The time zone must be one as Windows names it, such as W. Europe Standard Time.") == (
            "时区必须使用 Windows 中的写法，例如 W. Europe Standard Time。"
        )
        assert said("The user data is not YAML: it is nested more than 50 levels deep.") == (
            "用户数据不是有效的 YAML：嵌套超过 50 层。"
        )
        assert said("The user data is not YAML: did not find expected key in line 3.") == (
            "用户数据不是有效的 YAML：第 3 行：did not find expected key。"
        )
        assert said("It was made, but does not start: The machine is not running.") == (
            "已创建，但无法启动：虚拟机未运行。"
        )
        assert said(FAILURE) == FAILURE
        assert said("") == ""
    with translation.override("en"):
        for phrase in PHRASES:
            filled = phrase % dict.fromkeys(re.findall(r"%\((\w+)\)s", phrase), "7")
            assert said(filled) == filled


def labels() -> Iterator[object]:
    """What buttons, states and roles are called."""
    for verb in VERBS:
        yield verb.label
        yield verb.danger
    for choices in (
        Status,
        HostState,
        PoolStatus,
        NetworkStatus,
        OperationState,
        Origin,
        Role,
        Theme,
        ConsoleMode,
        EndReason,
    ):
        yield from (choice.label for choice in choices)
    for table in (TRANSPORT_LABELS, POOL_TYPES, FORWARDS, SECRET_USAGES):
        yield from table.values()
    yield from LABELS.values()


def test_every_label_is_translated() -> None:
    with translation.override("zh-hans"):
        left = [str(label) for label in labels() if label and not CHINESE.search(str(label))]
    assert set(left) <= SAME


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("domain.rename", {}),
        ("domain.rename", {"name": ""}),
        ("domain.rename", {"name": "x" * 101}),
        ("domain.rename", {"name": "a/b"}),
        ("domain.rename", {"name": "a\nb"}),
        ("domain.rename", {"name": "a\x01b"}),
        ("domain.rename", {"name": 7}),
        ("domain.rename", {"name": "a", "more": 1}),
        ("domain.edit", {"tags": ["a b"]}),
        ("domain.edit", {"tags": "a"}),
        ("domain.edit", {"tags": ["a"] * 51}),
        ("domain.autostart", {"enabled": "perhaps"}),
        ("domain.send_key", {"keys": []}),
        ("domain.send_key", {"keys": ["x"]}),
        ("domain.send_key", {"keys": [0]}),
        ("domain.send_key", {"keys": [9999]}),
        ("host.add", {"name": "a", "transport": "pigeon"}),
        ("host.add", {"name": "a", "transport": "ssh", "hostname": "-x"}),
        ("host.add", {"name": "a", "transport": "local", "port": 7}),
        ("host.add", {"name": "a", "transport": "ssh", "hostname": "a", "user": "A"}),
        ("host.add", {"name": "a", "transport": "ssh", "hostname": "a", "user": "a", "password": "b"}),
        ("host.add", {"name": "a", "transport": "tls", "hostname": "a", "password": "b"}),
        ("host.add", {"name": "a", "transport": "tls", "hostname": "a", "user": "a", "password": "\n"}),
        ("host.add", {"name": "a", "transport": "tcp", "hostname": "a"}),
        ("host.trust", {"fingerprints": []}),
        ("host.trust", {"fingerprints": ["MD5:x"]}),
        ("pool.create", {"name": "a", "type": "barn"}),
        ("pool.create", {"name": "a", "type": "dir"}),
        ("pool.create", {"name": "a", "type": "dir", "target_path": "/a", "source_host": "b"}),
        ("pool.create", {"name": "a", "type": "dir", "target_path": "/etc"}),
        ("pool.create", {"name": "a", "type": "iscsi", "source_host": "b", "target_path": "/dev"}),
        ("pool.create", {"name": "a", "type": "dir", "target_path": "/a", "source_port": 0}),
        ("volume.create", {"name": "-a"}),
        ("volume.create", {"name": "a", "capacity": 2**70}),
        ("volume.create", {"name": "a", "format": "vmdk"}),
        ("volume.upload", {"name": "a", "size": 7, "sha256": "x"}),
        ("volume.upload", {"name": "a", "size": "much"}),
        ("volume.fetch", {"url": "https://a.example/b", "checksum": "a" * 64, "checksum_url": "https://a.example/c"}),
        ("network.create", {"name": "a", "mtu": 7}),
        ("network.create", {"name": "a", "vlans": [0]}),
        ("network.create", {"name": "a", "forward": "bridge"}),
        ("network.create", {"name": "a", "inbound": 7}),
        ("network.create", {"name": "a", "inbound": {"peak": 7}}),
        ("network.create", {"name": "a", "addresses": [{"address": "a", "prefix": 24}]}),
        ("network.create", {"name": "a", "addresses": [{"address": "192.0.2.1", "prefix": 24, "ranges": [{}]}]}),
        ("network.create", {"name": "a", "dns_hosts": [{"address": "192.0.2.1", "names": []}]}),
        ("filter.create", {"xml": ""}),
        ("filter.create", {"xml": "x" * 65_537}),
        ("filter.create", {"xml": "<filter"}),
        ("filter.create", {"xml": "<pool/>"}),
        ("filter.create", {"xml": "<!DOCTYPE a><filter name='a'/>"}),
        ("filter.create", {"xml": "<filter/>"}),
        ("filter.edit", {"xml": "<filter name='a'/>\x01"}),
        ("filter.edit", {"xml": "<filter name='a'/>", "seen": "a\nb"}),
        ("domain.set_filter", {"mac": "x"}),
        ("domain.set_filter", {"mac": "52:54:00:00:00:07", "filter": "x" * 256}),
        ("domain.create", {}),
        ("domain.create", {"name": "a", "begins": "nothing"}),
        ("domain.create", {"name": "a", "begins": "disc"}),
        ("domain.create", {"name": "a", "begins": "kernel"}),
        ("domain.create", {"name": "a", "begins": "network"}),
        ("domain.create", {"name": "a", "begins": "image", "volume": 1}),
        ("domain.create", {"name": "a", "disks": [{"pool": 1}]}),
        ("domain.create", {"name": "a", "disks": [{"pool": 1, "size": 2**70}]}),
        ("domain.create", {"name": "a", "disks": [{"pool": 1, "size": 2**30, "format": "vmdk"}]}),
        ("domain.create", {"name": "a", "cards": [{}]}),
        ("domain.create", {"name": "a", "cards": [{"network": 1, "mac": "x"}]}),
        ("domain.create", {"name": "a", "vcpus": 0, "memory_mib": 1}),
        ("domain.create", {"name": "a", "password": "b"}),
        ("domain.create", {"name": "a", "setup": {"ssh_keys": ["x"]}}),
        ("domain.create", {"name": "a", "setup": {"ssh_keys": ["ssh-ed25519 x"]}}),
        ("domain.create", {"name": "a", "setup": {"user": "A", "user_data": "\x01"}}),
        ("domain.create", {"name": "a", "firmware": "steam", "cpu": "x", "tpm": "perhaps"}),
        ("domain.clone", {"name": "a", "password": "b"}),
        ("domain.clone", {"name": "a", "disks": [{"target": "vda", "way": "leave"}] * 2}),
        ("domain.clone", {"name": "a", "disks": [{"target": "../x", "way": "throw"}]}),
        ("domain.clone", {"name": "a", "cards": []}),
        ("secret.create", {"usage": "pigeon", "value": "a"}),
        ("secret.create", {"usage": "ceph", "value": "a"}),
        ("secret.create", {"usage": "none", "usage_id": "a", "value": "a"}),
        ("secret.create", {"usage": "volume", "usage_id": "a", "value": "a"}),
        ("secret.create", {"usage": "ceph", "usage_id": "a ", "value": "a"}),
        ("secret.create", {"usage": "ceph", "usage_id": "a", "value": "a", "ephemeral": "perhaps"}),
        ("secret.set_value", {"value": ""}),
        ("secret.set_value", {"value": "x" * 8193}),
        ("secret.set_value", {"value": "a", "base64": True}),
    ],
)
def test_what_is_wrong_with_a_field_is_said_in_the_readers_language(kind: str, given: dict[str, Any]) -> None:
    with translation.override("zh-hans"), pytest.raises(Invalid) as refused:
        parse_parameters(BY_KIND[kind], given)
    for text in refused.value.fields.values():
        assert CHINESE.search(text), text


# --- the pages

TERMS = """
    webvirt libvirt libvirtd virsh QEMU KVM Linux Redis Windows WEBVIRT_PUBLIC_URL SASL
    CPU vCPU VNC ID UUID IP IPv MAC SSH TLS TCP DNS DHCP DUID ARP XML API PCI Express UEFI EFI BIOS TPM IOMMU USB ISO
    UTC CD DVD VT AMD Vi SVM svm vmx Intel KiB MiB GiB TiB PiB SHA Base JavaScript
    NFS CIFS LVM LUKS SCSI iSCSI iqn Ceph RBD ZFS Gluster ext nfs gpt srv dev sdb fd qcow raw qemu img convert
    NAT MTU VLAN VEPA SR IOV VF macvtap Open vSwitch openvswitch
    Ctrl Alt AltGr Del Tab Esc Enter Backspace SysRq Shift Super Home End Ins Menu PgUp PgDn PrtSc Pause Break
    spice vdagent remote viewer
    osinfo db cloud init config SUMS Unix http https
    SATA IDE PXE YAML initrd OVMF ovmf edk swtpm tools virtio virt qemu
    English
    CSV OVA OVF WebSocket Upgrade Connection deploy proxy conf example env XS XL Alpine Arch rolling FreeBSD
"""
TECHNICAL = frozenset(TERMS.split())
"""Words that Chinese readers use as they are. `English` names a language in that language."""
VERBATIM = (
    FAILURE,
    "Cannot recv data: ssh: connect to host west.example.org port 22: No route to host",
    "cpu, cpuset, io, memory",
    "apt install ovmf",
    "modprobe kvm_intel",
    "kvm_amd",
    "intel_iommu=on",
    "systemctl start ssh",
    "tls/cacert.pem",
    "deploy/run",
    f"ED25519 {fingerprint(HOST_KEY)}",
    "ED25519",
    "/dev/kvm",
    "vm1.example.org",
    "ssh-ed25519 AAAA… me@laptop",
    "timezone: Europe/Berlin",
    "pc (i440fx)",
    "virtio-scsi",
    "host-model",
    "host-passthrough",
    "maximum",
    EXAMPLE.strip(),
)
"""libvirt's own sentences, commands and XML."""
SEARCH = re.compile(r"-?\b(tag|state|host):\w*")
"""How one searches, in any language."""
SHOWN = ("placeholder", "title", "aria-label", "alt", "data-verb", "data-danger", "data-bulk-verb")
UNREAD = ("script", "style", "code", "pre", "kbd", "svg")


def data_of(*models: Any) -> set[str]:
    """Every string of these rows: what people and hosts called things, which stays as it is."""
    found: set[str] = set()

    def gather(value: object) -> None:
        if isinstance(value, str):
            found.update((value, *value.splitlines()))
        elif isinstance(value, dict):
            for each in value.values():
                gather(each)
        elif isinstance(value, list | tuple):
            for each in value:
                gather(each)

    for row in models:
        gather(row)
    return {text.strip() for text in found if re.search("[A-Za-z]{2}", text)}


def data() -> list[str]:
    """The longest first, so that no part of a name is left over."""
    found = data_of(
        list(Host.objects.values_list("name", "hostname", "user", "info")),
        [one | {"why_not": ""} for host in Host.objects.all() for one in host.interfaces],
        list(Pool.objects.values_list("name", "info")),
        list(Volume.objects.values_list("name", "path", "format", "backing_path", "os_name", "sha256")),
        [family.letters for family in FAMILIES],
        [digest[:10] for digest in Volume.objects.values_list("sha256", flat=True)],
        [path.rpartition("/")[2] for path in Volume.objects.values_list("backing_path", flat=True)],
        list(CloudImage.objects.values_list("name", "os", "arch", "url", "checksum_url", "user")),
        list(Network.objects.values_list("name", "bridge", "info", "live", "leases")),
        list(CardUse.objects.values_list("mac", "source")),
        list(Filter.objects.values_list("name", "chain", "references", "xml")),
        list(Secret.objects.values_list("name", "usage_id", "description")),
        list(DeviceList.objects.values_list("devices", flat=True)),
        list(Domain.objects.values_list("name", "title", "description")),
        [tag for domain in Domain.objects.all() for tag in domain.tags],
        list(Definition.objects.values_list("inactive", "live", "addresses")),
        list(User.objects.values_list("username", "first_name")),
        list(Group.objects.values_list("name")),
        list(Project.objects.values_list("name", "description")),
        list(CustomRole.objects.values_list("name", "description", "kinds")),
        list(Operation.objects.values_list("actor", "target", "worker", "token_name", "virsh", "parameters")),
        list(ApiToken.objects.values_list("name", "digest")),
        [system.name for system in systems()],
        [transport.value for transport in Transport],
        VERBATIM,
    )
    return sorted(found, key=len, reverse=True)


def english(texts: Iterable[str], known: list[str]) -> set[str]:
    """The texts that hold an English word beyond data and technical terms."""
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in known), re.ASCII)
    left = set()
    for text in texts:
        rest = SEARCH.sub(" ", pattern.sub(" ", text))
        if set(re.findall(r"[A-Za-z_][A-Za-z_'’]+", rest)) - TECHNICAL:
            left.add(" ".join(text.split()))
    return left


def texts_of(page: str) -> Iterator[str]:
    """What a person can read or hear of a page."""
    for element in lxml.html.document_fromstring(page).iter(lxml.etree.Element):
        if any(parent.tag in UNREAD for parent in (element, *element.iterancestors())):
            continue
        yield from (element.get(name, "") for name in SHOWN if element.get(name))
        # A name cut in its middle has the whole in its title.
        cut = "…" in (element.text or "") and element.get("title")
        yield from (text for text in ((element.text or "") if not cut else "", element.tail or "") if text.strip())


def words_of_json(value: object) -> Iterator[str]:
    """The values of an answer that scripts show."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("label", "reason", "danger", "section", "hint", "error", "state_label", "phase", "remedy"):
                yield str(each or "")
            else:
                yield from words_of_json(each)
    elif isinstance(value, list):
        for each in value:
            yield from words_of_json(each)


@pytest.fixture
def place(cast: Cast) -> Cast:
    """A house with something on every page, whose people read Chinese."""
    User.objects.update(language="zh-hans")
    hosts = seed(4, 90, odd=True)
    Grant.objects.create(user=cast.owner, role=Role.OWNER, host=hosts[0])
    now = timezone.now()
    for reason in EndReason:
        ConsoleSession.objects.create(
            user=cast.owner,
            domain=cast.domain,
            mode=ConsoleMode.VIEW,
            address="192.0.2.31",
            login_key="x",
            opened_at=now - timedelta(minutes=5),
            leased_until=now,
            ended_at=now,
            end_reason=reason,
        )
    ApiToken.objects.create(user=cast.owner, name="night", digest="d" * 64, expires_at=now - timedelta(days=1))
    checks = [
        {"key": key, "verdict": "warn", "found": found, "follows": follows, "remedy": remedy}
        for key, found, follows, remedy in (
            ("kvm-module", "not loaded", "Emulation only.", "modprobe kvm_intel (or kvm_amd)"),
            ("nested", "switched off", "Guests cannot run guests with KVM.", ""),
            ("firmware", "BIOS only", "Guests that need UEFI, such as Windows 11, cannot run.", "apt install ovmf"),
        )
    ]
    trial = [
        {
            "key": "port",
            "verdict": "fail",
            "found": "port 22: no answer within 3 s",
            "remedy": "There: systemctl start ssh",
        }
    ]
    Host.objects.filter(pk=cast.host.pk).update(checks=checks, trial=trial)
    make_host(
        "omega",
        hostname="omega.example.org",
        transport=Transport.SSH,
        state=HostState.REFUSED,
        state_reason="the host does not accept our key",
        trial=trial,
    )
    Operation.objects.create(
        kind="domain.restore",
        state=OperationState.FAILED,
        queue="fast",
        actor="ada",
        origin=Origin.PAGE,
        subject=name_of(cast.domain),
        host=cast.host,
        domain=cast.domain,
        target=cast.domain.name,
        error="There is no saved memory any more.",
        remedy="Its state has changed meanwhile: look at it and try again.",
        result={"bytes": 7},
        finished_at=now,
    )
    furnish(cast)
    return cast


def furnish(cast: Cast) -> None:
    """Storage and networks of every kind for the cast's host, and what was done to them."""
    reasons = ("", *INTERFACES)
    Host.objects.filter(pk=cast.host.pk).update(
        interfaces=[
            {"name": f"eth{at}", "kind": "ethernet", "mac": "", "up": at > 0, "parent": "br0", "why_not": reason}
            for at, reason in enumerate(reasons)
        ]
    )
    for number, status in enumerate(PoolStatus, 2):
        make_pool(cast.host, f"pool-{status}", number, status=status, available=2**30, xml="<pool/>")
    for number, forward in enumerate(FORWARDS, 2):
        make_network(cast.host, f"net-{forward}", number, forward=forward, status=NetworkStatus.INACTIVE)
    make_volume(cast.pool, "alone.qcow2", read_at=None)
    make_volume(cast.pool, "top.qcow2", backing_path=cast.volume.path, encrypted=True)
    make_volume(cast.pool, "middle.qcow2", backing_path="/elsewhere/base.qcow2")
    CardUse.objects.create(domain=cast.domain, mac="52:54:00:00:00:07", type="network", source=cast.network.name)
    CardUse.objects.create(domain=cast.other, mac="52:54:00:00:00:08", type="network", source=cast.network.name)
    lease = {"mac": "52:54:00:00:00:07", "address": "192.168.122.7", "name": "git"}
    address = cast.network.info["addresses"][0] | {"leases": [lease]}
    more = {"port_isolated": True, "mtu": 1400, "vlans": [7], "virtualport": "openvswitch", "domain": "example.org"}
    taken = [
        {"mac": mac, "address": "192.168.122.7", "prefix": 24, "hostname": "", "expires_at": None}
        for mac in ("52:54:00:00:00:07", "52:54:00:00:00:08")
    ]
    Network.objects.filter(pk=cast.network.pk).update(
        info=cast.network.info | {"addresses": [address]} | more, live=cast.network.info | more, leases=taken
    )
    furnish_with_filters_and_secrets(cast)
    add_operations(cast)


def furnish_with_filters_and_secrets(cast: Cast) -> None:
    """A filter that is used in both ways, one that takes in what is not there, and secrets of each kind."""
    CardUse.objects.filter(domain=cast.domain).update(filter=cast.filter.name)
    make_filter(cast.host, "careful", 2, chain="ipv4", priority=-700, rules=3, references=[cast.filter.name, "gone"])
    make_filter(cast.host, "base", 3)
    make_filter(cast.host, "strict", 4, references=["base"])
    Pool.objects.filter(pk=cast.pool.pk).update(info=cast.pool.info | {"auth_secret": cast.secret.usage_id})
    for number, usage in enumerate(SecretUsage, 2):
        make_secret(cast.host, f"of-{usage}", number, usage=usage, private=False, ephemeral=True, description="night")
    needed = Secret.objects.get(host=cast.host, usage=SecretUsage.VOLUME)
    Definition.objects.create(domain=cast.other, inactive_xml=needed.uuid, read_at=timezone.now())


def add_operations(cast: Cast) -> None:
    """Operations on all of these: with all that they take, and with all that can go wrong."""
    record(cast, operations_on_storage_and_networks(cast))
    record(cast, operations_on_filters_and_secrets(cast))
    Volume.objects.filter(name="alone.qcow2").update(making=Operation.objects.filter(phase="copying").first())


Asked = tuple[str, Subject, str, dict[str, Any]]
"""The kind, the target and the state of an operation, and what else is known of it."""


def record(cast: Cast, asked: Iterable[Asked]) -> None:
    for kind, target, state, more in asked:
        Operation.objects.create(
            kind=kind,
            state=state,
            queue="slow",
            actor="ada",
            origin=Origin.PAGE,
            subject=name_of(target),
            host=cast.host,
            target=target.name,
            finished_at=None if state == OperationState.RUNNING else timezone.now(),
            **more,
        )


MACHINE = {
    "name": "night",
    "title": "night",
    "os": "debian12",
    "vcpus": 2,
    "memory_mib": 2048,
    "begins": "image",
    "volume": 1,
    "linked": True,
    "disks": [{"pool": 1, "size": 2**30, "format": "qcow2"}],
    "cards": [{"network": 1, "bridge": "", "mac": "52:54:00:00:00:07", "filter": "no-mail"}],
    "setup": {
        "user": "debian",
        "ssh_keys": ["ssh-ed25519 AAAA"],
        "address": "192.0.2.7/24",
        "gateway": "192.0.2.1",
        "dns": ["192.0.2.53"],
        "packages": ["nginx"],
        "agent": True,
        "user_data": "timezone: UTC",
    },
    "password": "**********",
    "firmware": "auto",
    "machine": "q35",
    "type": "qemu",
    "cpu": "maximum",
    "bus": "virtio",
    "tpm": False,
    "start": True,
    "autostart": False,
}
"""All that `domain.create` takes of an image."""
STAYS = "It stays as it is: mend what keeps it from starting, and start it from its page."


def operations_on_storage_and_networks(cast: Cast) -> Iterator[Asked]:
    limits = {"average": 1000, "peak": 2000, "burst": 4000}
    range_of = {"start": "192.168.100.2", "end": "192.168.100.254"}
    lease = {"mac": "52:54:00:12:34:56", "address": "192.168.100.7", "name": "git", "duid": ""}
    network = {
        "name": "lab",
        "forward": "nat",
        "mtu": 1400,
        "port_isolated": True,
        "addresses": [{"address": "192.168.100.1", "prefix": 24, "ranges": [range_of], "leases": [lease]}],
        "dns_hosts": [{"address": "192.168.100.7", "names": ["git"]}],
        "inbound": limits,
        "outbound": limits,
    }
    pool = {
        "name": "isos",
        "type": "netfs",
        "source_host": "nas",
        "source_path": "/srv",
        "source_format": "nfs",
        "target_path": "/isos",
        "build": True,
    }
    upload = {"name": "debian.iso", "size": 7, "sha256": "a" * 64}
    done, failed, running = OperationState.SUCCEEDED, OperationState.FAILED, OperationState.RUNNING
    yield "domain.create", cast.host, done, {"parameters": MACHINE, "result": {"domain": "night"}}
    for phase in ("making its disks", "copying the image", "making the disc with its settings", "defining", "starting"):
        yield "domain.create", cast.host, running, {"phase": phase, "exclusive": False}
    broken = {"error": "It was made, but does not start: The machine is not running.", "remedy": STAYS}
    yield "domain.create", cast.host, failed, broken
    yield "network.create", cast.host, done, {"parameters": network, "result": {"network": "lab"}}
    yield "network.edit", cast.network, done, {"result": {"waiting": "mtu, addresses, portgroups, inbound"}}
    yield "pool.create", cast.host, done, {"parameters": pool, "result": {"pool": "isos"}}
    yield "volume.upload", cast.pool, done, {"parameters": upload, "result": {"volume": "debian.iso", "bytes": 7}}
    sums = {"sha256": "a" * 64, "bytes": 7}
    yield "volume.checksum", cast.volume, done, {"result": sums, "exclusive": False}
    yield "volume.checksum", cast.volume, running, {"phase": "reading", "exclusive": False}
    for phase in ("building", "copying", "checking", "writing to the host"):
        yield "volume.upload", cast.pool, running, {"parameters": upload, "phase": phase, "exclusive": False}
    for error, remedy in REFUSED:
        yield "volume.upload", cast.pool, failed, {"error": error, "remedy": remedy}


def operations_on_filters_and_secrets(cast: Cast) -> Iterator[Asked]:
    value = {"value": "**********", "base64": True}
    secret = {"usage": "ceph", "usage_id": "client.night", "description": "night", "ephemeral": True} | value
    done, failed = OperationState.SUCCEEDED, OperationState.FAILED
    assigned = {"mac": "52:54:00:00:00:07", "filter": "no-mail"}
    yield "filter.create", cast.host, done, {"parameters": {"xml": EXAMPLE}, "result": {"filter": "no-outgoing-mail"}}
    yield "filter.edit", cast.filter, done, {"parameters": {"xml": EXAMPLE, "seen": "0123abcd"}}
    yield "domain.set_filter", cast.domain, done, {"parameters": assigned}
    yield "secret.create", cast.host, done, {"parameters": secret, "result": {"secret": "client.night"}}
    yield "secret.set_value", cast.secret, done, {"parameters": value}
    for kind, target, error in (
        ("filter.create", cast.host, "There is a filter of that name or uuid already: edit that one."),
        ("filter.edit", cast.filter, "A filter keeps its name and its uuid: make a new one to have others."),
        (
            "filter.edit",
            cast.filter,
            "The filter was changed or taken away meanwhile: look at it again, then change it.",
        ),
        ("filter.undefine", cast.filter, "It cannot be done any more: cards of web-1 go through it."),
        ("filter.undefine", cast.filter, "It cannot be done any more: these filters take it in: a, b and 3 more."),
        ("domain.set_filter", cast.domain, "The machine has no network card of that MAC address."),
        ("secret.undefine", cast.secret, "It cannot be done any more: images signs in with it."),
        ("secret.undefine", cast.secret, "It cannot be done any more: web-1 and 3 more needs it."),
        ("secret.undefine", cast.secret, "It is not there any more."),
    ):
        yield kind, target, failed, {"error": error}
    lost = "The value that was entered is not kept any longer."
    remedy = "Enter it again: it is kept for a short time only."
    yield "secret.set_value", cast.secret, failed, {"parameters": value, "error": lost, "remedy": remedy}


REFUSED = (
    ("It cannot be done any more: it is a disk of web-1 and 3 more.", ""),
    ("It cannot be done any more: there are 7 volumes in it: delete them first.", ""),
    ("There is a volume of this name already.", "Choose another name."),
    ("The volume that it is to be based on is not on this host (any more).", ""),
    ("The pool that the copy is to go to is not on this host (any more).", ""),
    (
        "A volume cannot be made smaller: the end of what it holds would be cut off.",
        "Make a smaller one and copy what it holds, inside a machine.",
    ),
    (
        "The pool has not enough room: 7.0 GiB are missing.",
        "Delete what is not needed, or choose another pool.",
    ),
    (
        f"The file is not what it should be: its SHA-256 is {'0' * 64}.",
        "Upload it again, or correct the checksum.",
    ),
    (
        "The image is based on another file, and that is refused in an upload.",
        "Make it stand alone (qemu-img convert), and upload that.",
    ),
    ("The image says that it is larger than any disk.", ""),
    (
        "Somebody wrote to it while it was read: the checksum would be of nothing that ever was.",
        "Try again when nobody writes to it.",
    ),
    ("Nothing more came for a day.", ""),
    ("The network was changed meanwhile: look at it again, then change it.", ""),
)
"""Errors of operations on storage and networks, each with its remedy."""


ROW_OF_NO_POOL = {"disk_pool": "0", "disk_size": "1", "disk_size_unit": "GiB", "disk_format": "qcow2"}
CREATIONS: tuple[dict[str, str], ...] = (
    {"name": "", "vcpus": "x", "memory": "y"},
    {"name": "web-{9..1}"},
    {"name": "web-{1..99}"},
    {"name": ".a", "memory_unit": "GiB", "begins": "empty"},
    {"memory_unit": "GiB", "begins": "disc"},
    {"memory_unit": "GiB", "begins": "network", "card": "bridge:nowhere", "tpm": "yes", "firmware": "secure"},
    {"memory_unit": "GiB", "begins": "kernel", "kernel": "0"} | ROW_OF_NO_POOL,
    {"memory_unit": "GiB", "begins": "empty", "machine": "pc", "firmware": "secure"},
    {"name": "a-{1..2}", "memory_unit": "GiB", "begins": "image", "with_setup": "on", "address": "192.0.2.7"},
)
"""What is typed of a new machine, each time with something wrong."""


WRONG_PLACES = (
    {"scope": "domain", "name": "nowhere"},
    {"scope": "domain", "name": ""},
    {"scope": "nowhere", "name": "nowhere"},
)
"""On what a role is given, wrongly."""


def full_project(place: Cast) -> int:
    """One with the machine in it."""
    project = Project.objects.create(name="nowhere")
    Domain.objects.filter(pk=place.domain.pk).update(project=project)
    return project.pk


def rights() -> Iterator[str]:
    yield from (f"/people/{page}/" for page in ("groups", "groups/add", "roles", "roles/add", "who"))
    yield from (
        "/people/groups/?q=nothing",
        "/people/who/?q=nothing",
        "/people/who/?q=s",
        "/projects/",
        "/projects/add/",
    )
    yield from (f"/people/groups/{pk}/" for pk in Group.objects.values_list("pk", flat=True))
    yield from (f"/people/roles/{pk}/" for pk in CustomRole.objects.values_list("pk", flat=True))
    for pk in Project.objects.values_list("pk", flat=True):
        yield from (f"/projects/{pk}/", f"/projects/{pk}/edit/", f"/people/who/?on=project:{pk}")
    for pk in Domain.objects.exclude(project=None).values_list("pk", flat=True)[:1]:
        yield from (f"/people/who/?on=domain:{pk}", f"/vms/{pk}/set_project/")
    yield from (f"/people/who/?person={pk}" for pk in User.objects.values_list("pk", flat=True))


def enter(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def addresses(place: Cast) -> list[str]:
    machines = [
        place.domain.pk,
        *Domain.objects.filter(name__in=("app-server", "mail-relay")).values_list("pk", flat=True),
    ]
    tabs = ("", "hardware/", "history/", "xml/", "console/", "console/window/")
    forms = ("edit/", "rename/", "set_filter/", "send_key/", "clone/")
    return [
        "/",
        "/vms/",
        "/vms/?q=nothing",
        "/vms/?state=trouble",
        "/vms/?state=templates",
        *(f"/vms/{machine}/{tab}" for machine in machines for tab in (*tabs, *forms)),
        "/hosts/",
        "/hosts/add/",
        *(
            f"/hosts/{host}/{tab}"
            for host in Host.objects.values_list("pk", flat=True)
            for tab in ("", "machines/", "storage/", "networks/", "devices/", "log/", "edit/")
        ),
        "/vms/create/",
        *(f"/hosts/{place.host.pk}/create-{kind}/" for kind in ("domain", "pool", "network", "filter", "secret")),
        *storage_and_networks(place),
        *filters_and_secrets(place),
        "/operations/",
        "/operations/?q=nothing",
        *(f"/operations/{pk}/" for pk in one_of_each_state()),
        *(f"/operations/{pk}/" for pk in Operation.objects.filter(domain=None).values_list("pk", flat=True)),
        "/people/",
        "/people/add/",
        f"/people/{place.owner.pk}/",
        f"/people/{place.stranger.pk}/",
        *rights(),
        "/me/",
        "/me/password/",
        "/logout/",
        "/nowhere/",
    ]


TABS_OF_POOLS = ("", "definition/", "log/", "create-volume/", "upload-volume/", "fetch-volume/")


def storage_and_networks(place: Cast) -> Iterator[str]:
    yield from (f"/{kind}/{query}" for kind in ("pools", "networks") for query in ("", "?q=nothing"))
    yield f"/pools/{place.pool.pk}/?q=nothing"
    yield from ("/images/", "/images/?q=nothing", "/images/cloud/", "/images/cloud/?q=nothing", "/images/cloud/add/")
    for image in CloudImage.objects.values_list("pk", flat=True)[:1]:
        yield from (f"/images/cloud/{image}/{tab}" for tab in ("", "get/"))
    pools = Pool.objects.filter(name__in=("pool-inactive", "pool-missing", "isos")).values_list("pk", flat=True)
    for pool in (place.pool.pk, *pools):
        yield from (f"/pools/{pool}/{tab}" for tab in TABS_OF_POOLS)
    for volume in place.pool.volumes.values_list("pk", flat=True):
        yield from (f"/volumes/{volume}/{tab}" for tab in ("", "resize/", "clone/"))
    tabs = ("", "definition/", "log/", "edit/", "keep_address/")
    yield from (f"/networks/{place.network.pk}/{tab}" for tab in tabs)
    yield from (f"/networks/{pk}/" for pk in Network.objects.filter(host=place.host).values_list("pk", flat=True))


def filters_and_secrets(place: Cast) -> Iterator[str]:
    for found in Filter.objects.filter(host=place.host).values_list("pk", flat=True):
        yield from (f"/filters/{found}/{tab}" for tab in ("", "edit/"))
    for secret in Secret.objects.filter(host=place.host).values_list("pk", flat=True):
        yield from (f"/secrets/{secret}/{tab}" for tab in ("", "set_value/"))


def one_of_each_state() -> Iterator[int]:
    for state in OperationState.values:
        yield from Operation.objects.filter(state=state).values_list("pk", flat=True)[:1]


@pytest.mark.parametrize("who", ["administrator", "owner", "viewer", "stranger"])
def test_no_page_shows_english(place: Cast, who: str) -> None:
    client, known = enter(place.who(who)), data()
    left: dict[str, set[str]] = {}
    seen: set[str] = set()
    for address in addresses(place):
        answer = client.get(address, follow=True)
        assert answer.status_code in (200, 403, 404), address
        texts = set(texts_of(answer.content.decode())) - seen
        seen |= texts
        if found := english(texts, known):
            left[address] = found
    assert left == {}
    assert CHINESE.search("".join(seen))


def test_no_answer_to_a_form_shows_english(place: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client, known = enter(place.administrator), data()
    machine, pool, network = f"/vms/{place.domain.pk}/", f"/pools/{place.pool.pk}/", f"/networks/{place.network.pk}/"
    answers = [
        *(client.post(f"{pool}{verb}/", follow=True) for verb in ("stop", "delete", "upload-volume", "refresh")),
        *(client.post(f"/volumes/{place.volume.pk}/{verb}/", follow=True) for verb in ("wipe", "resize", "clone")),
        *(client.post(f"{network}{verb}/", follow=True) for verb in ("stop", "undefine", "start", "edit")),
        client.post(f"{pool}create-volume/", {"name": "/", "capacity": "x", "format": "vmdk", "backing": "y"}),
        client.post(f"/hosts/{place.host.pk}/create-pool/", {"name": "a", "type": "dir"}),
        *(
            client.post(
                f"/hosts/{place.host.pk}/create-domain/",
                {"name": "a", "begins": "empty", "vcpus": "2", "memory": "2"} | more,
                follow=True,
            )
            for more in CREATIONS
        ),
        client.post(f"/hosts/{place.host.pk}/create-network/", {"name": "a", "ipv4_address": "b", "vlans": "c"}),
        client.post(f"{machine}destroy/"),
        client.post(f"{machine}suspend/", follow=True),
        client.post(f"{machine}start/", follow=True),
        client.post(f"{machine}start/", follow=True),
        client.post(f"{machine}rename/", {"name": "/"}),
        client.post(f"{machine}edit/", {"tags": "a/b"}),
        client.post(f"{machine}clone/", {"name": "/", "target": "vdz", "way": "copy", "pool": ""}),
        client.post(f"{machine}clone/", {"name": "a", "target": "vdz", "way": "copy", "pool": ""}),
        client.post("/images/cloud/add/", {"os": "A b", "arch": "", "url": "ftp://a", "user": "A", "position": "x"}),
        client.post("/hosts/add/", {"name": "", "transport": "ssh", "hostname": "-", "port": "x"}),
        client.post("/vms/bulk/", {"verb": "start", "ids": [place.domain.pk, place.other.pk]}),
        client.post("/vms/bulk/", {"verb": "destroy", "ids": [place.domain.pk, place.other.pk]}),
        client.post("/pools/bulk/", {"verb": "stop", "ids": [place.pool.pk]}),
        client.post("/volumes/bulk/", {"verb": "delete", "ids": list(Volume.objects.values_list("pk", flat=True)[:3])}),
        client.post("/volumes/bulk/", {"verb": "wipe", "ids": []}),
        client.post("/networks/bulk/", {"verb": "start", "ids": [place.network.pk]}),
        client.post("/people/add/", {"name": "ad a", "password": "short"}),
        client.post(f"/people/{place.viewer.pk}/grants/", {"role": "king"}),
        *(client.post(f"/people/{place.viewer.pk}/grants/", {"role": "viewer"} | on) for on in WRONG_PLACES),
        client.post("/people/groups/add/", {"name": ""}),
        client.post("/people/groups/add/", {"name": "nowhere"}, follow=True),
        client.post("/people/roles/add/", {"name": "", "kinds": ["nowhere"]}),
        client.post("/people/roles/add/", {"name": "nowhere", "kinds": ["domain.start"]}, follow=True),
        client.post("/people/who/give/", {"on": f"host:{place.host.pk}", "kind": "group", "who": "king", "role": "1"}),
        client.post("/projects/add/", {"name": ""}),
        client.post(f"/projects/{full_project(place)}/close/", follow=True),
        client.post(f"{machine}set_project/", {"project": "0"}),
        client.post(f"/people/{place.administrator.pk}/active/", follow=True),
        client.post("/me/tokens/", {"token": "", "days": "0"}),
        client.post("/me/tokens/", {"token": "night", "days": "30"}),
        enter(place.viewer).post(f"{machine}start/"),
    ]
    monkeypatch.setattr("webvirt.web.domains.filtered", lambda *_given: 1 / 0)
    client.raise_request_exception = False
    answers.append(client.get("/vms/"))
    texts = {text for answer in answers for text in texts_of(answer.content.decode())}
    assert english(texts, [*known, "ad a", "nowhere", "king", "a/b"]) == set()


def test_no_answer_to_a_form_of_filters_and_secrets_shows_english(place: Cast) -> None:
    client, known = enter(place.administrator), data()
    of_host = f"/hosts/{place.host.pk}/"
    filters = {row.name: f"/filters/{row.pk}/" for row in Filter.objects.filter(host=place.host)}
    secrets = {row.name: f"/secrets/{row.pk}/" for row in Secret.objects.filter(host=place.host)}
    # Each is asked for with and without its name typed: the question, and why it cannot be.
    gone = [(f"{at}undefine/", name) for name, at in (filters | secrets).items()]
    own = filters[place.filter.name]
    forms: list[tuple[str, dict[str, str]]] = [
        *((address, {}) for address, _name in gone),
        *((address, {"confirm": name, "sure": "1"}) for address, name in gone),
        *((f"{own}edit/", {"xml": xml}) for xml in ("", "<pool/>", "<filter/>")),
        *((f"{of_host}create-filter/", {"xml": xml}) for xml in ("", "<pool/>", "<filter/>", EXAMPLE)),
        (f"{of_host}create-secret/", {"usage": "pigeon", "value": ""}),
        (f"{of_host}create-secret/", {"usage": "ceph", "value": "a"}),
        (f"{of_host}create-secret/", {"usage": "volume", "usage_id": "nowhere", "value": "a"}),
        *((f"{secrets['of-none']}set_value/", {"value": value, "base64": "on"}) for value in ("", "a", "YWRh")),
        (f"/vms/{place.domain.pk}/set_filter/", {"mac": "x", "filter": "nowhere"}),
        (f"/vms/{place.domain.pk}/set_filter/", {"mac": "52:54:00:00:00:07", "filter": ""}),
    ]
    answers = [client.post(address, form, follow=True) for address, form in forms]
    texts = {text for answer in answers for text in texts_of(answer.content.decode())}
    assert english(texts, [*known, *SecretUsage, "pool", "filter", "pigeon", "nowhere"]) == set()


def test_nobody_who_is_signed_out_reads_english(place: Cast) -> None:
    client = Client(headers={"accept-language": "zh-CN,zh;q=0.9"})
    answers = [
        client.get("/login/"),
        client.post("/login/", {"login": "ada", "password": "wrong"}),
        client.post("/login/", {"login": "", "password": ""}),
        client.get("/nowhere/"),
    ]
    Grant.objects.filter(role=Role.ADMINISTRATOR).delete()
    address = f"/setup/{signing.dumps('x', salt=people.SETUP_SALT)}/"
    answers += [client.get(address), client.post(address, {"name": "ada", "password": "a", "again": "b"})]
    answers.append(client.post(address, {"name": "ada", "password": "a", "again": "a"}))
    texts = {text for answer in answers for text in texts_of(answer.content.decode())}
    assert english(texts, [*data(), "ada"]) == set()


def test_no_page_of_signing_in_shows_english(place: Cast, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "everybody"
    settings.WEBVIRT_SMTP = "smtp://127.0.0.1:1"
    administrator, client = enter(place.administrator), Client(headers={"accept-language": "zh-CN,zh;q=0.9"})
    person = f"/people/{place.owner.pk}/"
    answers = [administrator.post("/people/add/", {"name": "grace", "password": ""}, follow=True)]
    answers += [administrator.post(f"{person}link/", {"email": email}) for email in ("", "no mail")]
    answers += list(signing_in(client, place.owner))
    answers += list(changing_how(client, place.owner))
    for verb in ("link/withdraw/", "factors/forget/", "sessions/end/", "active/", "link/"):
        answers.append(administrator.post(person + verb, follow=True))
    known = [*data(), "grace", "owner", "no mail", "Aegis", "FreeOTP", PASSWORD]
    texts = {text for answer in answers for text in texts_of(answer.content.decode())}
    assert english(texts, known) == set()


def signing_in(client: Client, user: User) -> Iterator[Any]:
    """By a link, with an app that has to be set up first; then by the password and a code."""
    address = f"/link/{links.make(user)}/"
    yield from (client.get("/link/x/"), client.get(address), client.post(address, {"password": "a", "again": "b"}))
    yield client.post(address, {"password": "a", "again": "a"})
    yield client.post(address, {"password": PASSWORD, "again": PASSWORD}, follow=True)
    yield client.post("/login/enrolment/", {"code": "x"})
    yield client.post("/login/enrolment/", {"credential": "x"})
    yield client.post("/login/enrolment/", {"code": now_code(client)})
    yield from (client.get("/login/enrolment/"), client.post("/login/enrolment/", follow=True))
    client.post("/logout/")
    yield client.post("/login/", {"login": user.get_username(), "password": PASSWORD}, follow=True)
    yield from (client.post("/login/code/", {"code": "x"}), client.post("/login/code/", {"credential": "x"}))
    yield client.post("/login/passkey/", {"credential": "{}"}, follow=True)
    factors.forget(user)
    client.post("/logout/")
    client.post("/login/", {"login": user.get_username(), "password": PASSWORD})
    client.post("/login/enrolment/", {"code": now_code(client)})
    client.post("/login/enrolment/")


def now_code(client: Client) -> str:
    """What an app would show that has scanned the page's code."""
    client.get("/login/enrolment/")
    secret = client.session[totp.SECRET_SESSION_KEY]
    return str(totp.format_hotp_value(totp.hotp_value(secret, next(iter(totp.yield_hotp_counters_from_time())) + 1)))


def changing_how(client: Client, user: User) -> Iterator[Any]:
    yield from (client.get(path) for path in ("/me/", "/me/factors/", "/me/factors/add/", "/me/confirm/"))
    yield client.post("/me/confirm/", {"password": "x"})
    row = factors.held_by(user).app
    assert row
    yield client.post(f"/me/factors/{row.pk}/remove/", follow=True)
    yield client.post("/me/factors/codes/")
    yield client.post("/me/sessions/end/", follow=True)
    for _ in range(20):
        answer = client.post("/me/confirm/", {"password": "x"})
    yield answer


def test_no_answer_to_a_script_shows_english(place: Cast) -> None:
    client, known = enter(place.administrator), data()
    asked = {"accept": "application/json"}
    paths = [f"/vms/{pk}/menu/" for pk in Domain.objects.values_list("pk", flat=True)[:30]]
    paths += [
        "/palette/",
        "/palette/?q=web",
        f"/palette/?on=domain:{place.domain.pk}",
        f"/palette/?on=host:{place.host.pk}",
        *(f"/palette/?on=pool:{pk}" for pk in Pool.objects.values_list("pk", flat=True)[:10]),
        f"/palette/?on=volume:{place.volume.pk}",
        f"/palette/?on=network:{place.network.pk}",
        "/palette/?q=no-mail",
        "/palette/?q=client",
        *(f"/palette/?on=filter:{pk}" for pk in Filter.objects.filter(host=place.host).values_list("pk", flat=True)),
        *(f"/palette/?on=secret:{pk}" for pk in Secret.objects.filter(host=place.host).values_list("pk", flat=True)),
    ]
    paths += [f"/operations/{pk}/" for pk in one_of_each_state()]
    texts = {text for path in paths for text in words_of_json(client.get(path, headers=asked).json())}
    assert english(texts, known) == set()


def test_the_consoles_socket_speaks_the_readers_language() -> None:
    chinese = [(b"accept-language", b"zh-CN,zh;q=0.9")]
    assert language_of(User(), chinese) == language_of(AnonymousUser(), chinese) == "zh-hans"
    assert language_of(User(language="en"), chinese) == "en"
    assert language_of(User(), []) == "en"


def test_the_crawler_would_see_english() -> None:
    page = (
        '<html><body><p title="Hold down">运行中 CPU 12 GiB</p><p>Try again</p><code>virsh start</code></body></html>'
    )
    assert english(texts_of(page), ["web-1"]) == {"Hold down", "Try again"}
    assert english(words_of_json({"offers": [{"label": "Start", "name": "start"}]}), ["web-1"]) == {"Start"}
