"""Behind another front: the whole site under a path of its own, and what it says where the settings do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import lxml.html
import pytest
from django.conf import settings
from django.test import Client
from django.urls import Resolver404, resolve

from tests.browser.seeded import PAGES
from tests.people import PASSWORD, Cast, make_user
from tests.seed import seed
from tests.stack import PROJECT
from tests.web.conftest import Enter
from webvirt import publicurl
from webvirt.models import Grant, Role

PATH = "/it/webvirt"
MORE = ("/vms/5/console/", "/vms/5/console/window/", "/networks/drawing/", "/pools/1/upload-volume/", "/api/v1/docs")
FOR_SCRIPTS = ("/palette/?q=", "/palette/?q=web", "/vms/5/menu/", "/operations/?ids=1,2,3", "/operations/1/")
SENT_BACK = {"value"}
"""Attributes with addresses that come back to us in forms, as we write them."""


@pytest.fixture
def under_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PUBLIC_URL", publicurl.read(f"https://example.org{PATH}"))


def is_ours(address: str) -> bool:
    """Whether one gets there without the path: then it leads out of it."""
    path = urlsplit(address).path
    if not address.startswith("/") or address.startswith("//"):
        return False
    try:
        resolve(path)
    except Resolver404:
        return path.startswith(("/static/", "/ws/"))
    return True


def addresses_in(page: str) -> Iterator[tuple[str, str]]:
    """Every attribute that may hold an address, with the address."""
    for element in lxml.html.fromstring(page).iter("*"):
        for name, value in zip(map(str, element.keys()), map(str, element.values()), strict=True):
            for part in re.split(r"[\s;,]*(?:url=)?", value) if name in ("content", "srcset") else [value]:
                yield f"<{element.tag} {name}>", part


def strings_in(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        for part in found.values():
            yield from strings_in(part)
    elif isinstance(found, list):
        for part in found:
            yield from strings_in(part)


def test_no_page_leads_out_of_the_path(db: None, under_path: None) -> None:
    seed(4, 40, odd=True)
    ada = make_user("ada")
    Grant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    client = Client()
    client.force_login(ada)
    wrong, right = set(), 0
    for page in (*PAGES, *MORE):
        response = client.get(page)
        assert response.status_code in (200, 302, 404), page
        assert response.headers.get("Location", PATH).startswith(PATH), page
        for where, address in addresses_in(response.content.decode() or "<p>"):
            if is_ours(address) and not any(f" {name}>" in where for name in SENT_BACK):
                wrong.add(f"{where} of {page}: {address}")
            if address.startswith(f"{PATH}/"):
                right += 1
                if not is_ours(address.removeprefix(PATH)):
                    wrong.add(f"{where} of {page}: {address} leads nowhere")
    for address in FOR_SCRIPTS:
        response = client.get(address, headers={"Accept": "application/json"})
        assert response.status_code == 200, address
        told = list(strings_in(json.loads(response.content)))
        wrong |= {f"{address} tells {text}" for text in told if is_ours(text)}
        right += sum(text.startswith(f"{PATH}/") for text in told)
    assert not wrong, "\n".join(sorted(wrong))
    assert right > 1000


def test_scripts_ask_under_the_path() -> None:
    """An address that a script writes itself goes through `ours` or `ourSocket`."""
    bare = [
        f"{script.name}: {line.strip()}"
        for script in (PROJECT / "static" / "js").glob("*.js")
        for line in script.read_text().splitlines()
        if not line.lstrip().startswith(("//", "/*", "*"))
        if re.search(r"""(?<!ours\()(?<!ourSocket\()["'`]/(?!["'`/])""", line.partition("// ")[0])
    ]
    assert bare == []


def test_what_a_script_is_told_is_under_the_path(under_path: None, enter: Enter, cast: Cast) -> None:
    client = enter("administrator")
    answer = client.post(f"/vms/{cast.domain.pk}/start/", headers={"Accept": "application/json"})
    told = answer.json()
    assert answer.status_code == 202
    assert told["url"] == f"{PATH}/operations/{told['id']}/"
    assert told["target_url"] == f"{PATH}/vms/{cast.domain.pk}/"
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_signing_in_leads_back_under_the_path(under_path: None, cast: Cast) -> None:
    client = Client()
    asked = client.get("/vms/?q=web")
    assert asked.headers["Location"] == f"{PATH}/login/?next=/vms/%3Fq%3Dweb"
    page = client.get("/login/?next=/vms/%3Fq%3Dweb").content.decode()
    assert f'action="{PATH}/login/"' in page
    done = client.post("/login/", {"login": "owner", "password": PASSWORD, "next": "/vms/?q=web"})
    assert done.headers["Location"] == f"{PATH}/vms/?q=web"
    assert {cookie["path"] for cookie in done.cookies.values()} == {f"{PATH}/"}


def test_text_that_looks_like_an_address_stays_as_it_is(under_path: None, enter: Enter, cast: Cast) -> None:
    text = ' href="/vms/" "url": "/vms/" '
    type(cast.domain).objects.filter(pk=cast.domain.pk).update(title=text)
    client = enter("administrator")
    page = lxml.html.fromstring(client.get(f"/vms/{cast.domain.pk}/").content.decode())
    assert text.strip() in "".join(map(str, page.itertext()))
    told = client.get("/palette/?q=web", headers={"Accept": "application/json"}).content.decode()
    assert json.loads(told)


def test_at_the_root_nothing_is_touched(enter: Enter) -> None:
    assert b'href="/vms/"' in enter("administrator").get("/").content


# --- where the settings do not fit


def test_another_host_is_told_which_setting_without_naming_any(client: Client) -> None:
    response = client.get("/login/", HTTP_HOST="inside-7.example.internal:8000")
    text = response.content.decode()
    assert response.status_code == 400
    assert "WEBVIRT_PUBLIC_URL" in text
    assert "inside-7" not in text
    assert settings.PUBLIC_URL.host not in text


@pytest.mark.parametrize(
    ("origin", "more", "told"),
    [
        # TLS is ended in front, and the setting says http.
        ("https://testserver", {}, "https://testserver"),
        # Another port was typed, and the proxy in front does not hand it on.
        ("https://testserver:8443", {"Sec-Fetch-Site": "same-origin"}, "https://testserver:8443"),
        ("https://evil.example", {}, ""),
        ("https://evil.example", {"Sec-Fetch-Site": "cross-site"}, ""),
        ("null", {"Sec-Fetch-Site": "cross-site"}, ""),
        ("", {}, ""),
    ],
)
def test_a_refused_form_says_which_setting_to_change_to_what(
    db: None, origin: str, more: dict[str, str], told: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/login/", {"login": "a", "password": "b"}, headers={"Origin": origin} | more)
    text = response.content.decode()
    assert response.status_code == 403
    assert ("set WEBVIRT_PUBLIC_URL to it" in text) == bool(told)
    if told:
        assert f"and {told} is the address" in text
    assert "evil.example" not in text


def test_the_bar_tells_administrators_what_to_set_and_others_whom_to_tell(enter: Enter) -> None:
    def bar(who: str) -> str:
        page = lxml.html.fromstring(enter(who).get("/me/").content.decode())
        (found,) = [element for element in page.iter("div") if element.get("id") == "elsewhere"]
        assert str(found.get("data-origins")).split() == settings.SOCKET_ORIGINS
        assert "hidden" in found.attrib
        return "".join(map(str, found.itertext()))

    assert "WEBVIRT_PUBLIC_URL=" in bar("administrator")
    assert "WEBVIRT" not in bar("owner")
