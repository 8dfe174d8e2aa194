"""The wall of screens: what stands for each machine, who sees which picture, and what is fetched again."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import CustomRole, Definition, Domain, Grant, Host, HostState, Screen, Status


@pytest.fixture
def runs(cast: Cast) -> Domain:
    """The cast's machine, running, with a picture of its screen."""
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.RUNNING)
    Screen.objects.create(domain=cast.domain, png=b"page", small=b"wall", digest="abc", taken_at=timezone.now())
    return cast.domain


def tile(text: str, domain: Domain) -> str:
    found = re.search(rf'<li id="vm-{domain.pk}".*?</li>', text, re.DOTALL)
    assert found
    return found[0]


def test_the_way_of_looking_is_remembered_and_kept_by_filters(cast: Cast, enter: Enter) -> None:
    client = enter("viewer")
    assert 'class="wall"' not in client.get("/vms/").content.decode()
    assert 'class="wall"' in client.get("/vms/?view=wall").content.decode()
    assert 'class="wall"' in client.get("/vms/?q=web").content.decode()
    assert 'name="view" value="wall"' in client.get("/vms/?view=wall&q=web").content.decode()
    assert 'class="wall"' not in client.get("/vms/?view=list").content.decode()
    assert 'class="wall"' not in client.get("/vms/").content.decode()


def test_what_stands_for_a_machine(cast: Cast, enter: Enter, runs: Domain) -> None:
    client = enter("viewer")

    def shown() -> str:
        return tile(client.get("/vms/?view=wall").content.decode(), runs)

    assert f'data-screen="{runs.pk}"' in shown()
    assert f'href="/vms/{runs.pk}/console/"' in shown()
    assert "data-as-of hidden" in shown()
    Screen.objects.update(taken_at=timezone.now() - timedelta(hours=2))
    assert "data-as-of>as of" in shown()
    Definition.objects.create(domain=runs, inactive={"graphics": []}, inactive_xml="<domain/>", read_at=timezone.now())
    assert "It has no screen." in shown()
    Domain.objects.filter(pk=runs.pk).update(status=Status.SHUTOFF)
    assert "data-screen" not in shown()
    assert "/console/" not in shown()


def test_of_a_host_that_is_away_even_a_new_picture_says_when_it_was_taken(
    cast: Cast, enter: Enter, runs: Domain
) -> None:
    Host.objects.filter(pk=cast.host.pk).update(state=HostState.DOWN)
    shown = tile(enter("viewer").get("/vms/?view=wall").content.decode(), runs)
    assert "data-as-of data-stands>as of" in shown
    assert "/console/" not in shown


def test_whose_screen_one_may_not_see_says_so(cast: Cast, enter: Enter, runs: Domain) -> None:
    role = CustomRole.objects.create(name="Starter", kinds=["domain.start"])
    Grant.objects.create(user=cast.stranger, custom_role=role, domain=runs)
    client = enter("stranger")
    shown = tile(client.get("/vms/?view=wall").content.decode(), runs)
    assert "not shown to you" in shown
    assert "data-screen" not in shown
    assert client.get(f"/vms/{runs.pk}/screen.png?width=320").status_code == 403


def test_a_picture_comes_in_its_width_and_only_once(cast: Cast, enter: Enter, runs: Domain) -> None:
    client, address = enter("viewer"), f"/vms/{runs.pk}/screen.png"
    small, page = client.get(f"{address}?width=320"), client.get(address)
    assert (small.content, page.content) == (b"wall", b"page")
    assert small.headers["ETag"] != page.headers["ETag"]
    assert client.get(f"{address}?width=320", headers={"if-none-match": small.headers["ETag"]}).status_code == 304
    assert "no-store" in small.headers["Cache-Control"]
    Screen.objects.update(digest="def")
    assert client.get(f"{address}?width=320", headers={"if-none-match": small.headers["ETag"]}).status_code == 200
    assert client.get(f"{address}?width=321").status_code == 404
    assert enter("stranger").get(f"{address}?width=320").status_code == 404
