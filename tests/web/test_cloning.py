"""The form of a clone, the plan beside it, and how templates show."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from django.utils import timezone
from lxml import html

from tests.fakes import MACHINES
from tests.people import Cast, make_host, make_network, make_pool, make_volume
from tests.web.conftest import Enter
from webvirt.models import Definition, DiskUse, Domain, Grant, Host, Operation, Role, Status
from webvirt.services import hidden

XML = """<domain type='kvm'><name>web-1</name><uuid>00000000-0000-4000-8000-000000000001</uuid>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/pools/images/web-1.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/elsewhere/x.img'/>
<target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/pools/images/a.iso'/><target dev='sda' bus='sata'/><readonly/></disk>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
</devices></domain>"""
RAW_DISK = "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
DISKS: list[dict[str, Any]] = [
    {"target": "vda", "device": "disk", "type": "file", "source": "/pools/images/web-1.qcow2", "readonly": False},
    {"target": "vdb", "device": "disk", "type": "file", "source": "/elsewhere/x.img", "readonly": False},
    {"target": "sda", "device": "cdrom", "type": "file", "source": "/pools/images/a.iso", "readonly": True},
]
WITHOUT_THE_SECOND = XML[: XML.index(RAW_DISK)] + XML[XML.index("<disk type='file' device='cdrom'>") :]
JSON = {"accept": "application/json"}


@pytest.fixture
def domain(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """The cast's machine with a disk in the pool, one elsewhere, and a disc; its owner owns the host as well."""
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)
    make_volume(cast.pool, "a.iso", format="iso")
    inactive = {
        "disks": DISKS,
        "interfaces": [{"mac": "52:54:00:00:00:01"}],
        "devices": [{"kind": "tpm", "description": ""}],
        "firmware": "efi",
        "handed": [{"kind": "pci", "address": "0000:01:00.0"}],
    }
    Definition.objects.create(domain=cast.domain, inactive=inactive, inactive_xml=XML, read_at=timezone.now())
    for disk in DISKS:
        DiskUse.objects.create(domain=cast.domain, slot=disk["target"], device=disk["device"], path=disk["source"])
    Grant.objects.create(user=cast.owner, role=Role.OWNER, host=cast.host)
    return cast.domain


def rows(page: str) -> dict[str, dict[str, str]]:
    """Of each disk what can become of it, what is proposed, and why."""
    found: dict[str, dict[str, str]] = {}
    parts: Any = html.fromstring(page).xpath("//div[@class='row-of chosen'][input[@name='target']]")
    for row in parts:
        (target,) = row.xpath("input/@value")
        found[target] = {
            "ways": " ".join(row.xpath("select[@name='way']/option/@value")),
            "chosen": " ".join(row.xpath("select[@name='way']/option[@selected]/@value")),
            "why": row.xpath("string(.//*[@class='form-hint'])"),
        }
    return found


def test_the_form_proposes_what_becomes_of_each_disk(domain: Domain, enter: Enter) -> None:
    page = enter("owner").get(f"/vms/{domain.pk}/clone/?name=web-2").content.decode()
    found = rows(page)
    assert {target: (one["ways"], one["chosen"]) for target, one in found.items()} == {
        "vda": ("copy leave", "copy"),
        "vdb": ("leave", "leave"),
        "sda": ("share leave", "share"),
    }
    assert "in no pool" in found["vdb"]["why"]
    assert 'value="web-2"' in page
    assert "data-plan-xml" in page
    Domain.objects.filter(pk=domain.pk).update(is_template=True)
    page = enter("owner").get(f"/vms/{domain.pk}/clone/").content.decode()
    assert rows(page)["vda"]["ways"] == "link copy leave"


def typed(**more: Any) -> dict[str, Any]:
    plain = {
        "name": "web-2",
        "title": "Shop",
        "target": ["vda", "vdb", "sda"],
        "way": ["copy", "leave", "share"],
        "pool": ["", "", ""],
    }
    return plain | more


def test_what_was_typed_becomes_the_wish(cast: Cast, domain: Domain, enter: Enter) -> None:
    more = {
        "pool": [str(cast.pool.pk), str(cast.pool.pk), ""],
        "with_setup": "on",
        "user": "ann",
        "password": "s3cret-1",
        "start": "on",
    }
    answer = enter("owner").post(f"/vms/{domain.pk}/clone/", typed(**more))
    assert answer.status_code == 302, answer.content.decode()
    assert Operation.objects.get().parameters == {
        "name": "web-2",
        "title": "Shop",
        "disks": [
            {"target": "vda", "way": "copy", "pool": cast.pool.pk},
            {"target": "vdb", "way": "leave"},
            {"target": "sda", "way": "share"},
        ],
        "setup": {
            "user": "ann",
            "ssh_keys": [],
            "hostname": "",
            "address": "",
            "gateway": "",
            "dns": [],
            "packages": [],
            "agent": False,
            "user_data": "",
            "edition": "",
            "product_key": "",
        },
        "password": "**********",
        "start": True,
    }


