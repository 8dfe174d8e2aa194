"""Flavours on pages: what everybody reads, and what administrators keep."""

from __future__ import annotations

import pytest

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Flavour

GIB = 2**30
FORM = {
    "name": "Big",
    "vcpus": "8",
    "memory": "16",
    "memory_unit": "GiB",
    "disk": "0.5",
    "disk_unit": "TiB",
    "position": "7",
}


def test_an_administrator_keeps_the_list(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    assert 'name="position" type="number" value="5"' in client.get("/vms/flavours/add/").content.decode()
    assert client.post("/vms/flavours/add/", FORM).headers["Location"] == "/vms/flavours/"
    big = Flavour.objects.get(name="Big")
    assert (big.vcpus, big.memory_mib, big.disk, big.position) == (8, 16_384, 512 * GIB, 7)
    form = client.get(f"/vms/flavours/{big.pk}/").content.decode()
    assert 'value="512"' in form
    assert client.post(f"/vms/flavours/{big.pk}/", FORM | {"name": "Huge", "disk": ""}).status_code == 302
    big.refresh_from_db()
    assert (big.name, big.disk) == ("Huge", 0)
    text = enter("viewer").get("/vms/flavours/").content.decode()
    assert "Huge" in text
    assert "/vms/flavours/add/" not in text
    assert client.post(f"/vms/flavours/{big.pk}/remove/").status_code == 302
    assert not Flavour.objects.filter(name="Huge").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "XL"}, "a flavour of this name already"),
        ({"memory": "much"}, 'id="memory-error"'),
        ({"vcpus": "0"}, "greater than or equal"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(
    cast: Cast, enter: Enter, wrong: dict[str, str], words: str
) -> None:
    response = enter("administrator").post("/vms/flavours/add/", FORM | {"disk": "77"} | wrong)
    text = response.content.decode()
    assert (response.status_code, words in text, 'value="77"' in text) == (400, True, True)
    assert Flavour.objects.count() == 5


def test_an_empty_list_teaches(cast: Cast, enter: Enter) -> None:
    Flavour.objects.all().delete()
    assert 'href="/vms/flavours/add/"' in enter("administrator").get("/vms/flavours/").content.decode()
    assert "An administrator can add some" in enter("viewer").get("/vms/flavours/").content.decode()
