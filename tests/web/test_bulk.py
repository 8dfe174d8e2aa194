"""Verbs on many at once: ticks by right, the question that names what is lost, and an answer for each."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.people import Cast, make_host, make_network, make_pool, make_volume
from tests.web.conftest import Enter
from webvirt.models import Grant, Operation, Pool, PoolStatus, Role
from webvirt.services.catalogue import VERBS_FOR_MANY

JSON = {"accept": "application/json"}


def ticks(text: str) -> list[str]:
    return re.findall(r'name="ids" value="\d+" aria-label="([^"]+)"', text)


def bar(text: str) -> list[str]:
    return re.findall(r'data-bulk-verb="([^"]+)"', text)


def done() -> list[tuple[str, str]]:
    return sorted(Operation.objects.values_list("kind", "target"))


def on_two_hosts(cast: Cast) -> Pool:
    """A pool of the same name on another host, where the operator and the owner have their roles as well."""
    beta = make_host("beta", hostname="beta")
    for name in ("viewer", "operator", "owner"):
        Grant.objects.create(user=cast.who(name), role=name, host=cast.host)
        Grant.objects.create(user=cast.who(name), role=Role.VIEWER, host=beta)
    make_network(beta, "default", 2)
    return make_pool(beta, "images", 2)


def test_verbs_for_many_need_nothing() -> None:
    assert {noun: list(verbs) for noun, verbs in VERBS_FOR_MANY.items() if noun != "domain"} == {
        "pool": ["start", "refresh", "stop"],
        "volume": ["wipe", "delete"],
        "network": ["start", "stop"],
    }
    for verb in (verb for verbs in VERBS_FOR_MANY.values() for verb in verbs.values()):
        assert [name for name, part in verb.spec.model_fields.items() if part.is_required()] == []


def test_only_rows_that_one_may_do_something_with_have_ticks(cast: Cast, enter: Enter) -> None:
    on_two_hosts(cast)
    storage, networks = f"/hosts/{cast.host.pk}/storage/", f"/hosts/{cast.host.pk}/networks/"
    seen = {
        (who, address): (ticks(text), bar(text))
        for who in ("viewer", "operator", "owner", "administrator")
        for address in ("/pools/", storage, "/networks/", networks, f"/pools/{cast.pool.pk}/")
        if (text := enter(who).get(address).content.decode())
    }
    nothing: tuple[list[str], list[str]] = ([], [])
    assert {found for (who, _), found in map(hashable, seen.items()) if who == "viewer"} == {((), ())}
    assert seen["operator", "/pools/"] == seen["operator", storage] == (["images"], ["Refresh"])
    assert seen["operator", "/networks/"] == seen["operator", f"/pools/{cast.pool.pk}/"] == nothing
    assert seen["owner", f"/pools/{cast.pool.pk}/"] == (["web-1.qcow2"], ["Wipe", "Delete"])
    assert seen["administrator", "/pools/"] == (["images", "images"], ["Start", "Refresh", "Stop"])
    assert seen["administrator", storage] == (["images"], ["Start", "Refresh", "Stop"])
    assert seen["administrator", "/networks/"] == (["default", "default"], ["Start", "Stop"])
    assert seen["administrator", networks] == (["default"], ["Start", "Stop"])


def hashable(
    pair: tuple[tuple[str, str], tuple[list[str], list[str]]],
) -> tuple[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]]:
    key, (first, second) = pair
    return key, (tuple(first), tuple(second))


def test_a_viewer_of_all_ticks_nothing_but_machines_to_watch(cast: Cast, enter: Enter) -> None:
    Grant.objects.create(user=cast.viewer, role=Role.VIEWER)
    text = enter("viewer").get("/vms/").content.decode()
    assert len(ticks(text)) == 2
    assert "data-consoles" in text
    assert bar(text) == []
    for address in ("/pools/", "/networks/", f"/pools/{cast.pool.pk}/"):
        text = enter("viewer").get(address).content.decode()
        assert "main-link" in text, address
        assert 'name="ids"' not in text, address
        assert "data-tick-all" not in text, address
        assert "bulkbar" not in text, address


def test_pools_answer_for_each(cast: Cast, enter: Enter) -> None:
    other = on_two_hosts(cast)
    stopped = make_pool(cast.host, "backup", 3, status=PoolStatus.INACTIVE)
    ids = [cast.pool.pk, stopped.pk, other.pk, 999]
    results = enter("operator").post("/pools/bulk/", {"verb": "refresh", "ids": ids}, headers=JSON).json()["results"]
    assert [(one["name"], one["more"], one["ok"]) for one in results] == [
        ("images", "alpha", True),
        ("backup", "alpha", False),
        ("images", "beta", False),
    ]
    assert "stopped" in results[1]["refused"]
    assert "role" in results[2]["refused"]
    assert done() == [("pool.refresh", "images")]


def test_what_is_only_asked_about_names_each_and_where_it_is(cast: Cast, enter: Enter) -> None:
    other = on_two_hosts(cast)
    form: dict[str, object] = {"verb": "stop", "ids": [cast.pool.pk, other.pk], "next": "/pools/?q=images"}
    text = enter("administrator").post("/pools/bulk/", form).content.decode()
    assert re.findall(r"<li><b>([^<]+)</b> <span[^>]*>([^<]+)<", text) == [("images", "alpha"), ("images", "beta")]
    assert 'name="confirm"' not in text
    assert not Operation.objects.exists()
    text = enter("administrator").post("/pools/bulk/", form | {"sure": "1"}).content.decode()
    assert text.count("asked for") == 2
    assert 'href="/pools/?q=images"' in text
    assert done() == [("pool.stop", "images"), ("pool.stop", "images")]


@pytest.mark.parametrize("way", ["page", "script"])
def test_what_is_lost_is_named_and_counted(cast: Cast, enter: Enter, way: str) -> None:
    more = [make_volume(cast.pool, name) for name in ("a.qcow2", "b.qcow2")]
    headers = JSON if way == "script" else {}
    client = enter("administrator")
    ids = [volume.pk for volume in more]
    form: dict[str, object] = {"verb": "delete", "ids": ids}
    for wrong in ({}, {"sure": "1"}, {"confirm": "a.qcow2"}, {"confirm": "3"}):
        answer = client.post("/volumes/bulk/", form | wrong, headers=headers)
        text = unescape(answer.content.decode())
        assert "Type 2, how many they are, to say that you mean it." in text, wrong
        assert answer.status_code == (400 if way == "script" else 200)
        if way == "page":
            found = re.findall(r"<li><b>([^<]+)</b> <span[^>]*>([^<]+)<", text)
            assert found == [("a.qcow2", "20\xa0GiB"), ("b.qcow2", "20\xa0GiB")]
            assert re.findall(r'name="ids" value="(\d+)"', text) == [str(pk) for pk in ids]
    assert not Operation.objects.exists()
    client.post("/volumes/bulk/", form | {"confirm": "2"}, headers=headers)
    assert done() == [("volume.delete", "a.qcow2"), ("volume.delete", "b.qcow2")]


def test_one_alone_is_confirmed_by_its_name(cast: Cast, enter: Enter) -> None:
    form = {"verb": "delete", "ids": [cast.volume.pk]}
    client = enter("administrator")
    assert "Type its name" in client.post("/volumes/bulk/", form | {"confirm": "1"}).content.decode()
    assert not Operation.objects.exists()
    assert "asked for" in client.post("/volumes/bulk/", form | {"confirm": cast.volume.name}).content.decode()
    assert done() == [("volume.delete", "web-1.qcow2")]


def test_nothing_ticked_is_said(cast: Cast, enter: Enter) -> None:
    for path, verb in (("volumes", "delete"), ("networks", "stop"), ("vms", "destroy")):
        text = enter("administrator").post(f"/{path}/bulk/", {"verb": verb}).content.decode()
        assert "Nothing was ticked." in text
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("path", "verb"), [("pools", "delete"), ("volumes", "resize"), ("networks", "undefine")])
def test_not_every_verb_is_for_many(cast: Cast, enter: Enter, path: str, verb: str) -> None:
    assert enter("administrator").post(f"/{path}/bulk/", {"verb": verb, "ids": []}).status_code == 404
