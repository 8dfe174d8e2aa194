"""The one address that people type, and all that follows from it."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver

from tests.stack import PROJECT
from webvirt import publicurl


@pytest.mark.parametrize(
    ("typed", "origin", "path"),
    [
        ("https://vms.example.org", "https://vms.example.org", ""),
        ("https://vms.example.org/", "https://vms.example.org", ""),
        ("https://VMs.Example.org:443", "https://vms.example.org", ""),
        ("http://vms.example.org:80/", "http://vms.example.org", ""),
        ("https://vms.example.org:8443", "https://vms.example.org:8443", ""),
        ("http://vms.example.org:443", "http://vms.example.org:443", ""),
        ("https://example.org/webvirt/", "https://example.org", "/webvirt"),
        ("https://example.org/it/webvirt-2", "https://example.org", "/it/webvirt-2"),
        ("http://[FD00:0::1]:8000", "http://[fd00::1]:8000", ""),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000", ""),
        ("https://bücher.example", "https://xn--bcher-kva.example", ""),
    ],
)
def test_it_is_read_as_browsers_write_it(typed: str, origin: str, path: str) -> None:
    found = publicurl.read(typed)
    assert (found.origin, found.path) == (origin, path)
    assert publicurl.read(str(found)) == found


@pytest.mark.parametrize(
    "typed",
    [
        "vms.example.org",
        "ftp://vms.example.org",
        "https://",
        "https://*",
        "https://.example.org",
        "https://a b",
        "https://a;b",
        "https://ada@vms.example.org",
        "https://vms.example.org:0x50",
        "https://vms.example.org:99999",
        "https://vms.example.org/?a=b",
        "https://vms.example.org/#a",
        "https://vms.example.org/a/../b",
        "https://vms.example.org/a b",
        "https://vms.example.org/a;b",
        "https://vms.example.org/$uri",
        "https://vms.example.org/a//b",
        "https://vms.example.org/static",
        "https://vms.example.org/bytes/x",
        "http://[fd00::g]",
    ],
)
def test_what_is_no_address_of_a_site_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has) "):
        publicurl.read(typed)


def test_no_page_of_ours_can_be_taken_for_the_path() -> None:
    """The front takes the path off where it finds it: were it a page's, that page could not be asked for."""
    first = {str(pattern.pattern).partition("/")[0] for pattern in get_resolver().url_patterns}
    inner = {
        str(pattern.pattern).partition("/")[0]
        for resolver in get_resolver().url_patterns
        for pattern in getattr(resolver, "url_patterns", [])
        if str(resolver.pattern) == ""
    }
    assert first | inner | {"static", "ws", "bytes"} <= publicurl.OURS | {""}


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(PROJECT / "webvirt" / "settings.py"))


def test_all_follows_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(monkeypatch, WEBVIRT_PUBLIC_URL="https://vms.example.org:8443/")
    assert found["ALLOWED_HOSTS"] == ["127.0.0.1", "localhost", "vms.example.org"]
    assert found["SOCKET_ORIGINS"] == [
        "https://vms.example.org:8443",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
    ]
    assert found["CSRF_TRUSTED_ORIGINS"] == found["SOCKET_ORIGINS"]
    assert found["SESSION_COOKIE_SECURE"]
    assert found["CSRF_COOKIE_SECURE"]
    assert found["SESSION_COOKIE_NAME"] == "__Host-webvirt-8443-session"
    assert found["SECURE_HSTS_SECONDS"] > 0


def test_under_a_path_the_host_is_not_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(monkeypatch, WEBVIRT_PUBLIC_URL="https://example.org/webvirt")
    assert found["SOCKET_ORIGINS"][0] == "https://example.org"
    # A browser takes `__Host-` only for the whole host.
    assert found["SESSION_COOKIE_NAME"] == "__Secure-webvirt-session"
    assert found["SECURE_HSTS_SECONDS"] == 0


def test_without_it_we_are_where_we_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(monkeypatch, WEBVIRT_BIND="::1", WEBVIRT_PORT="8001")
    assert found["WEBVIRT_PUBLIC_URL"] == "http://[::1]:8001"
    assert "[::1]" in found["ALLOWED_HOSTS"]
    assert not found["SESSION_COOKIE_SECURE"]
    # Two installations on one machine do not sign each other's people out.
    assert found["SESSION_COOKIE_NAME"] == "webvirt-8001-session"


@pytest.mark.parametrize("typed", ["https://*", "nonsense", "https://example.org/static"])
def test_a_bad_one_stops_the_start_by_its_name(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^WEBVIRT_PUBLIC_URL (must|has) "):
        settings_of(monkeypatch, WEBVIRT_PUBLIC_URL=typed)
