"""Filters, devices, secrets and the image library over REST."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Callers
from tests.people import Cast, make_filter, make_host, make_pool, make_volume
from webvirt.hypervisor.types import HostDevice
from webvirt.models import CardUse, DeviceUse, DiskUse, Grant, PoolStatus, Role, Volume
from webvirt.services import inventory

CARD = HostDevice("pci_0000_01_00_0", "pci", "A card", "0000:01:00.0", "8086:1572", iommu_group=1)
KEY = HostDevice("usb_1_4", "usb", "A key", "001:004", "0529:0001")


def test_a_filter_with_who_goes_through_it(api: Callers, cast: Cast) -> None:
    make_filter(cast.host, "all", 2, references=["no-mail"])
    CardUse.objects.create(domain=cast.domain, mac="52:54:00:00:00:01", type="network", filter="no-mail")
    found = api.administrator.get(f"/filters/{cast.filter.pk}").json()
    assert (found["name"], found["xml"], found["taken_in_by"]) == ("no-mail", cast.filter.xml, ["all"])
    assert found["cards"] == [{"domain": cast.domain.pk, "name": "web-1", "mac": "52:54:00:00:00:01"}]
    reasons = {verb["verb"]: verb["why_not"] for verb in found["verbs"]}
    assert reasons == {"edit": "", "undefine": "cards of web-1 go through it"}


def test_filters_are_listed_by_host_and_name(api: Callers, cast: Cast) -> None:
    make_filter(cast.host, "clean-traffic", 2)
    names = [row["name"] for row in api.administrator.get("/filters?sort=-name").json()["items"]]
    assert names == ["no-mail", "clean-traffic"]
    assert api.administrator.get("/filters?q=clean").json()["total"] == 1
    assert api.administrator.get("/filters?host=999").json()["total"] == 0
    assert api.owner.get("/filters").json()["total"] == 0


def test_a_hosts_devices_with_their_machines(api: Callers, cast: Cast) -> None:
    inventory.remember_devices(cast.host.pk, [KEY, CARD])
    DeviceUse.objects.create(domain=cast.domain, kind="pci", address=CARD.address)
    Grant.objects.create(user=cast.viewer, host=cast.host, role=Role.VIEWER)
    found = api.viewer.get(f"/hosts/{cast.host.pk}/devices").json()
    assert [device["name"] for device in found] == [CARD.name, KEY.name]
    assert found[0]["users"] == [{"id": cast.domain.pk, "name": "web-1"}]
    assert [device["name"] for device in api.viewer.get(f"/hosts/{cast.host.pk}/devices?kind=usb").json()] == [KEY.name]
    assert api.owner.get(f"/hosts/{cast.host.pk}/devices").status_code == 404


def test_a_secret_with_who_needs_it(api: Callers, cast: Cast) -> None:
    pool = make_pool(cast.host, "rbd", 9, info={"auth_secret": "client.libvirt"})
    found = api.administrator.get(f"/secrets/{cast.secret.pk}").json()
    assert (found["usage"], found["usage_id"], found["private"]) == ("ceph", "client.libvirt", True)
    assert (found["pools"], found["domains"]) == ([{"id": pool.pk, "name": "rbd"}], [])
    reasons = {verb["verb"]: verb["why_not"] for verb in found["verbs"]}
    assert reasons == {"set_value": "", "undefine": "rbd signs in with it"}
    Volume.objects.filter(pk=cast.volume.pk).update(encrypted=True, secret=cast.secret.uuid)
    found = api.administrator.get(f"/secrets/{cast.secret.pk}").json()
    assert found["volumes"] == [{"id": cast.volume.pk, "name": cast.volume.name}]
    assert api.administrator.get(f"/volumes/{cast.volume.pk}").json()["secret"] == cast.secret.uuid
    assert [row["id"] for row in api.administrator.get("/secrets?q=client").json()["items"]] == [cast.secret.pk]
    assert api.owner.get(f"/secrets/{cast.secret.pk}").status_code == 404


def test_the_image_library(api: Callers, cast: Cast) -> None:
    omega = make_host("omega", hostname="o")
    isos, other = make_pool(cast.host, "isos", 2), make_pool(omega, "images", 3)
    DiskUse.objects.create(domain=cast.domain, slot="vda", path=cast.volume.path)
    disc = make_volume(isos, "d.iso", format="iso", os="debian12", os_name="Debian 12", sha256="a" * 64)
    plain = make_volume(other, "cloud.qcow2", capacity=2**20)
    for address, found in {
        "": [plain.pk, disc.pk],
        "?sort=-name": [disc.pk, plain.pk],
        "?sort=os": [plain.pk, disc.pk],
        "?sort=capacity": [plain.pk, disc.pk],
        "?kind=iso": [disc.pk],
        "?kind=disk": [plain.pk],
        "?os=debian12": [disc.pk],
        "?os=-": [plain.pk],
        "?q=Debian": [disc.pk],
        f"?host={omega.pk}": [plain.pk],
        "?limit=1&offset=1": [disc.pk],
    }.items():
        answer = api.administrator.get(f"/images{address}").json()
        assert [row["id"] for row in answer["items"]] == found, address
    assert answer["total"] == 2
    assert api.administrator.get("/images?kind=floppy").status_code == 422
    assert api.administrator.get("/images?sort=rubbish").status_code == 422
    assert api.owner.get("/images").json() == {"total": 0, "items": []}
    found = api.administrator.get(f"/volumes/{disc.pk}").json()
    assert (found["os"], found["os_name"], found["sha256"], found["sha256_at"]) == (
        "debian12",
        "Debian 12",
        "a" * 64,
        None,
    )
    assert "checksum" in {verb["verb"] for verb in found["verbs"]}
    Grant.objects.create(user=cast.viewer, host=omega, role=Role.VIEWER)
    assert [row["id"] for row in api.viewer.get("/images").json()["items"]] == [plain.pk]


def test_a_verb_on_many_of_any_noun(api: Callers, cast: Cast) -> None:
    stopped = make_pool(cast.host, "backup", 3, status=PoolStatus.INACTIVE)
    Grant.objects.create(user=cast.viewer, host=cast.host, role=Role.VIEWER)
    body = {"verb": "refresh", "ids": [stopped.pk, cast.pool.pk, 999_999]}
    assert statuses(api.administrator.post("/pools/bulk", body)) == [
        (stopped.pk, 409),
        (cast.pool.pk, 202),
        (999_999, 404),
    ]
    assert statuses(api.viewer.post("/pools/bulk", body)) == [(stopped.pk, 403), (cast.pool.pk, 403), (999_999, 404)]
    assert [status for _, status in statuses(api.stranger.post("/pools/bulk", body))] == [404, 404, 404]
    deleted = api.administrator.post("/volumes/bulk", {"verb": "delete", "ids": [cast.volume.pk]})
    assert statuses(deleted) == [(cast.volume.pk, 202)]
    assert statuses(api.administrator.post("/networks/bulk", {"verb": "stop", "ids": [cast.network.pk]})) == [
        (cast.network.pk, 202)
    ]
    refused = api.administrator.post("/volumes/bulk", {"verb": "resize", "ids": [cast.volume.pk]})
    assert refused.status_code == 422
    assert refused.json()["fields"]["verb"] == "One of wipe, delete."
    old = {"verb": "stop", "networks": [cast.network.pk]}
    assert api.administrator.post("/networks/bulk", old).status_code == 422


def statuses(answer: Any) -> list[tuple[int, int]]:
    assert answer.status_code == 200, answer.content
    return [(item["id"], item["status"]) for item in answer.json()["items"]]


def test_each_noun_with_verbs_for_many_is_documented(api: Callers, cast: Cast) -> None:
    paths = api.viewer.get("/openapi.json").json()["paths"]
    bulk = {path: document["post"]["operationId"] for path, document in paths.items() if path.endswith("/bulk")}
    of_nouns = {f"/api/v1/{noun}s/bulk": f"{noun}s.bulk" for noun in ("domain", "pool", "volume", "network")}
    for_names = {
        "/api/v1/hosts/{pk}/create-domain/bulk": "domain.create.bulk",
        "/api/v1/domains/{pk}/clone/bulk": "domain.clone.bulk",
    }
    assert bulk == of_nouns | for_names
