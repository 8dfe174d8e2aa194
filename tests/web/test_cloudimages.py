"""The catalogue of cloud images on pages: what is offered, where it is, getting it, and keeping the list."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from tests.people import Cast, make_host, make_pool, make_volume
from tests.web.conftest import Enter
from webvirt.models import CloudImage, Grant, Operation, PoolStatus, Role, Volume
from webvirt.services import cloudimages, operations

HOSTILE = "<script>alert(1)</script>"
URL = "https://images.example.org/tux-9.qcow2?a=1&b=2"
FORM = {"name": "Tux 9", "os": "tux9", "arch": "x86_64", "url": URL, "user": "tux", "position": "0", "enabled": "on"}


@pytest.fixture
def image(cast: Cast) -> CloudImage:
    CloudImage.objects.all().delete()
    given: dict[str, Any] = FORM | {"position": 0, "enabled": True, "checksum_url": "https://images.example.org/SUMS"}
    return cloudimages.add(given)


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, address
    return response.content.decode()


def test_the_list_tells_which_pools_have_an_image(image: CloudImage, cast: Cast, enter: Enter) -> None:
    text = text_of(enter("administrator"), "/images/cloud/")
    assert "Tux 9" in text
    assert f'href="/volumes/{cast.volume.pk}/"' not in text
    Volume.objects.filter(pk=cast.volume.pk).update(source_url=URL)
    text = text_of(enter("administrator"), "/images/cloud/")
    assert f'href="/volumes/{cast.volume.pk}/"' in text
    # Who may not know of the pool is not told.
    text = text_of(enter("viewer"), "/images/cloud/")
    assert "Tux 9" in text
    assert f'href="/volumes/{cast.volume.pk}/"' not in text


def test_it_is_searched(image: CloudImage, enter: Enter) -> None:
    client = enter("administrator")
    assert f'id="cloud-image-{image.pk}"' in text_of(client, "/images/cloud/?q=tux")
    assert "Show all cloud images" in text_of(client, "/images/cloud/?q=penguin")


def test_an_empty_list_teaches(cast: Cast, enter: Enter) -> None:
    CloudImage.objects.all().delete()
    assert 'href="/images/cloud/add/"' in text_of(enter("administrator"), "/images/cloud/")
    text = text_of(enter("viewer"), "/images/cloud/")
    assert "ready to run" in text
    assert 'href="/images/cloud/add/"' not in text


def test_it_stands_beside_the_library(image: CloudImage, enter: Enter) -> None:
    client = enter("viewer")
    assert 'href="/images/cloud/"' in text_of(client, "/images/")
    assert 'href="/images/"' in text_of(client, "/images/cloud/")


def test_getting_it_leads_to_the_pools_own_form_filled_in(
    image: CloudImage, cast: Cast, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    client = enter("administrator")
    assert f'href="/images/cloud/{image.pk}/get/"' in text_of(client, "/images/cloud/")
    found = re.search(r'href="(/pools/\d+/fetch-volume/\?[^"]+)"', text_of(client, f"/images/cloud/{image.pk}/get/"))
    assert found
    link = found[1].replace("&amp;", "&")
    form = text_of(client, link)
    assert 'value="https://images.example.org/tux-9.qcow2?a=1&amp;b=2"' in form
    assert 'value="https://images.example.org/SUMS"' in form
    sent = {"url": URL, "checksum_url": image.checksum_url, "name": "", "checksum": ""}
    assert client.post(link.partition("?")[0], sent).status_code == 302
    operation = Operation.objects.get()
    assert operation.kind == "volume.fetch"
    assert (operation.parameters["url"], operation.parameters["checksum_url"]) == (URL, image.checksum_url)


def test_a_link_fills_in_no_more_than_it_is_for(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    assert "mischief" not in text_of(client, f"/pools/{cast.pool.pk}/fetch-volume/?name=mischief")
    assert "mischief" not in text_of(client, f"/pools/{cast.pool.pk}/create-volume/?name=mischief")


def test_pools_that_have_it_or_cannot_take_it(image: CloudImage, cast: Cast, enter: Enter) -> None:
    client, address = enter("administrator"), f"/images/cloud/{image.pk}/get/"
    stopped = make_pool(cast.host, "stopped", 7, status=PoolStatus.INACTIVE)
    volume = make_volume(cast.pool, "tux.qcow2", source_url=URL)
    text = text_of(client, address)
    assert "has it already" in text
    assert f'href="/volumes/{volume.pk}/"' in text
    assert "fetch-volume" not in text
    assert f'id="place-{stopped.pk}"' not in text


def test_who_may_fetch_nowhere_gets_nothing(image: CloudImage, cast: Cast, enter: Enter) -> None:
    Grant.objects.create(user=cast.viewer, host=make_host("beta", hostname="b"), role=Role.OWNER)
    client = enter("viewer")
    assert "/get/" not in text_of(client, "/images/cloud/")
    assert "No pool to fetch it into" in text_of(client, f"/images/cloud/{image.pk}/get/")


def test_an_administrator_keeps_the_list(image: CloudImage, enter: Enter) -> None:
    client = enter("administrator")
    assert 'name="position" type="number" value="1"' in text_of(client, "/images/cloud/add/")
    new = FORM | {"name": "Other", "url": "https://images.example.org/other.qcow2", "checksum": "A" * 64}
    assert client.post("/images/cloud/add/", new).headers["Location"] == "/images/cloud/"
    other = CloudImage.objects.get(name="Other")
    assert (other.checksum, other.user, other.enabled) == ("a" * 64, "tux", True)
    form = text_of(client, f"/images/cloud/{other.pk}/")
    assert 'value="https://images.example.org/other.qcow2"' in form
    changed = {key: value for key, value in new.items() if key != "enabled"} | {"name": "Else", "position": "7"}
    assert client.post(f"/images/cloud/{other.pk}/", changed).status_code == 302
    other.refresh_from_db()
    assert (other.name, other.position, other.enabled) == ("Else", 7, False)
    assert "switched off" in text_of(client, "/images/cloud/")
    assert "Else" not in text_of(enter("viewer"), "/images/cloud/")
    assert enter("viewer").get(f"/images/cloud/{other.pk}/get/").status_code == 404
    assert client.post(f"/images/cloud/{other.pk}/remove/").status_code == 302
    assert not CloudImage.objects.filter(pk=other.pk).exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "at least 1 character"),
        ({"url": "ftp://example.org/a"}, "must begin with https"),
        ({"url": URL}, "in the list already"),
        ({"position": "first"}, "valid integer"),
        ({"checksum": "0" * 64, "checksum_url": "https://example.org/SUMS"}, "not both"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(
    image: CloudImage, enter: Enter, wrong: dict[str, str], words: str
) -> None:
    given = FORM | {"url": "https://example.org/x.img", "user": "typed"} | wrong
    response = enter("administrator").post("/images/cloud/add/", given)
    assert response.status_code == 400
    text = response.content.decode()
    assert words in text
    assert 'value="typed"' in text
    assert CloudImage.objects.count() == 1


def test_what_administrators_call_it_is_text(image: CloudImage, cast: Cast, enter: Enter) -> None:
    CloudImage.objects.update(name=HOSTILE, os=HOSTILE, user=HOSTILE[:32], arch=HOSTILE[:16])
    for address in ("/images/cloud/", f"/images/cloud/{image.pk}/", f"/images/cloud/{image.pk}/get/"):
        assert "<script>alert" not in text_of(enter("administrator"), address), address
