"""The pages of encrypted volumes: what they may be encrypted with, and who may see with what they are."""

from __future__ import annotations

import re

from tests.people import Cast, make_secret, make_volume
from tests.web.conftest import Enter
from webvirt.models import Grant, Operation, Role, Secret, Volume

GIB = 2**30


def test_the_form_offers_secrets_that_volumes_can_have(cast: Cast, enter: Enter) -> None:
    address = f"/pools/{cast.pool.pk}/create-volume/"
    Grant.objects.create(user=cast.owner, host=cast.host, role=Role.OWNER)
    make_volume(cast.pool, "locked.img", encrypted=True)
    text = enter("owner").get(address).content.decode()
    assert 'name="secret"' not in text
    assert f'href="/hosts/{cast.host.pk}/storage/#secrets"' in text
    secret = make_secret(cast.host, "of-volumes", 2, usage="none", usage_id="")
    text = enter("owner").get(address).content.decode()
    choices = re.findall(r'<option value="(\d+)"', text.partition('name="secret"')[2].partition("</select>")[0])
    assert choices == [str(secret.pk)]
    assert "web-1.qcow2 ·" in text
    assert "locked.img" not in text
    form = {"name": "e.qcow2", "capacity": "1", "capacity_unit": "GiB", "format": "qcow2", "secret": str(secret.pk)}
    assert enter("owner").post(address, form).status_code == 302
    assert Operation.objects.get().parameters["secret"] == secret.pk


def test_what_does_not_fit_is_said_by_its_field_and_keeps_what_was_typed(cast: Cast, enter: Enter) -> None:
    make_secret(cast.host, "of-volumes", 2, usage="none", usage_id="")
    address = f"/pools/{cast.pool.pk}/create-volume/"
    form = {"name": "e.qcow2", "capacity": "1", "capacity_unit": "GiB", "secret": str(cast.secret.pk)}
    answer = enter("administrator").post(address, form)
    assert answer.status_code == 400
    text = answer.content.decode()
    assert 'id="secret-error">This secret is for something else than volumes.' in text
    assert 'value="e.qcow2"' in text
    plan = enter("administrator").post(address, form | {"plan": "1"}, headers={"accept": "application/json"}).json()
    assert plan == {"virsh": "", "fields": {"secret": "This secret is for something else than volumes."}}


def test_a_volume_and_its_secret_name_each_other(cast: Cast, enter: Enter) -> None:
    secret = make_secret(cast.host, "of-volumes", 2, usage="none", usage_id="")
    Volume.objects.filter(pk=cast.volume.pk).update(encrypted=True, secret=secret.uuid)
    client = enter("administrator")
    assert f'href="/secrets/{secret.pk}/"' in client.get(f"/volumes/{cast.volume.pk}/").content.decode()
    text = client.get(f"/secrets/{secret.pk}/").content.decode()
    assert f'href="/volumes/{cast.volume.pk}/"' in text
    assert "web-1.qcow2 is encrypted with it" in text
    Secret.objects.filter(pk=secret.pk).update(missing_since="2026-01-01T00:00:00Z")
    assert "/secrets/" not in client.get(f"/volumes/{cast.volume.pk}/").content.decode()


def test_a_long_name_of_a_host_is_cut_and_no_markup_is_shown(cast: Cast, enter: Enter) -> None:
    cast.host.name = "a-host-with-a-name-that-is-longer-than-most-tables"
    cast.host.save()
    text = enter("administrator").get(f"/pools/{cast.pool.pk}/create-volume/").content.decode()
    assert "&lt;span" not in text
    assert 'secrets of <span title="a-host-with' in text
