"""Making things inside a project, on the pages of who has nothing but the project; quotas and use as they are shown."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict
from datetime import date
from typing import Any

import pytest
from django.test import Client

from tests.fakes import MACHINES
from tests.people import Cast, make_domain, make_network, make_pool, make_volume
from tests.services.shop import make_shop
from tests.web.conftest import Enter
from webvirt.models import (
    CloudImage,
    CustomRole,
    Flavour,
    Grant,
    Host,
    MonthlyUse,
    Network,
    Operation,
    Project,
    Role,
    Volume,
)
from webvirt.services import operations

GIB = 2**30
JSON = {"accept": "application/json"}


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


@pytest.fixture
def shop(cast: Cast) -> Project:
    """The stranger's; it may use all there is by now, and later things not."""
    info = {"cpus": 4, "memory_kib": 8 * 2**20, "arch": "x86_64", "machines": [asdict(one) for one in MACHINES]}
    Host.objects.filter(pk=cast.host.pk).update(
        info=info, interfaces=[{"name": "br0", "type": "bridge", "kind": "bridge"}]
    )
    project = make_shop(cast.stranger, most_vcpus=8, most_machines=3, most_disk=100 * GIB)
    project.allowed_images.set([make_volume(cast.pool, "debian.iso", format="iso", os_name="Debian 12")])
    make_pool(cast.host, "vault", 7)
    make_network(cast.host, "dmz", 7)
    make_volume(cast.pool, "secret.iso", format="iso")
    return project


def form(cast: Cast, shop: Project, **more: Any) -> dict[str, Any]:
    plain = {
        "name": "new",
        "begins": "disc",
        "volume_disc": str(Volume.objects.get(name="debian.iso").pk),
        "vcpus": "2",
        "memory": "1",
        "memory_unit": "GiB",
        "disk_pool": str(cast.pool.pk),
        "disk_size": "20",
        "disk_size_unit": "GiB",
        "disk_format": "qcow2",
        "card": f"network:{Network.objects.get(name='default').pk}",
        "project": str(shop.pk),
    }
    return plain | more


def text_of(page: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.content.decode()).split())


def test_the_form_offers_what_the_project_may_use_and_its_pages_stay_hidden(
    cast: Cast, enter: Enter, shop: Project
) -> None:
    member, path = enter("stranger"), f"/hosts/{cast.host.pk}/create-domain/"
    assert member.get("/vms/create/").headers["Location"] == path
    page = member.get(path)
    assert page.status_code == 200
    shown = text_of(page)
    for name in ("shop", "alpha", "images ·", "default ·", "debian.iso"):
        assert name in shown
    for name in ("vault", "dmz", "br0", "secret.iso", "web-1.qcow2", "of memory free"):
        assert name not in shown
    for hidden in (f"/hosts/{cast.host.pk}/", f"/pools/{cast.pool.pk}/", f"/networks/{cast.network.pk}/"):
        assert member.get(hidden).status_code == 404
    disc = Volume.objects.get(name="debian.iso")
    assert member.get(f"/volumes/{disc.pk}/").status_code == 404
    assert member.get(f"/hosts/{cast.host.pk}/create-pool/").status_code == 404
    assert member.get(f"/hosts/{cast.host.pk}/import-domain/?volume={cast.volume.pk}").status_code == 404


def test_the_plan_tells_the_quota_afterwards_and_a_refusal_keeps_what_was_typed(
    cast: Cast, enter: Enter, shop: Project
) -> None:
    make_domain(cast.host, "old", 7, project=shop, vcpus=4)
    member, path = enter("stranger"), f"/hosts/{cast.host.pk}/create-domain/"
    plan = json.loads(member.post(path, form(cast, shop, plan="1"), headers=JSON).content)
    lines = {line["label"]: line for line in plan["quota"]["lines"]}
    assert (lines["vCPUs"]["text"], lines["vCPUs"]["percent"], lines["vCPUs"]["over"]) == ("6 of 8", 75, False)
    plan = json.loads(member.post(path, form(cast, shop, name="new-{1..3}", plan="1"), headers=JSON).content)
    lines = {line["label"]: line for line in plan["quota"]["lines"]}
    assert (lines["vCPUs"]["text"], lines["vCPUs"]["over"], lines["Machines"]["over"]) == ("10 of 8", True, True)
    refused = member.post(path, form(cast, shop, vcpus="5", name="kept-name"))
    assert refused.status_code == 409
    assert "5 vCPUs asked, 4 of 8 left in project shop" in text_of(refused)
    assert 'value="kept-name"' in refused.content.decode()
    assert not Operation.objects.exists()
    assert member.post(path, form(cast, shop)).headers["Location"] == "/vms/"
    assert Operation.objects.get().parameters["project"] == shop.pk


