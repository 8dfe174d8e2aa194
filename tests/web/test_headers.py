"""What every answer of every route carries, whoever asks, and what none tells to who is no administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.people import PASSWORD, Cast
from tests.test_permissions import ROUTES, World, unsent, world
from tests.web.conftest import Enter
from webvirt.models import Grant, Host, HostState, Operation, OperationState, Role

__all__ = ["unsent", "world"]

KEPT = ("jsi18n/", ".js", "screen.png")
"""What browsers may keep: the same for everybody, or asked for again with a time in its address."""
LIBVIRTS = "Cannot open /srv/vault/db.qcow2 at 203.0.113.77:16509 on kvm7.internal"
TELLING = ("/srv/vault", "203.0.113.77", "kvm7.internal", "Traceback")


def answers(world: World, who: str, *methods: str) -> Iterator[tuple[str, Any]]:
    """The answer of each route to each of the methods."""
    client = Client(raise_request_exception=False)
    for route, row in ROUTES.items():
        for method in methods:
            if who != "nobody" and settings.SESSION_COOKIE_NAME not in client.cookies:
                client.force_login(world.cast.who(who))
            path = world.path(route, row, own=True)
            yield f"{method} {route}", client.generic(method, path, content_type="application/json")
            if route == "logout/":
                client.cookies.clear()


@pytest.mark.parametrize("who", ["nobody", "administrator"])
def test_every_answer_of_every_route_carries_the_policies(world: World, who: str) -> None:
    wrong = []
    for asked, answer in answers(world, who, "GET", "POST"):
        policy = answer.get("Content-Security-Policy", "")
        missing = [
            name
            for name, holds in {
                "policy": "default-src 'none'" in policy and "frame-ancestors 'none'" in policy,
                "no inline": "unsafe" not in policy and "http://" not in policy.replace("http://testserver", ""),
                "frame": answer.get("X-Frame-Options") == "DENY",
                "sniffing": answer.get("X-Content-Type-Options") == "nosniff",
                "referrer": answer.get("Referrer-Policy") == "same-origin",
                "not kept": "no-store" in answer.get("Cache-Control", "") or any(part in asked for part in KEPT),
                "stays here": is_here(answer.get("Location", "/")),
                "cookies": all(is_strict(cookie) for cookie in answer.cookies.values()),
            }.items()
            if not holds
        ]
        if missing:
            wrong.append(f"{asked} ({answer.status_code}): {', '.join(missing)}")
    assert not wrong, "\n".join(wrong)


def is_here(location: str) -> bool:
    return location.startswith("/") and not location.startswith(("//", "/\\"))


def is_strict(cookie: Any) -> bool:
    lasts = cookie["max-age"] == 0 or cookie["httponly"]
    return bool(lasts and cookie["samesite"] in ("Lax", "Strict") and not cookie["domain"])


def test_the_sign_in_cookie_is_for_our_pages_alone(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        monkeypatch.setattr(settings, name, True)
    client = Client()
    client.get("/login/")
    answer = client.post("/login/", {"login": "owner", "password": PASSWORD})
    cookies = answer.cookies
    assert {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME} <= set(cookies)
    for cookie in cookies.values():
        assert cookie["httponly"]
        assert cookie["secure"]
        assert cookie["samesite"] in ("Lax", "Strict")
    assert cookies[settings.CSRF_COOKIE_NAME]["samesite"] == "Strict"


@pytest.mark.parametrize("who", ["owner", "operator", "viewer", "stranger"])
def test_no_route_repeats_libvirts_words_to_others(world: World, who: str) -> None:
    """The stranger watches the whole host: even so, its paths, its name and its address are none of theirs."""
    Grant.objects.create(user=world.cast.stranger, host=world.cast.host, role=Role.VIEWER)
    Operation.objects.update(
        state=OperationState.FAILED,
        error=LIBVIRTS,
        remedy="",
        virsh="virsh -c qemu+ssh://kvm7.internal/system start web-1",
    )
    Host.objects.update(
        state=HostState.DOWN,
        state_reason=LIBVIRTS,
        hostname="kvm7.internal",
        info={"hostname": "kvm7.internal"},
        trial=[{"key": "reach", "verdict": "fail", "found": LIBVIRTS}],
    )
    told = []
    for asked, answer in answers(world, who, "GET"):
        text = answer.content.decode(errors="replace")
        told += [f"{asked} ({answer.status_code}): {canary}" for canary in TELLING if canary in text]
    assert not told, "\n".join(told)


def test_administrators_read_them_whole(world: World) -> None:
    Operation.objects.update(state=OperationState.FAILED, error=LIBVIRTS)
    client = Client()
    client.force_login(world.cast.administrator)
    assert LIBVIRTS in client.get(f"/operations/{world.own['operation']}/").content.decode()


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
@pytest.mark.parametrize("referer", ["", "https://evil.example/"])
def test_no_form_leads_away(enter: Enter, cast: Cast, target: str, referer: str) -> None:
    client = enter("owner")
    headers = {"Referer": referer} if referer else {}
    answer = client.post(f"/vms/{cast.domain.pk}/start/", {"next": target}, headers=headers)
    assert answer.status_code == 302
    assert is_here(answer.headers["Location"])
