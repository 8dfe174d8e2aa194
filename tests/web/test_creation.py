"""The pages on which machines are made and deleted: what they offer, what they foresee, and what becomes of a form."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from tests.fakes import MACHINES
from tests.people import Cast, make_domain, make_host, make_network, make_pool, make_volume
from tests.web.conftest import Enter
from webvirt.models import (
    CloudImage,
    Definition,
    DiskUse,
    Domain,
    Flavour,
    Grant,
    Host,
    Operation,
    Role,
    Status,
    User,
    Volume,
)
from webvirt.services import operations
from webvirt.web.words import size

GIB = 2**30
JSON = {"accept": "application/json"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1e7sXJqkJtmUHqrgXKBPvTCHVJ1NOX7gWbFw1ygKq4 ann@laptop"


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


@pytest.fixture
def host(cast: Cast) -> Host:
    """The cast's host as it tells of itself, with a disc."""
    info = {"cpus": 4, "memory_kib": 8 * 2**20, "arch": "x86_64", "machines": [asdict(one) for one in MACHINES]}
    Host.objects.filter(pk=cast.host.pk).update(info=info, memory_used_kib=2**20)
    make_volume(cast.pool, "debian.iso", format="iso", os="debian12", os_name="Debian 12")
    return Host.objects.get(pk=cast.host.pk)


def filled(cast: Cast, **more: Any) -> dict[str, Any]:
    disc = Volume.objects.get(name="debian.iso")
    return {
        "name": "new",
        "begins": "disc",
        "volume_disc": str(disc.pk),
        "vcpus": "2",
        "memory": "1.5",
        "memory_unit": "GiB",
        "disk_pool": [str(cast.pool.pk), ""],
        "disk_size": ["10", "20"],
        "disk_size_unit": ["GiB", "GiB"],
        "disk_format": ["qcow2", "raw"],
        "card": [f"network:{cast.network.pk}", "bridge:br0", ""],
        "start": "on",
    } | more


def address(host: Host) -> str:
    return f"/hosts/{host.pk}/create-domain/"


def test_the_form_offers_what_is_on_the_host(cast: Cast, host: Host, enter: Enter) -> None:
    far = make_pool(make_host("omega", hostname="o"), "far", 9)
    make_volume(far, "far.iso", format="iso")
    text = enter("administrator").get(address(host)).content.decode()
    assert "debian.iso" in text
    assert "far.iso" not in text
    assert f'value="network:{cast.network.pk}"' in text
    assert 'data-os="debian12" data-os-name="Debian 12"' in text
    # The volume that a machine has as its disk is no free one.
    assert 'name="volume_volume"' in text


def test_an_image_leads_to_its_form(cast: Cast, host: Host, enter: Enter) -> None:
    disc = Volume.objects.get(name="debian.iso")
    link = f"{address(host)}?begins=disc&amp;volume_disc={disc.pk}&amp;os=debian12"
    assert f'href="{link}"' in enter("administrator").get(f"/volumes/{disc.pk}/").content.decode()
    text = enter("administrator").get(link.replace("&amp;", "&")).content.decode()
    assert re.search(rf'<option value="{disc.pk}"[^>]* selected', text)
    Grant.objects.create(user=cast.viewer, host=cast.host, role=Role.VIEWER)
    assert "create-domain" not in enter("viewer").get(f"/volumes/{disc.pk}/").content.decode()


def test_a_disk_that_a_machine_has_leads_nowhere(cast: Cast, host: Host, enter: Enter) -> None:
    DiskUse.objects.create(domain=cast.domain, slot="vda", path=cast.volume.path)
    assert "create-domain" not in enter("administrator").get(f"/volumes/{cast.volume.pk}/").content.decode()


def test_the_plan_says_what_is_made(cast: Cast, host: Host, enter: Enter) -> None:
    answer = enter("administrator").post(address(host), filled(cast, plan="1"), headers=JSON).json()
    assert answer["fields"] == {}
    steps = dict(answer["steps"])
    assert steps["Disk"] == f"images/new.qcow2 · {size(10 * GIB)} · new"
    assert steps["Processors"] == "2, up to 4 while it runs"
    assert "<name>new</name>" in answer["xml"]
    assert "uuid" not in answer["xml"]
    assert "vol-create-as images new.qcow2 10737418240 --format qcow2" in answer["virsh"]
    assert any("no KVM" in text for text in answer["warnings"])


