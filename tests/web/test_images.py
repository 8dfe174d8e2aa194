"""The image library: what is in it for whom, searched, filtered, sorted and paged, and as cheap for ten thousand."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.people import Cast, make_host, make_pool, make_volume
from tests.web.conftest import Enter
from webvirt.models import DiskUse, Grant, Host, HostState, Pool, PoolStatus, Role, Volume

HOSTILE = "<img src=x onerror=alert(1)>"
DIGEST = "0123456789abcdef" * 4


def names(text: str) -> list[str]:
    return re.findall(r'<a class="main-link" href="/volumes/\d+/">([^<]+)<', text)


@pytest.fixture
def library(cast: Cast) -> Host:
    """Four images on two hosts, and a machine's own disk; returns the second host."""
    omega = make_host("omega", hostname="o")
    isos, other = make_pool(cast.host, "isos", 2), make_pool(omega, "images", 3)
    DiskUse.objects.create(domain=cast.domain, slot="vda", path=cast.volume.path)
    make_volume(isos, "debian-12.iso", format="iso", os="debian12", os_name="Debian 12", capacity=2**29, sha256=DIGEST)
    make_volume(isos, "cidata.iso", format="iso", capacity=2**20)
    make_volume(other, "cloud-fedora.qcow2", os="fedora40", os_name="Fedora Linux 40", capacity=5 * 2**30)
    make_volume(other, "template.img", format="raw", capacity=2**30)
    return omega


def test_search_filters_and_order(library: Host, enter: Enter) -> None:
    client = enter("administrator")
    everything = ["cidata.iso", "cloud-fedora.qcow2", "debian-12.iso", "template.img"]
    expected = {
        "": everything,
        "?sort=-name": everything[::-1],
        "?sort=-size": ["cloud-fedora.qcow2", "template.img", "debian-12.iso", "cidata.iso"],
        "?sort=-os": ["cloud-fedora.qcow2", "debian-12.iso", "cidata.iso", "template.img"],
        "?sort=rubbish": everything,
        "?q=debian": ["debian-12.iso"],
        "?q=linux": ["cloud-fedora.qcow2"],
        "?kind=iso": ["cidata.iso", "debian-12.iso"],
        "?kind=disk": ["cloud-fedora.qcow2", "template.img"],
        "?kind=rubbish": everything,
        "?os=fedora40": ["cloud-fedora.qcow2"],
        "?os=-": ["cidata.iso", "template.img"],
        "?os=nothing": [],
        f"?host={library.pk}": ["cloud-fedora.qcow2", "template.img"],
        f"?host={library.pk}&kind=iso": [],
        "?host=999": [],
        "?host=x": [],
    }
    for address, found in expected.items():
        assert names(client.get(f"/images/{address}").content.decode()) == found, address


def test_each_says_what_where_and_for_whom(library: Host, enter: Enter, cast: Cast) -> None:
    disc = Volume.objects.get(name="debian-12.iso")
    DiskUse.objects.create(domain=cast.other, slot="sda", device="cdrom", path=disc.path)
    DiskUse.objects.create(domain=cast.domain, slot="sda", device="cdrom", path=disc.path)
    text = enter("administrator").get("/images/?q=debian").content.decode()
    row = text[text.index(f'id="image-{disc.pk}"') : text.index("</tr>", text.index(f'id="image-{disc.pk}"'))]
    for part in ("Debian 12", ">D<", "ISO", "512", "isos", "alpha", "db-1", "+1", f'data-copy="{DIGEST}"'):
        assert part in row, part
    assert f">{DIGEST[:10]}<" in row
    assert "1 image<" in text


def test_one_sees_the_images_of_the_hosts_one_may_know_of(library: Host, enter: Enter, cast: Cast) -> None:
    assert names(enter("owner").get("/images/").content.decode()) == []
    assert "No images yet" in enter("stranger").get("/images/").content.decode()
    Grant.objects.create(user=cast.viewer, host=library, role=Role.VIEWER)
    text = enter("viewer").get("/images/").content.decode()
    assert names(text) == ["cloud-fedora.qcow2", "template.img"]
    assert "debian" not in text.lower()


def test_what_is_gone_is_left_out_and_what_cannot_be_reached_is_greyed(library: Host, enter: Enter) -> None:
    client = enter("administrator")
    Volume.objects.filter(name="cidata.iso").update(missing_since=timezone.now())
    Pool.objects.filter(name="images", host=library).update(status=PoolStatus.INACTIVE)
    text = client.get("/images/").content.decode()
    assert "cidata.iso" not in text
    assert text.count('class="stale"') == 2
    Host.objects.update(state=HostState.DOWN, seen_at=timezone.now() - timedelta(hours=1))
    assert client.get("/images/").content.decode().count('class="stale"') == 3


def test_an_empty_library_teaches(cast: Cast, enter: Enter) -> None:
    Volume.objects.all().delete()
    text = enter("administrator").get("/images/").content.decode()
    assert "No images yet" in text
    assert "virsh pool-refresh" in text
    assert 'href="/pools/"' in text
    assert "Show all images" in enter("administrator").get("/images/?q=x").content.decode()


def test_what_a_disc_says_of_itself_is_text(cast: Cast, enter: Enter) -> None:
    Volume.objects.update(name=HOSTILE, os=HOSTILE, os_name=HOSTILE, format="iso")
    Pool.objects.update(name=HOSTILE)
    for address in ("/images/", f"/volumes/{cast.volume.pk}/"):
        assert HOSTILE not in enter("administrator").get(address).content.decode(), address


def test_a_volumes_page_tells_system_and_checksum(library: Host, enter: Enter) -> None:
    disc = Volume.objects.get(name="debian-12.iso")
    Volume.objects.filter(pk=disc.pk).update(sha256_at=timezone.now() - timedelta(hours=3))
    text = enter("administrator").get(f"/volumes/{disc.pk}/").content.decode()
    for part in ("Debian 12", DIGEST, "3 h ago", "Compute the checksum"):
        assert part in text, part
    plain = Volume.objects.get(name="template.img")
    assert "SHA-256" not in enter("administrator").get(f"/volumes/{plain.pk}/").content.decode()


def test_ten_thousand_volumes_are_paged_in_few_queries(library: Host, enter: Enter, cast: Cast) -> None:
    pool = make_pool(cast.host, "many", 9)
    new = (
        Volume(
            pool=pool,
            name=f"v-{number:05d}",
            path=f"/many/{number}",
            format="qcow2",
            capacity=2**30,
            read_at=timezone.now(),
            os=f"debian{number % 9}",
            os_name=f"Debian {number % 9}",
        )
        for number in range(10_000)
    )
    Volume.objects.bulk_create(new, batch_size=500)
    DiskUse.objects.bulk_create(
        DiskUse(domain=cast.domain, slot=f"d{number}", path=f"/many/{number}") for number in range(5000)
    )
    client = enter("administrator")
    client.get("/images/")
    with CaptureQueriesContext(connection) as queries:
        text = client.get("/images/?q=v-&sort=-name").content.decode()
    assert (len(names(text)), names(text)[0]) == (50, "v-09999")
    assert "5,000 images" in text
    assert len(queries) <= 12
    assert len(text) < 120_000
    assert names(client.get("/images/?q=v-&page=100").content.decode())[-1] == "v-09999"
