"""The pages of imports and exports."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
from django.utils import timezone

from tests.fakes import FakeConnection
from tests.people import Cast, make_volume
from tests.web.conftest import Enter
from webvirt.models import (
    Definition,
    DiskUse,
    Domain,
    Grant,
    Host,
    Network,
    NetworkStatus,
    Operation,
    OperationState,
    Pool,
    Role,
    Status,
    Volume,
)
from webvirt.services import appliances, operations
from webvirt.services.ovf import Appliance, Card, Disk

GIB = 2**30
SHOP = Appliance(
    name="../shop",
    memory_mib=3072,
    vcpus=3,
    firmware="efi",
    os="debian12",
    disks=(Disk("shop.vmdk", "vmdk", 7 * GIB, "scsi"),),
    cards=(Card("default", "vmxnet3"), Card("VM Network", "e1000")),
    notes=("It comes without this part: <b>CD</b>.",),
)


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


@pytest.fixture
def host(cast: Cast) -> Host:
    Host.objects.filter(pk=cast.host.pk).update(info=asdict(FakeConnection().host.info()))
    Network.objects.update(status=NetworkStatus.ACTIVE)
    return Host.objects.get(pk=cast.host.pk)


@pytest.fixture
def ova(cast: Cast) -> Volume:
    return make_volume(cast.pool, "shop.ova", format="raw", path="/srv/images/shop.ova")


def known(ova: Volume, **more: Any) -> None:
    Volume.objects.filter(pk=ova.pk).update(appliance=appliances.as_json(SHOP) | more)


def page(enter: Enter, host: Host, query: str = "") -> str:
    answer = enter("administrator").get(f"/hosts/{host.pk}/import-domain/{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_one_chooses_from_the_files_of_the_host(enter: Enter, cast: Cast, host: Host, ova: Volume) -> None:
    DiskUse.objects.create(domain=cast.domain, slot="vda", path=cast.volume.path)
    text = page(enter, host)
    assert f'href="?look={ova.pk}"' in text
    # A machine's own disk is none of them.
    assert f'href="?look={cast.volume.pk}"' not in text


def way(enter: Enter, host: Host, query: str) -> str:
    """Where the page leads on to."""
    answer = enter("administrator").get(f"/hosts/{host.pk}/import-domain/{query}")
    return str(answer.headers.get("Location", "")).rpartition("/")[2]


def test_what_is_not_known_is_looked_into_first(enter: Enter, host: Host, ova: Volume) -> None:
    assert way(enter, host, f"?volume={ova.pk}") == f"?look={ova.pk}"
    address = f"/hosts/{host.pk}/import-domain/?look={ova.pk}"
    text = page(enter, host, f"?look={ova.pk}")
    assert f'action="/volumes/{ova.pk}/look_into/"' in text
    assert f'data-live="volume:{ova.pk}"' in text
    assert 'name="memory"' not in text
    answer = enter("administrator").post(f"/volumes/{ova.pk}/look_into/", {"next": address})
    assert (answer.status_code, answer["Location"]) == (302, address)
    asked = Operation.objects.get()
    text = page(enter, host, f"?look={ova.pk}")
    assert f'href="/operations/{asked.pk}/"' in text
    assert f'data-live="volume:{ova.pk} operation:{asked.pk}"' in text
    Operation.objects.update(state=OperationState.FAILED, error="It is compressed: unpack it first.")
    text = page(enter, host, f"?look={ova.pk}")
    assert "It is compressed: unpack it first." in text
    assert f'action="/volumes/{ova.pk}/look_into/"' in text
    known(ova)
    assert way(enter, host, f"?look={ova.pk}") == f"?volume={ova.pk}"


def test_what_is_at_an_address_is_fetched_first(enter: Enter, cast: Cast, host: Host) -> None:
    here, url = f"/hosts/{host.pk}/import-domain/", "https://example.org/shop.ova"
    fields = {"url": url, "checksum": "a" * 64, "pool": str(cast.pool.pk)}
    answer = enter("administrator").post(here, fields)
    asked = Operation.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"{here}?fetch={asked.pk}")
    assert (asked.kind, asked.subject) == ("volume.fetch", f"pool:{cast.pool.pk}")
    assert asked.parameters["look_into"] is True
    operations.claim(asked.pk)
    operations.report(Operation.objects.get(), "fetching", 3, 10)
    text = page(enter, host, f"?fetch={asked.pk}")
    assert (f'data-live="operation:{asked.pk}"' in text, "30 %" in text) == (True, True)
    assert f'action="/operations/{asked.pk}/cancel/"' in text
    there = make_volume(cast.pool, "shop.ova", format="raw")
    Operation.objects.update(state=OperationState.SUCCEEDED, result={"volume": "shop.ova"})
    assert way(enter, host, f"?fetch={asked.pk}") == f"?look={there.pk}"


def test_a_fetch_that_failed_is_told_and_can_be_corrected(enter: Enter, cast: Cast, host: Host) -> None:
    url = "https://example.org/shop.ova"
    enter("administrator").post(f"/hosts/{host.pk}/import-domain/", {"url": url, "pool": str(cast.pool.pk)})
    Operation.objects.update(state=OperationState.FAILED, error="The server answers 404.")
    text = page(enter, host, f"?fetch={Operation.objects.get().pk}")
    assert "The server answers 404." in text
    assert re.search(rf'<input[^>]* name="url"[^>]* value="{url}"', text)


def test_an_address_that_cannot_be_fetched_from_is_refused_at_its_field(enter: Enter, cast: Cast, host: Host) -> None:
    fields = {"url": "file:///etc/passwd", "checksum": "b" * 64, "pool": str(cast.pool.pk)}
    answer = enter("administrator").post(f"/hosts/{host.pk}/import-domain/", fields)
    text = answer.content.decode()
    assert (answer.status_code, Operation.objects.count()) == (400, 0)
    assert "must begin with https:// or http://" in text
    assert f'value="{"b" * 64}"' in text


def test_only_who_may_fetch_is_offered_an_address(enter: Enter, cast: Cast, host: Host) -> None:
    Grant.objects.create(user=cast.owner, host=host, role=Role.OWNER)
    here = f"/hosts/{host.pk}/import-domain/"
    text = enter("owner").get(here).content.decode()
    assert ("From a file on the host" in text, 'name="url"' in text) == (True, False)
    answer = enter("owner").post(here, {"url": "https://example.org/shop.ova", "pool": str(cast.pool.pk)})
    assert (answer.status_code, Operation.objects.count()) == (403, 0)


def test_what_is_known_stands_in_the_form(enter: Enter, cast: Cast, host: Host, ova: Volume) -> None:
    known(ova)
    text = page(enter, host, f"?volume={ova.pk}")
    assert re.search(r'<input[^>]* name="name"[^>]* value="shop"', text)
    for field in ('name="vcpus" value="3"', 'name="memory" value="3072"', 'value="debian12" lang="en" selected'):
        assert field in text, field
    # The second is on a network that is not here: the usual one is offered.
    assert text.count(f'value="network:{cast.network.pk}" selected') == 2
    assert "shop.vmdk" in text
    assert "It comes without this part: &lt;b&gt;CD&lt;/b&gt;." in text


def test_the_plan_and_the_request(enter: Enter, cast: Cast, host: Host, ova: Volume) -> None:
    known(ova)
    fields = {
        "volume": str(ova.pk),
        "pool": str(cast.pool.pk),
        "name": "shop",
        "os": "debian12",
        "vcpus": "2",
        "memory": "2",
        "memory_unit": "GiB",
        "firmware": "auto",
        "bus": "sata",
        "card": [f"network:{cast.network.pk}", ""],
        "start": "on",
    }
    client = enter("administrator")
    plan = client.post(f"/hosts/{host.pk}/import-domain/", fields | {"plan": "1"}).json()
    assert plan["fields"] == {}
    assert "vol-create-from images shop.qcow2.xml shop.vmdk" in plan["virsh"]
    assert ["Disk", "images/shop.qcow2 · 7\xa0GiB · new"] in plan["steps"]
    assert 'firmware="efi"' in plan["xml"]
    answer = client.post(f"/hosts/{host.pk}/import-domain/", fields)
    assert (answer.status_code, answer["Location"]) == (302, "/vms/")
    assert Operation.objects.get().parameters == {
        "volume": ova.pk,
        "pool": cast.pool.pk,
        "name": "shop",
        "os": "debian12",
        "vcpus": 2,
        "memory_mib": 2048,
        "firmware": "auto",
        "bus": "sata",
        "cards": [{"network": cast.network.pk, "bridge": "", "filter": ""}],
        "start": True,
    }


def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(
    enter: Enter, cast: Cast, host: Host, ova: Volume
) -> None:
    known(ova)
    fields = {"volume": str(ova.pk), "pool": str(cast.pool.pk), "name": "web-1", "memory": "777", "memory_unit": "MiB"}
    answer = enter("administrator").post(f"/hosts/{host.pk}/import-domain/", fields)
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "There is a machine of this name on this host already." in text
    assert 'value="777"' in text


def test_an_export_of_ours_asks_for_no_hardware(enter: Enter, cast: Cast, host: Host, ova: Volume) -> None:
    known(ova, is_own=True)
    text = page(enter, host, f"?volume={ova.pk}")
    assert "it comes back as it was" in text
    assert 'name="memory"' not in text
    fields = {"volume": str(ova.pk), "pool": str(cast.pool.pk), "name": "shop", "plan": "1"}
    plan = enter("administrator").post(f"/hosts/{host.pk}/import-domain/", fields).json()
    assert (plan["fields"], plan["steps"], plan["xml"]) == ({}, [["Disk", "images/shop.qcow2"]], "")


def test_the_volumes_page_leads_to_the_import(enter: Enter, host: Host, ova: Volume) -> None:
    known(ova)
    text = enter("administrator").get(f"/volumes/{ova.pk}/").content.decode()
    assert f'href="/hosts/{host.pk}/import-domain/?volume={ova.pk}"' in text


@pytest.fixture
def off(cast: Cast) -> Domain:
    """The machine, shut off, with its one disk."""
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.SHUTOFF)
    disk = {"device": "disk", "source": cast.volume.path, "bus": "virtio"}
    told = {"disks": [disk], "firmware": "efi", "devices": [{"kind": "tpm"}]}
    Definition.objects.update_or_create(domain=cast.domain, defaults={"read_at": timezone.now(), "inactive": told})
    DiskUse.objects.create(domain=cast.domain, slot="vda", path=cast.volume.path, device="disk")
    return Domain.objects.get(pk=cast.domain.pk)


def test_who_exports_is_led_to_the_file(enter: Enter, cast: Cast, off: Domain) -> None:
    answer = enter("owner").post(f"/vms/{cast.domain.pk}/export/")
    operation = Operation.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/operations/{operation.pk}/file/")
    assert "tar -cf web-1.tar" in operation.virsh
    assert enter("owner").get(answer["Location"])["X-Accel-Redirect"] == f"/bytes/{operation.pk}"


def test_the_form_of_an_appliance_tells_what_becomes_of_the_machine(enter: Enter, cast: Cast, off: Domain) -> None:
    client, here = enter("administrator"), f"/vms/{off.pk}/export_ova/"
    text = client.get(here).content.decode()
    assert re.search(r'<input[^>]* name="name"[^>]* value="web-1.ova"', text)
    assert f'action="/vms/{off.pk}/export/"' in text
    plan = client.post(here, {"pool": str(cast.pool.pk), "name": "web-1.ova", "plan": "1"}).json()
    assert plan["fields"] == {}
    assert plan["steps"][:2] == [["Description", "web-1.ovf"], ["Checksums", "web-1.mf"]]
    assert plan["steps"][2][1].startswith("web-1-disk1.vmdk · ")
    assert len(plan["warnings"]) == 3
    assert "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized disk1.raw web-1-disk1.vmdk" in plan["virsh"]
    assert "tar --format=ustar -cf web-1.ova web-1.ovf web-1.mf web-1-disk1.vmdk" in plan["virsh"]


def test_an_appliance_goes_into_a_pool_of_files_on_the_same_host(enter: Enter, cast: Cast, off: Domain) -> None:
    here = f"/vms/{off.pk}/export_ova/"
    Pool.objects.filter(pk=cast.pool.pk).update(type="logical")
    for pool, words in ((str(cast.pool.pk), "an appliance is a file"), ("4711", "not on the machine&#39;s host")):
        answer = enter("administrator").post(here, {"pool": pool, "name": "web-1.ova"})
        assert (answer.status_code, words in answer.content.decode()) == (400, True)


def test_the_operation_leads_to_what_it_made(enter: Enter, cast: Cast, off: Domain) -> None:
    enter("administrator").post(f"/vms/{off.pk}/export_ova/", {"pool": str(cast.pool.pk), "name": "web-1.ova"})
    there = make_volume(cast.pool, "web-1.ova", format="raw")
    Operation.objects.update(state=OperationState.SUCCEEDED, result={"volume": "web-1.ova", "bytes": 1})
    text = enter("administrator").get(f"/operations/{Operation.objects.get().pk}/").content.decode()
    assert f'href="/volumes/{there.pk}/"' in text