def test_the_plan_warns_before_it_is_too_late(cast: Cast, host: Host, enter: Enter) -> None:
    more = {"memory": "7.5", "disk_size": ["100", "20"], "os": "win11", "plan": "1"}
    answer = enter("administrator").post(address(host), filled(cast, **more), headers=JSON).json()
    words = " ".join(answer["warnings"])
    assert "Less memory is free on this host" in words
    assert "The pool images has less room" in words


def test_what_was_asked_for_is_what_was_filled_in(cast: Cast, host: Host, enter: Enter) -> None:
    assert enter("administrator").post(address(host), filled(cast)).headers["Location"] == "/vms/"
    asked = Operation.objects.get().parameters
    assert asked["disks"] == [{"pool": cast.pool.pk, "size": 10 * GIB, "format": "qcow2"}]
    assert [card.get("network", card["bridge"]) for card in asked["cards"]] == [cast.network.pk, "br0"]
    assert (asked["memory_mib"], asked["start"], asked["autostart"], "setup" in asked) == (1536, True, False, False)


def test_a_name_with_numbers_makes_many(cast: Cast, host: Host, enter: Enter) -> None:
    answer = enter("administrator").post(address(host), filled(cast, name="n-{08..10}"))
    assert answer.headers["Location"] == "/vms/"
    assert [one.parameters["name"] for one in Operation.objects.order_by("pk")] == ["n-08", "n-09", "n-10"]
    make_domain(host, "n-11", 9)
    answer = enter("administrator").post(address(host), filled(cast, name="n-{11..12}"))
    assert (answer.status_code, Operation.objects.count()) == (400, 3)
    backwards = enter("administrator").post(address(host), filled(cast, name="n-{2..1}"))
    assert "runs backwards" in backwards.content.decode()


def test_what_is_wrong_stands_by_its_field_and_nothing_is_lost(cast: Cast, host: Host, enter: Enter) -> None:
    make_domain(host, "new", 9)
    more = {"disk_pool": [str(cast.pool.pk), str(cast.pool.pk)], "card": ["network:4711"], "arguments": "x"}
    answer = enter("administrator").post(address(host), filled(cast, **more))
    text = answer.content.decode()
    assert answer.status_code == 400
    assert 'id="name-error">There is a machine of this name' in text
    assert 'id="card-error">This network is not on this host.' in text
    rows = text.partition("<template>")[0]
    assert re.findall(r'name="disk_size" value="(\d+)"', rows) == ["10", "20"]


def test_a_form_that_lacks_columns_is_answered_all_the_same(cast: Cast, host: Host, enter: Enter) -> None:
    answer = enter("administrator").post(address(host), {"name": "new", "disk_pool": ["1", "2"]})
    assert answer.status_code == 400


def test_settings_come_with_an_image_and_the_keys_of_the_profile(cast: Cast, host: Host, enter: Enter) -> None:
    User.objects.filter(pk=cast.administrator.pk).update(ssh_keys=KEY)
    assert KEY in enter("administrator").get(address(host)).content.decode()
    make_volume(cast.pool, "cloud.qcow2")
    image = Volume.objects.get(name="cloud.qcow2")
    more = {
        "begins": "image",
        "volume_image": str(image.pk),
        "with_setup": "on",
        "user": "ann",
        "ssh_keys": f"{KEY}\n\n",
        "dns": "192.0.2.1, 192.0.2.2",
        "disk_size": ["", "20"],
        "linked": "on",
    }
    assert enter("administrator").post(address(host), filled(cast, **more)).status_code == 302
    asked = Operation.objects.get().parameters
    assert asked["setup"]["ssh_keys"] == [KEY]
    assert asked["setup"]["dns"] == ["192.0.2.1", "192.0.2.2"]
    assert (asked["linked"], asked["disks"]) == (True, [{"pool": cast.pool.pk, "format": "qcow2"}])


def test_the_best_host_is_where_one_begins(cast: Cast, host: Host, enter: Enter) -> None:
    assert enter("administrator").get("/vms/create/?os=debian12").headers["Location"] == f"{address(host)}?os=debian12"
    Host.objects.update(state="down")
    text = enter("administrator").get("/vms/create/").content.decode()
    assert "No host can take a machine now" in text
    assert "the host does not answer" in text
    assert "No host is yours" in enter("stranger").get("/vms/create/").content.decode()
    Host.objects.update(removed_at=timezone.now())
    assert "First a host" in enter("administrator").get("/vms/create/").content.decode()


def test_the_list_offers_to_make_one_to_who_may(cast: Cast, enter: Enter) -> None:
    assert 'href="/vms/create/"' in enter("administrator").get("/vms/").content.decode()
    assert 'href="/vms/create/"' not in enter("owner").get("/vms/").content.decode()


