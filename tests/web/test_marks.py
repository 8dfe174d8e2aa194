"""Marks of operating systems: which letter and colour, and what they say to who cannot see them."""

from __future__ import annotations

import pytest

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Domain
from webvirt.web.marks import mark_of, os_mark


@pytest.mark.parametrize(
    ("system", "name", "mark"),
    [
        ("debian12", "", ("D", "os-debian", "Debian 12")),
        ("http://debian.org/debian/12", "", ("D", "os-debian", "Debian 12")),
        ("centos-stream9", "CentOS Stream 9", ("C", "os-centos", "CentOS Stream 9")),
        ("http://microsoft.com/win/11", "", ("W", "os-windows", "Windows 11")),
        ("win2k22", "", ("W", "os-windows", "Windows 2k22")),
        ("opensusetumbleweed", "openSUSE Tumbleweed", ("S", "os-suse", "openSUSE Tumbleweed")),
        ("olpc", "", ("O", "os-other", "olpc")),
        ("tux9", "Tux 9", ("T", "os-other", "Tux 9")),
        ("", "Own", ("O", "os-other", "Own")),
        ("", "", None),
    ],
)
def test_a_family_has_its_own(system: str, name: str, mark: tuple[str, str, str] | None) -> None:
    found = mark_of(system, name)
    assert (tuple(found) if found else None) == mark


def test_it_says_what_it_is_unless_that_stands_beside_it() -> None:
    assert 'role="img" aria-label="Debian 12"' in os_mark("debian12")
    assert 'aria-hidden="true"' in os_mark("debian12", says=False)
    assert "<script>" not in os_mark("x", '<script>"')


def test_machines_show_it(cast: Cast, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(os="http://ubuntu.com/ubuntu/24.04")
    text = enter("administrator").get("/vms/").content.decode()
    assert 'class="mark os-ubuntu" role="img" aria-label="Ubuntu 24.04"' in text
