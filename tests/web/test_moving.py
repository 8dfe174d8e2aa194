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
from webvirt.models import Definition, DiskUse, Host, Network, NetworkStatus, Operation, Status, Volume
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
    assert f'href="?volume={ova.pk}"' in text
    # A machine's own disk is none of them.
    assert f'href="?volume={cast.volume.pk}"' not in text


def test_what_is_not_known_is_looked_into_first(enter: Enter, host: Host, ova: Volume) -> None:
    address = f"/hosts/{host.pk}/import-domain/?volume={ova.pk}"
    text = page(enter, host, f"?volume={ova.pk}")
    assert f'action="/volumes/{ova.pk}/look_into/"' in text
    assert f'data-live="volume:{ova.pk}"' in text
    assert 'name="memory"' not in text
    answer = enter("administrator").post(f"/volumes/{ova.pk}/look_into/", {"next": address})
    assert (answer.status_code, answer["Location"]) == (302, address)
    assert f'href="/operations/{Operation.objects.get().pk}/"' in page(enter, host, f"?volume={ova.pk}")


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


def test_who_exports_is_led_to_the_file(enter: Enter, cast: Cast) -> None:
    cast.domain.status = Status.SHUTOFF
    cast.domain.save()
    Definition.objects.update_or_create(
        domain=cast.domain,
        defaults={"read_at": timezone.now(), "inactive": {"disks": [{"device": "disk", "source": cast.volume.path}]}},
    )
    answer = enter("owner").post(f"/vms/{cast.domain.pk}/export/")
    operation = Operation.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/operations/{operation.pk}/file/")
    assert "tar -cf web-1.tar" in operation.virsh
    assert enter("owner").get(answer["Location"])["X-Accel-Redirect"] == f"/bytes/{operation.pk}"