def test_keys_are_kept_if_they_are_keys(cast: Cast, enter: Enter) -> None:
    client = enter("viewer")
    assert client.post("/me/ssh-keys/", {"ssh_keys": f"{KEY}\n"}).status_code == 302
    assert User.objects.get(pk=cast.viewer.pk).ssh_keys == KEY
    answer = client.post("/me/ssh-keys/", {"ssh_keys": "no key"})
    assert (answer.status_code, "An SSH key begins with its type" in answer.content.decode()) == (400, True)
    assert User.objects.get(pk=cast.viewer.pk).ssh_keys == KEY


# --- deleting


@pytest.fixture
def machine(cast: Cast) -> Domain:
    """One with a disk of its own, a disc, and a disk that another has as well."""
    other = make_volume(cast.pool, "shared.qcow2")
    disc = make_volume(cast.pool, "tools.iso", format="iso")
    for slot, volume, device in (("vda", cast.volume, "disk"), ("vdb", other, "disk"), ("sda", disc, "cdrom")):
        DiskUse.objects.create(domain=cast.domain, slot=slot, path=volume.path, device=device)
    DiskUse.objects.create(domain=cast.other, slot="vda", path=other.path)
    DiskUse.objects.create(domain=cast.domain, slot="vdc", path="/dev/sdz")
    return cast.domain


def test_every_file_is_listed_and_only_its_own_is_ticked(cast: Cast, machine: Domain, enter: Enter) -> None:
    text = enter("administrator").get(f"/vms/{machine.pk}/delete/").content.decode()
    ticked = re.findall(r'name="volumes" value="(\d+)" aria-label="([^"]+)"( checked)?', text)
    assert [(name, bool(mark)) for _pk, name, mark in ticked] == [("web-1.qcow2", True)]
    # A disc of the library may be another's tomorrow: it stays, and is named.
    assert "tools.iso" in text
    assert "shared.qcow2" in text
    assert "db-1" in text
    assert "in no pool: it stays" in text
    assert f"{settings.WEBVIRT_BIN_DAYS} days" in text


def test_what_another_needs_cannot_be_asked_for(cast: Cast, machine: Domain, enter: Enter) -> None:
    shared = Volume.objects.get(name="shared.qcow2")
    form = {"listed": "1", "sure": "1", "volumes": [str(shared.pk)]}
    answer = enter("administrator").post(f"/vms/{machine.pk}/delete/", form)
    assert "shared.qcow2 stays: db-1 needs it." in answer.content.decode()
    assert not Operation.objects.exists()


def test_for_good_asks_for_the_name(cast: Cast, machine: Domain, enter: Enter) -> None:
    form = {"listed": "1", "volumes": [str(cast.volume.pk)]}
    again = enter("owner").post(f"/vms/{machine.pk}/purge/", form)
    assert (again.status_code, Operation.objects.count()) == (200, 0)
    assert enter("owner").post(f"/vms/{machine.pk}/purge/", form | {"confirm": machine.name}).status_code == 302
    assert Operation.objects.get().parameters == {"volumes": [cast.volume.pk]}


def test_the_bin_shows_what_one_may_know_of(cast: Cast, enter: Enter) -> None:
    now = timezone.now()
    binned = {"binned_at": now, "forgotten_at": now, "status": Status.BINNED}
    before = {"name": "old-name", "autostart": False, "volumes": [cast.volume.pk]}
    Domain.objects.filter(pk=cast.domain.pk).update(before_bin=before, **binned)
    for who, knows in (("owner", True), ("viewer", True), ("stranger", False)):
        text = enter(who).get("/vms/bin/").content.decode()
        assert ("old-name" in text) == knows, who
        assert ("Restore from the bin" in text) == (who == "owner"), who
    assert size(3 * GIB) in enter("owner").get("/vms/bin/").content.decode()
    page = enter("owner").get(f"/vms/{cast.domain.pk}/").content.decode()
    assert "in the recycle bin" in page
    assert f'href="/vms/{cast.domain.pk}/"' not in enter("owner").get("/vms/").content.decode()


def test_an_own_network_is_needed_for_its_choice(cast: Cast, host: Host, enter: Enter) -> None:
    make_network(host, "lan", 8, status="inactive")
    text = enter("administrator").get(address(host)).content.decode()
    assert "lan · NAT · stopped" in text


# --- from the web


URL = "https://images.example.org/tux.img"


