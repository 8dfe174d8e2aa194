"""The catalogue of cloud images over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Callers
from tests.people import Cast
from webvirt.models import CloudImage, Volume

URL = "https://images.example.org/tux-9.qcow2"
TUX: dict[str, Any] = {"name": "Tux 9", "os": "tux9", "url": URL, "checksum_url": f"{URL}.sha256", "user": "tux"}


@pytest.fixture(autouse=True)
def _without_the_seeded(cast: Cast) -> None:
    CloudImage.objects.all().delete()


def test_the_list_is_kept_by_administrators_and_read_by_all(api: Callers, cast: Cast) -> None:
    made = api.administrator.post("/cloud-images", TUX)
    assert made.status_code == 201
    assert made.json() | TUX | {"arch": "x86_64", "position": 0, "enabled": True, "places": []} == made.json()
    path = f"/cloud-images/{made.json()['id']}"
    Volume.objects.filter(pk=cast.volume.pk).update(source_url=URL)
    here = {"volume": cast.volume.pk, "name": cast.volume.name, "pool": cast.pool.pk}
    (place,) = api.administrator.get(path).json()["places"]
    assert (place | here, place["host"]["name"]) == (place, "alpha")
    assert api.administrator.get(f"/volumes/{cast.volume.pk}").json()["source_url"] == URL
    seen = api.viewer.get("/cloud-images?q=tux").json()
    assert (seen["total"], seen["items"][0]["name"], seen["items"][0]["places"]) == (1, "Tux 9", [])
    changed = api.administrator.call("PUT", path, {"name": "Tux", "url": URL, "enabled": False})
    assert (changed.json()["name"], changed.json()["checksum_url"]) == ("Tux", "")
    assert api.viewer.get(path).status_code == 404
    assert api.viewer.get("/cloud-images").json()["total"] == 0
    assert api.administrator.call("DELETE", path).status_code == 204
    assert api.administrator.get(path).status_code == 404
    assert api.administrator.call("DELETE", path).status_code == 404


@pytest.mark.parametrize("who", ["owner", "operator", "viewer", "stranger"])
def test_nobody_else_writes(api: Callers, who: str) -> None:
    image = CloudImage.objects.create(name="Tux 9", url=URL)
    caller = getattr(api, who)
    for method, path in (("POST", ""), ("PUT", f"/{image.pk}"), ("DELETE", f"/{image.pk}")):
        assert caller.call(method, f"/cloud-images{path}", TUX).status_code == 403
    image.refresh_from_db()
    assert image.name == "Tux 9"
    assert CloudImage.objects.count() == 1


def test_what_is_wrong_is_said_by_field(api: Callers) -> None:
    refused = api.administrator.post("/cloud-images", TUX | {"url": "file:///etc/passwd", "arch": "?"})
    assert refused.status_code == 422
    assert set(refused.json()["fields"]) == {"url", "arch"}
    assert api.administrator.post("/cloud-images", "[1]").status_code == 400
    assert api.administrator.post("/cloud-images", TUX).status_code == 201
    assert set(api.administrator.post("/cloud-images", TUX).json()["fields"]) == {"url"}


def test_the_list_is_in_the_order_that_administrators_gave_it(api: Callers) -> None:
    for name, position in (("b", 2), ("a", 3), ("c", 1)):
        CloudImage.objects.create(name=name, position=position, url=f"{URL}.{name}")
    names = [row["name"] for row in api.viewer.get("/cloud-images").json()["items"]]
    assert names == ["c", "b", "a"]
    assert [row["name"] for row in api.viewer.get("/cloud-images?sort=-name").json()["items"]] == ["c", "b", "a"]
    assert [row["name"] for row in api.viewer.get("/cloud-images?limit=1&offset=1").json()["items"]] == ["b"]