def test_an_administrator_chooses_a_project_or_none(cast: Cast, enter: Enter, shop: Project) -> None:
    client, path = enter("administrator"), f"/hosts/{cast.host.pk}/create-domain/"
    shown = client.get(path).content.decode()
    assert "(none: it is the host" in shown
    assert f'<option value="{shop.pk}">shop</option>' in shown
    assert client.post(path, form(cast, shop, project="0")).status_code == 302
    assert client.post(path, form(cast, shop, name="other", card="bridge:br0")).status_code == 302
    assert [one.parameters.get("project") for one in Operation.objects.order_by("pk")] == [0, shop.pk]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_may_not_create_in_the_project_is_offered_nothing(
    cast: Cast, enter: Enter, shop: Project, role: Role
) -> None:
    Grant.objects.filter(project=shop).update(role=role)
    member = enter("stranger")
    assert member.get(f"/hosts/{cast.host.pk}/create-domain/").status_code == 404
    for page in ("/", "/vms/", f"/projects/{shop.pk}/", "/images/"):
        assert "Create a machine" not in text_of(member.get(page))


def test_over_the_api_a_refusal_is_a_409_and_the_rest_is_not_found(cast: Cast, enter: Enter, shop: Project) -> None:
    member, path = enter("stranger"), f"/api/v1/hosts/{cast.host.pk}/create-domain"
    token = {"X-CSRFToken": "c" * 32}
    member.cookies["csrftoken"] = "c" * 32

    def ask(**parameters: Any) -> Any:
        return member.post(path, json.dumps(parameters), content_type="application/json", headers=token)

    refused = ask(name="new", vcpus=9, memory_mib=64, project=shop.pk)
    assert (refused.status_code, refused.json()["error"]) == (409, "9 vCPUs asked, 8 of 8 left in project shop")
    assert ask(name="new", vcpus=1, memory_mib=64).json()["fields"].keys() == {"project"}
    assert ask(name="new", vcpus=1, memory_mib=64, project=shop.pk).status_code == 202
    assert member.get(f"/api/v1/hosts/{cast.host.pk}").status_code == 404
    used = member.get(f"/api/v1/projects/{shop.pk}/quota").json()
    assert used["machines"] == {"used": 1, "most": 3}
    uses = member.get(f"/api/v1/projects/{shop.pk}/uses").json()
    assert [one["name"] for one in uses["pools"]] == ["images"]
    assert uses["networks"][0]["host"] == cast.host.pk
    unknown = ask(name="x", vcpus=1, memory_mib=64, project=shop.pk, quota=9)
    assert unknown.status_code == 422


def test_administrators_keep_the_quota(cast: Cast, enter: Enter, shop: Project) -> None:
    client, at = enter("administrator"), f"/projects/{shop.pk}/quota/"
    assert 'value="100"' in client.get(at).content.decode()
    wrong = client.post(at, {"machines": "-1", "memory": "much", "memory_unit": "GiB"})
    assert wrong.status_code == 400
    assert 'value="much"' in wrong.content.decode()
    typed = {"machines": "", "vcpus": "16", "memory": "1.5", "memory_unit": "TiB", "disk": "0", "disk_unit": "GiB"}
    assert client.post(at, typed).status_code == 302
    shop.refresh_from_db()
    limits = (shop.most_machines, shop.most_vcpus, shop.most_memory_kib, shop.most_disk)
    assert limits == (None, 16, 3 * 2**29, 0)
    make_domain(cast.host, "big", 7, project=shop, vcpus=20)
    assert "20 of 16 above the quota" in text_of(client.get(f"/projects/{shop.pk}/"))


def test_administrators_say_what_it_may_use(cast: Cast, enter: Enter, shop: Project) -> None:
    client, at = enter("administrator"), f"/projects/{shop.pk}/uses/"
    image = CloudImage.objects.create(name="Tux 9", url="https://example.org/tux-9.qcow2")
    assert "vault" in text_of(client.get(at))
    vault = cast.host.pools.get(name="vault")
    # A pool of a host that it may not use.
    wrong = client.post(at, {"pools": [str(vault.pk)]})
    assert wrong.status_code == 400
    assert "not on these hosts" in text_of(wrong)
    flavour = Flavour.objects.get(name="S")
    typed = {"hosts": [cast.host.pk], "pools": [vault.pk], "cloud_images": [image.pk], "flavours": [flavour.pk]}
    assert client.post(at, typed | {"of_flavours_only": "on"}).status_code == 302
    shown = text_of(enter("stranger").get(f"/projects/{shop.pk}/"))
    assert "vault" in shown
    assert "Tux 9" in shown
    assert "those of its flavours alone" in shown
    assert list(shop.allowed_pools.all()) == [vault]


def test_a_person_who_has_only_a_project_is_led(cast: Cast, enter: Enter, shop: Project) -> None:
    member = enter("stranger")
    create = f'href="/vms/create/?project={shop.pk}"'
    overview = member.get("/").content.decode()
    assert create in overview
    assert "0 of 8" in overview
    assert create in member.get(f"/projects/{shop.pk}/").content.decode()
    assert "Create a machine" in text_of(member.get("/vms/"))
    images = text_of(member.get("/images/"))
    assert "What your projects may use besides" in images
    assert "debian.iso" in images
    assert "secret.iso" not in images
    shop.allowed_hosts.clear()
    assert "Your project may use no host yet" in text_of(member.get("/vms/create/"))


