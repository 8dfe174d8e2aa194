"""Network filters' forms: what would change is shown before it is done."""

from __future__ import annotations

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Operation

JSON = {"accept": "application/json"}


def test_an_edit_shows_what_would_change(cast: Cast, enter: Enter) -> None:
    xml = cast.filter.xml.replace("chain='root'", "chain='ipv4'")
    answer = enter("administrator").post(f"/filters/{cast.filter.pk}/edit/", {"xml": xml, "plan": "1"}, headers=JSON)
    lines = answer.json()["diff"]
    assert "-<filter name='no-mail' chain='root'>" in lines
    assert "+<filter name='no-mail' chain='ipv4'>" in lines
    assert not Operation.objects.exists()


def test_an_edit_that_is_none_shows_nothing(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    form = {"xml": cast.filter.xml.replace("\n", "\r\n"), "plan": "1"}
    assert client.post(f"/filters/{cast.filter.pk}/edit/", form, headers=JSON).json()["diff"] == []


def test_what_is_no_filter_is_said_beside_its_field_and_kept(cast: Cast, enter: Enter) -> None:
    answer = enter("administrator").post(f"/hosts/{cast.host.pk}/create-filter/", {"xml": "<domain name='mine'/>"})
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "Not a filter" in text
    assert "&lt;domain name=&#39;mine&#39;/&gt;" in text


def test_deleting_leads_to_the_hosts_networks(cast: Cast, enter: Enter) -> None:
    form = {"confirm": cast.filter.name, "sure": "1"}
    answer = enter("administrator").post(f"/filters/{cast.filter.pk}/undefine/", form)
    assert answer.headers["Location"] == f"/hosts/{cast.host.pk}/networks/"


def test_what_is_too_long_is_not_compared(cast: Cast, enter: Enter) -> None:
    form = {"xml": "<filter name='no-mail'>" + "\n" * 2000 + "</filter>", "plan": "1"}
    answer = enter("administrator").post(f"/filters/{cast.filter.pk}/edit/", form, headers=JSON)
    assert answer.json()["diff"] == ["@ Too long to be compared."]