def test_one_form_makes_several(domain: Domain, enter: Enter) -> None:
    client = enter("owner")
    answer = client.post(f"/vms/{domain.pk}/clone/", typed(name="shop-{1..3}"))
    assert answer.headers["Location"] == "/operations/"
    assert {one.parameters["name"] for one in Operation.objects.all()} == {"shop-1", "shop-2", "shop-3"}
    fixed = typed(name="mail-{1..2}", with_setup="on", address="192.0.2.10/24")
    answer = client.post(f"/vms/{domain.pk}/clone/", fixed)
    assert (answer.status_code, "Several machines cannot have" in answer.content.decode()) == (400, True)


def test_the_plan_tells_what_is_made_and_what_may_surprise(domain: Domain, enter: Enter) -> None:
    plan = enter("owner").post(f"/vms/{domain.pk}/clone/", typed(plan="1"), headers=JSON).json()
    steps = dict(plan["steps"])
    assert steps["vda"].startswith("images/web-2.qcow2 · 20")
    assert steps["vda"].endswith("a copy of web-1.qcow2")
    assert (steps["sda"], steps["vdb"]) == (
        "a.iso, shared · it is only read",
        "left out · it is in no pool, so no copy can be made of it",
    )
    assert plan["virsh"].splitlines()[-1].endswith("define web-2.xml --validate")
    assert "vol-create-from images web-2.qcow2.xml web-1.qcow2" in plan["virsh"]
    assert "<name>web-2</name>" in plan["xml"]
    assert "/elsewhere/x.img" not in plan["xml"]
    said = " ".join(plan["warnings"])
    for word in (
        "Inside it is the same machine",
        "TPM begins empty",
        "variables begin anew",
        "same devices of the host",
    ):
        assert word in said, word


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a disk that both write to": ({"way": ["share", "leave", "share"]}, "way"),
    "a pool that is none": ({"pool": ["4711", "", ""]}, "pool"),
    "a name that is taken": ({"name": "db-1"}, "name"),
    "a key that is none": ({"with_setup": "on", "ssh_keys": "x"}, "ssh_keys"),
    "an address that is none": ({"with_setup": "on", "address": "x"}, "with_setup"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_at_its_field(domain: Domain, enter: Enter, wrong: str) -> None:
    more, field = WRONG[wrong]
    client = enter("owner")
    assert list(client.post(f"/vms/{domain.pk}/clone/", typed(plan="1", **more)).json()["fields"]) == [field]
    answer = client.post(f"/vms/{domain.pk}/clone/", typed(**more))
    assert answer.status_code == 400
    assert html.fromstring(answer.content.decode()).xpath(f"//*[@id='{field}-error']")
    assert 'value="Shop"' in answer.content.decode()


def test_a_running_machine_says_why_not(domain: Domain, enter: Enter) -> None:
    client = enter("owner")
    Domain.objects.filter(pk=domain.pk).update(status=Status.RUNNING)
    plan = client.post(f"/vms/{domain.pk}/clone/", typed(plan="1"), headers=JSON).json()
    assert "as after a power cut" in " ".join(plan["warnings"])
    assert "blockcopy web-1 vda --dest /pools/images/web-2.qcow2" in plan["virsh"]
    assert "is paused for a moment" not in " ".join(plan["warnings"])
    with_agent_and_two_disks(domain)
    plan = client.post(f"/vms/{domain.pk}/clone/", typed(plan="1", way=["copy", "copy", "share"]), headers=JSON).json()
    said = " ".join(plan["warnings"])
    assert "paused for a moment at the end of the copying, so that all disks are of one instant" in said
    assert "its agent has it write out what it holds" in said
    words = ("domfsfreeze", "suspend", "blockjob web-1 vdb --abort", "resume", "domfsthaw")
    assert [plan["virsh"].index(word) for word in words] == sorted(plan["virsh"].index(word) for word in words)
    Domain.objects.filter(pk=domain.pk).update(status=Status.SHUTTING_DOWN)
    answer = client.post(f"/vms/{domain.pk}/clone/", typed(), headers=JSON)
    assert (answer.status_code, "it runs and writes to its disks" in answer.json()["error"]) == (409, True)


def with_agent_and_two_disks(domain: Domain) -> None:
    """Both its disks are in the pool, and its agent is there."""
    make_volume(domain.host.pools.get(name="images"), "x.img", path="/elsewhere/x.img", format="raw")
    definition = Definition.objects.get(domain=domain)
    Definition.objects.filter(pk=definition.pk).update(live=definition.inactive | {"agent_connected": True})


# --- on another host


@pytest.fixture
def other(cast: Cast, domain: Domain) -> Host:
    """A second host where the machine's owner may make machines, with a pool and a network of its own."""
    info = {
        "cpu_model": "Zen 9",
        "machines": [asdict(replace(one, type="kvm", cpu_modes=("host-passthrough",))) for one in MACHINES],
    }
    found = make_host("omega", hostname="o", info=info)
    make_pool(found, "store", 9)
    make_network(found, "lan", 9)
    Grant.objects.create(user=cast.owner, role=Role.OWNER, host=found)
    definition = Definition.objects.get(domain=domain)
    plain = {"domain_type": "kvm", "machine": "q35", "cpu_mode": "host-passthrough", "handed": []}
    card = {"mac": "52:54:00:00:00:01", "type": "network", "source": "default"}
    Definition.objects.filter(pk=definition.pk).update(
        inactive=definition.inactive | plain | {"interfaces": [card], "disks": [DISKS[0], DISKS[2]]},
        inactive_xml=WITHOUT_THE_SECOND,
    )
    return found


def elsewhere(other: Host, **more: Any) -> dict[str, Any]:
    network = other.networks.get().pk
    plain = {"host": str(other.pk), "target": ["vda", "sda"], "way": ["copy", "leave"], "pool": ["", ""]}
    return typed(**plain | {"card": [f"network:{network}"]} | more)


def test_the_form_offers_the_hosts_with_what_they_lack(domain: Domain, other: Host, enter: Enter) -> None:
    client = enter("owner")
    page: Any = html.fromstring(client.get(f"/vms/{domain.pk}/clone/").content.decode())
    offered = {one.text: (one.get("value"), one.get("disabled")) for one in page.xpath("//select[@name='host']/option")}
    assert [name.partition(" · ")[0] for name in offered] == ["alpha", "omega"]
    assert set(offered.values()) == {("", None), (str(other.pk), None)}
    assert not page.xpath("//select[@name='card']")
    other.info["machines"] = [one | {"tpm": False} for one in other.info["machines"]]
    other.save()
    page = html.fromstring(client.get(f"/vms/{domain.pk}/clone/").content.decode())
    (lacking,) = page.xpath("//select[@name='host']/option[@disabled]")
    assert "omega has no TPM for machines" in lacking.text


def test_on_another_host_its_pools_and_networks_are_chosen(domain: Domain, other: Host, enter: Enter) -> None:
    page = enter("owner").get(f"/vms/{domain.pk}/clone/?host={other.pk}&name=web-9").content.decode()
    assert rows(page)["vda"]["ways"] == "copy leave"
    assert (rows(page)["sda"]["ways"], "omega has no such disc" in rows(page)["sda"]["why"]) == ("leave", True)
    found: Any = html.fromstring(page)
    assert found.xpath("//select[@name='pool'][not(@hidden)]/option/text()") == ["store"]
    assert found.xpath("//select[@name='card']/option/text()") == ["Choose one", "lan", "Leave it out"]
    # A network of its name is not there, so that somebody has to say.
    assert not found.xpath("//select[@name='card']/option[@selected]")
    assert 'value="web-9"' in page


def test_the_plan_tells_what_is_another_there(domain: Domain, other: Host, enter: Enter) -> None:
    client, address = enter("owner"), f"/vms/{domain.pk}/clone/"
    plan = client.post(address, elsewhere(other, plan="1"), headers=JSON).json()
    assert plan["fields"] == {}
    steps = dict(plan["steps"])
    assert steps["On"] == "omega"
    assert steps["vda"].endswith("a copy of web-1.qcow2, brought from alpha")
    assert steps["Network"] == "lan"
    said = " ".join(plan["warnings"])
    assert "pass from host to host by way of this server" in said
    assert "Zen 9 on omega instead of" in said
    assert '<source network="lan"/>' in plan["xml"]
    assert "vol-upload --sparse --pool store web-2.qcow2" in plan["virsh"]
    for card, field in (("", "card"), ("network:4711", "card")):
        assert list(client.post(address, elsewhere(other, plan="1", card=[card])).json()["fields"]) == [field]
    answer = client.post(address, elsewhere(other, card=["none"]))
    assert answer.status_code == 302, answer.content.decode()
    assert Operation.objects.get().parameters["cards"] == [None]


# --- templates


def test_a_machine_becomes_the_next_version_of_a_template(cast: Cast, domain: Domain, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.other.pk).update(is_template=True)
    client = enter("owner")
    page: Any = html.fromstring(client.get(f"/vms/{domain.pk}/to_template/").content.decode())
    assert page.xpath("//select[@name='succeeds']/option/text()") == ["a template of its own", "version 2 of db-1"]
    chosen = {"succeeds": str(cast.other.pk)}
    assert client.post(f"/vms/{domain.pk}/to_template/", chosen).status_code == 302
    assert Operation.objects.get().parameters == {"succeeds": cast.other.pk}


def test_older_versions_are_folded_below_the_newest(cast: Cast, domain: Domain, enter: Enter) -> None:
    for number, one in ((1, cast.other), (2, domain)):
        Domain.objects.filter(pk=one.pk).update(is_template=True, template_line="gold", template_version=number)
    DiskUse.objects.create(domain=cast.other, slot="vda", device="disk", path="/pools/images/base.qcow2")
    make_volume(cast.pool, "base.qcow2")
    make_volume(cast.pool, "layer.qcow2", backing_path="/pools/images/base.qcow2")
    client = enter("owner")
    page: Any = html.fromstring(client.get("/vms/?state=templates").content.decode())
    assert page.xpath("//tbody/tr[@class='older']//summary/text()") == ["1 older version"]
    assert page.xpath("//tbody/tr[@class='older']//a/text()") == ["db-1"]
    assert page.xpath("string(//tbody/tr[@class='older']//small)") == "v1 · 1 linked clone"
    assert page.xpath("//tbody/tr[starts-with(@id,'vm-')]/@id") == [f"vm-{domain.pk}"]
    shown = client.get(f"/vms/{cast.other.pk}/").content.decode()
    assert "Versions of gold" in shown
    assert "There is a newer version of this template" in client.get(f"/vms/{cast.other.pk}/clone/").content.decode()
    assert "There is a newer version" not in client.get(f"/vms/{domain.pk}/clone/").content.decode()
    # Who knows one of them learns nothing of the others.
    assert "db-1" not in enter("viewer").get("/vms/?state=templates").content.decode()
    assert "db-1" not in enter("viewer").get(f"/vms/{domain.pk}/").content.decode()


def test_only_who_may_make_machines_on_the_host_is_offered_it(cast: Cast, domain: Domain, enter: Enter) -> None:
    address = f"/vms/{domain.pk}/menu/"
    assert "clone" in {one["name"] for one in enter("owner").get(address).json()["offers"]}
    Grant.objects.filter(user=cast.owner, host=cast.host).delete()
    assert "clone" not in {one["name"] for one in enter("owner").get(address).json()["offers"]}
    assert enter("owner").get(f"/vms/{domain.pk}/clone/").status_code == 403


def test_a_template_shows_as_one_and_offers_what_fits_it(domain: Domain, enter: Enter) -> None:
    client = enter("owner")

    def offered() -> set[str]:
        return {one["name"] for one in client.get(f"/vms/{domain.pk}/menu/").json()["offers"]}

    assert {"start", "to_template"} <= offered()
    assert "from_template" not in offered()
    assert client.post(f"/vms/{domain.pk}/to_template/").status_code == 302
    assert Operation.objects.get().kind == "domain.to_template"
    Operation.objects.active().update(state="succeeded")
    Domain.objects.filter(pk=domain.pk).update(is_template=True)
    assert {"clone", "from_template", "edit"} <= offered()
    assert not {"start", "restore", "autostart", "to_template"} & offered()
    page = client.get(f"/vms/{domain.pk}/").content.decode()
    assert "Machines are made from it" in page
    assert f'action="/vms/{domain.pk}/start/"' not in page
    listed = client.get("/vms/?state=templates").content.decode()
    assert '<span class="badge">template</span>' in listed
    assert f'formaction="/vms/{domain.pk}/start/"' not in listed
    assert "db-1" not in listed


def test_a_machine_that_is_cloned_shows_it(domain: Domain, enter: Enter) -> None:
    client = enter("owner")
    client.post(f"/vms/{domain.pk}/clone/", typed())
    offers = {one["name"]: one for one in client.get(f"/vms/{domain.pk}/menu/").json()["offers"]}
    assert offers["start"]["reason"] == "busy: Clone, asked by owner"
    assert offers["clone"]["reason"] == ""
    assert "Clone…" in client.get(f"/vms/{domain.pk}/").content.decode()