def test_an_image_of_the_catalogue_is_offered_until_the_host_has_it(cast: Cast, host: Host, enter: Enter) -> None:
    CloudImage.objects.all().delete()
    image = CloudImage.objects.create(name="Tux 9", os="debian12", url=URL)
    option = f'<option value="cloud:{image.pk}" data-os="debian12"'
    assert option in enter("administrator").get(address(host)).content.decode()
    # Who owns the host makes machines on it, and has nothing fetched.
    Grant.objects.create(user=cast.stranger, host=host, role=Role.OWNER)
    text = enter("stranger").get(address(host)).content.decode()
    assert option not in text
    assert "Only administrators of this host may have something fetched" in text
    make_volume(cast.pool, "tux.img", source_url=URL)
    assert option not in enter("administrator").get(address(host)).content.decode()


def test_an_image_of_the_catalogue_is_asked_for_and_foreseen(cast: Cast, host: Host, enter: Enter) -> None:
    image = CloudImage.objects.create(name="Tux 9", os="debian12", url=URL)
    form = filled(cast, begins="image", volume_image=f"cloud:{image.pk}", card=[])
    answer = enter("administrator").post(address(host), form | {"plan": "1"}, headers=JSON).json()
    assert answer["fields"] == {}
    assert "images.example.org" in dict(answer["steps"])["Fetched"]
    assert f"curl -fL -o tux.img {URL}" in answer["virsh"]
    assert enter("administrator").post(address(host), form).status_code == 302
    assert Operation.objects.get().parameters["cloud_image"] == image.pk


def test_the_list_of_cloud_images_leads_to_a_machine(cast: Cast, host: Host, enter: Enter) -> None:
    CloudImage.objects.all().delete()
    image = CloudImage.objects.create(name="Tux 9", os="debian12", url=URL)
    link = f"/vms/create/?begins=image&amp;volume_image=cloud%3A{image.pk}&amp;os=debian12"
    assert f'href="{link}"' in enter("administrator").get("/images/cloud/").content.decode()
    text = enter("administrator").get(link.replace("&amp;", "&"), follow=True).content.decode()
    assert re.search(rf'<option value="cloud:{image.pk}"[^>]* selected', text)


def test_an_installer_on_the_web_is_asked_for_and_foreseen(cast: Cast, host: Host, enter: Enter) -> None:
    tree = "https://example.org/os/"
    text = enter("administrator").get(address(host)).content.decode()
    assert 'name="tree_url"' in text
    form = filled(cast, begins="tree", tree="https://other.example/", tree_url=tree, os="fedora37", card=[])
    answer = enter("administrator").post(address(host), form | {"plan": "1"}, headers=JSON).json()
    assert dict(answer["steps"])["The kernel is told"] == f"inst.repo={tree}"
    assert enter("administrator").post(address(host), form).status_code == 302
    asked = Operation.objects.get().parameters
    assert (asked["begins"], asked["tree"], "volume" in asked) == ("tree", tree, False)
    wrong = enter("administrator").post(address(host), form | {"tree_url": "ftp://example.org/"})
    assert (wrong.status_code, 'id="tree_url-error"' in wrong.content.decode()) == (400, True)


def test_a_flavours_button_carries_its_figures(cast: Cast, host: Host, enter: Enter) -> None:
    Flavour.objects.all().delete()
    Flavour.objects.create(name="<b>big", vcpus=3, memory_mib=1536, disk=5 * GIB)
    text = enter("administrator").get(address(host)).content.decode()
    assert 'data-vcpus="3" data-memory="1536" data-memory-unit="MiB" data-disk="5" data-disk-unit="GiB"' in text
    assert "<b>big" not in text
    assert 'href="/vms/flavours/"' in text


def test_only_a_drive_with_a_disc_is_offered_to_be_emptied(cast: Cast, enter: Enter) -> None:
    disks = [{"target": "sda", "device": "cdrom", "source": ""}, {"target": "sdb", "device": "cdrom", "source": "/a"}]
    definition = Definition.objects.create(domain=cast.domain, inactive={"disks": disks}, read_at=timezone.now())
    text = enter("administrator").get(f"/vms/{cast.domain.pk}/eject/").content.decode()
    assert ('value="sdb"' in text, 'value="sda"' in text) == (True, False)
    Definition.objects.filter(pk=definition.pk).update(inactive={"disks": disks[:1]})
    text = enter("administrator").get(f"/vms/{cast.domain.pk}/eject/").content.decode()
    assert "There is no disc in its drives" in text