def test_its_owner_keeps_the_members_on_its_page(cast: Cast, enter: Enter, shop: Project) -> None:
    """As an administrator does; what they may not give they are not offered, and see no list of people."""
    Grant.objects.filter(project=shop).delete()
    Grant.objects.create(user=cast.owner, role=Role.OWNER, project=shop)
    above = CustomRole.objects.create(name="Above", kinds=["network.create"])
    within = CustomRole.objects.create(name="Within", kinds=["domain.start"])
    high = Grant.objects.create(user=cast.operator, custom_role=above, project=shop)
    client, at = enter("owner"), f"/projects/{shop.pk}/"
    page = client.get(at)
    assert re.findall(r'<option value="(\w+)"', page.content.decode()) == [
        *("person", "group", "viewer", "operator", "owner", str(within.pk))
    ]
    assert "/people/" not in page.content.decode()
    assert "stranger" not in text_of(page)
    assert f"members/{high.pk}/withdraw/" not in page.content.decode()
    form = {"kind": "person", "who": "stranger", "role": "viewer"}
    for change in ({"who": "strange"}, {"kind": "group"}, {"who": ""}, {"role": "king"}):
        wrong = client.post(f"{at}members/", form | change)
        assert wrong.status_code == 400, change
        assert "invalid-feedback" in wrong.content.decode(), change
    kept = client.post(f"{at}members/", form | {"who": "strange"}).content.decode()
    assert 'value="strange"' in kept
    assert client.post(f"{at}members/", form)["Location"] == at
    grant = Grant.objects.get(user=cast.stranger, project=shop)
    assert "stranger" in text_of(client.get(at))
    assert 'name="role"' not in enter("stranger").get(at).content.decode()
    for change in ({"role": "administrator"}, {"role": str(above.pk)}, {"who": "operator"}):
        assert client.post(f"{at}members/", form | change).status_code == 403, change
    assert client.post(f"{at}members/{high.pk}/withdraw/").status_code == 403
    own = Grant.objects.get(user=cast.owner, project=shop)
    told = client.post(f"{at}members/{own.pk}/withdraw/", follow=True)
    assert "You would not be an owner of this project any more" in text_of(told)
    assert (
        client.post(f"{at}members/{Grant.objects.get(user=cast.owner, domain=cast.domain).pk}/withdraw/").status_code
        == 404
    )
    assert enter("stranger").post(f"{at}members/{grant.pk}/withdraw/").status_code == 403
    assert client.post(f"{at}members/{grant.pk}/withdraw/")["Location"] == at
    assert enter("stranger").get(at).status_code == 404
    administrator = enter("administrator")
    assert administrator.post(f"{at}members/", form | {"role": str(above.pk)})["Location"] == at
    assert administrator.post(f"{at}members/{high.pk}/withdraw/")["Location"] == at
    assert set(Grant.objects.filter(project=shop).values_list("user__username", flat=True)) == {"owner", "stranger"}


@pytest.fixture
def used(shop: Project) -> MonthlyUse:
    Project.objects.filter(pk=shop.pk).update(name="=shop")
    other = Project.objects.create(name="other")
    MonthlyUse.objects.create(project=other, month=date(2025, 11, 1), seconds=3600)
    hour = {"vcpu_seconds": 7200, "memory_mib_seconds": 1024 * 3600, "disk_mib_seconds": 5 * 1024 * 3600}
    return MonthlyUse.objects.create(
        project=shop, month=date(2025, 11, 1), seconds=3600, gap_seconds=1800, partial_seconds=60, **hour
    )


def rows_of(client: Client, path: str) -> list[list[str]]:
    response = client.get(path)
    assert response.headers["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(response.content.decode())))


def test_members_read_what_their_project_used_and_nothing_else(cast: Cast, enter: Enter, used: MonthlyUse) -> None:
    member, administrator = enter("stranger"), enter("administrator")
    shown = text_of(member.get("/projects/usage/"))
    assert "=shop 2.0 1.0 5.0 66.6" in shown
    assert "other" not in shown.partition("Months begin")[0].rpartition("Known")[2]
    line = ["'=shop", "2025-11", "2.000", "1.000", "5.000", "1.000", "0.500", "0.017"]
    assert rows_of(member, "/projects/usage.csv?month=2025-11")[1:] == [line]
    assert rows_of(member, f"/projects/{used.project_id}/usage.csv")[1:] == [line]
    assert [row[0] for row in rows_of(administrator, "/projects/usage.csv")[1:]] == ["'=shop", "other"]
    assert rows_of(member, "/projects/usage.csv?month=2025-10")[1:] == []
    answer = member.get("/api/v1/projects/usage?month=2025-11").json()
    assert (answer["total"], answer["items"][0]["vcpu_hours"], answer["items"][0]["gap_hours"]) == (1, 2, 0.5)
    assert member.get("/api/v1/projects/usage?month=x").status_code == 422
    assert member.get(f"/api/v1/projects/{used.project_id}/usage").json()["total"] == 1
