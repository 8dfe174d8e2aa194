"""The catalogue of cloud images: what may stand in it, where its images are, and what lists of checksums tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.people import Cast, make_host, make_pool, make_volume
from tests.services.conftest import FakeHost
from webvirt.models import CloudImage, Grant, Role, Volume
from webvirt.services import cloudimages
from webvirt.services.access import access_of
from webvirt.services.cloudimages import MOST_TEXT, checksum_in
from webvirt.services.fetching import check_url
from webvirt.services.operations import Invalid

ONE, TWO, LONG = "1" * 64, "2" * 64, "ab" * 64
URL = "https://images.example.org/tux-9.qcow2"
TUX: dict[str, Any] = {"name": "Tux 9", "os": "tux9", "url": URL, "user": "tux"}

FEDORA = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2: 583532544 bytes
SHA256 (Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2) = {ONE}
- SHA256 (-rf.qcow2) = {TWO}
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEE{TWO}
{TWO}  Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2
-----END PGP SIGNATURE-----
"""


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        (f"{ONE}  a.img\n{TWO}  b.img\n", "b.img", TWO),
        (f"{ONE} *a.img\r\n{TWO} *b.img\r\n", "a.img", ONE),
        (f"{LONG}  a.img", "a.img", LONG),
        (f"{ONE}  ./a.img", "a.img", ONE),
        (f"{ONE.upper().replace('1', 'A')}  a.img", "a.img", "a" * 64),
        (f"SHA256 (a.img) = {ONE}", "a.img", ONE),
        (f"SHA512 (a.img) = {LONG}", "a.img", LONG),
        (f"SHA256(a (1).img)= {ONE}", "a (1).img", ONE),
        (f"# a.img: 1 byte\n\n{ONE}  a.img", "a.img", ONE),
        (f"{ONE}\n", "whatever.img", ONE),
        (f"{ONE}  a.img\n{LONG}  a.img", "a.img", LONG),
        (f"{ONE}  a.img\n{ONE}  a.img", "a.img", ONE),
        (FEDORA, "Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2", ONE),
        (FEDORA, "-rf.qcow2", TWO),
    ],
)
def test_the_usual_lists(text: str, name: str, found: str) -> None:
    assert checksum_in(text, name) == found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "a.img"),
        (f"{ONE}  b.img", "a.img"),
        (f"{ONE}  dir/a.img", "a.img"),
        (f"{ONE}  a.img.zst", "a.img"),
        (f"{ONE}  A.IMG", "a.img"),
        (f"{ONE} a.img", "a.img"),
        (f"\\{ONE}  a.img", "a.img"),
        (f"{ONE[1:]}  a.img", "a.img"),
        (f"{ONE}1  a.img", "a.img"),
        (f"{'1' * 32}  a.img", "a.img"),
        (f"{'g' * 64}  a.img", "a.img"),
        (f"MD5 (a.img) = {ONE}", "a.img"),
        (f"SHA512 (a.img) = {ONE}", "a.img"),
        (f"SHA256 (a.img) = {LONG}", "a.img"),
        (f"{ONE}  a.img\n{TWO}  a.img", "a.img"),
        (f"{ONE}\n{TWO}", "a.img"),
        (f"<html>{ONE}  a.img</html>", "a.img"),
        (f"# {ONE}  a.img", "a.img"),
        (f"{ONE}  a.img".ljust(MOST_TEXT + 1), "a.img"),
        ("-----BEGIN PGP SIGNED MESSAGE-----", "a.img"),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: {ONE}  a.img", "a.img"),
        (FEDORA.replace(ONE, "x"), "Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2"),
        ("SHA256 (" + ")" * 200_000, "a.img"),
    ],
)
def test_what_tells_nothing_for_sure(text: str, name: str) -> None:
    assert checksum_in(text, name) == ""


def test_a_list_of_one_file_alone_may_call_it_otherwise() -> None:
    assert checksum_in(f"{ONE}  a-build7.img", "a.img", alone=True) == ONE
    assert checksum_in(f"{ONE}  a-build7.img\n{TWO}  a.img", "a.img", alone=True) == TWO
    assert checksum_in(f"{ONE}  b.img\n{TWO}  c.img", "a.img", alone=True) == ""


# --- the list


def test_what_is_kept_of_an_image(cast: Cast) -> None:
    image = cloudimages.add(TUX | {"checksum_url": f"{URL}.sha256", "position": 3})
    kept = CloudImage.objects.get(pk=image.pk)
    assert (kept.name, kept.os, kept.arch, kept.url) == ("Tux 9", "tux9", "x86_64", URL)
    assert (kept.user, kept.checksum_url, kept.position, kept.enabled) == ("tux", f"{URL}.sha256", 3, True)
    cloudimages.change(kept, TUX | {"name": "Tux", "checksum": ONE, "enabled": False})
    kept.refresh_from_db()
    assert (kept.name, kept.checksum, kept.checksum_url, kept.position, kept.enabled) == ("Tux", ONE, "", 0, False)
    cloudimages.remove(kept)
    assert not CloudImage.objects.filter(url=URL).exists()


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"name": " "}, "name", "at least 1 character"),
        ({"name": "a\nb"}, "name", "one line"),
        ({"url": "file:///etc/passwd"}, "url", "must begin with https"),
        ({"url": "https://me:secret@example.org/a"}, "url", "user or a password"),
        ({"checksum_url": "gopher://x/"}, "checksum_url", "must begin with https"),
        ({"checksum": "abc"}, "checksum", "64 hexadecimal digits"),
        ({"checksum": ONE, "checksum_url": f"{URL}.sha256"}, "", "not both"),
        ({"os": "Debian 12"}, "os", "short id of osinfo"),
        ({"arch": ""}, "arch", "architecture"),
        ({"user": "a b"}, "user", "Unix user"),
        ({"position": -1}, "position", "greater than or equal"),
        ({"secret": "x"}, "secret", "not permitted"),
    ],
)
def test_what_is_wrong_is_said_field_by_field(cast: Cast, wrong: dict[str, Any], field: str, words: str) -> None:
    before = CloudImage.objects.count()
    with pytest.raises(Invalid) as caught:
        cloudimages.add(TUX | wrong)
    assert words in caught.value.fields[field]
    assert CloudImage.objects.count() == before


def test_an_address_stands_in_the_list_once(cast: Cast) -> None:
    first = cloudimages.add(TUX)
    with pytest.raises(Invalid) as caught:
        cloudimages.add(TUX | {"name": "Again"})
    assert "already" in caught.value.fields["url"]
    cloudimages.change(first, TUX | {"name": "Still the same"})


def test_the_list_begins_with_what_makers_publish(cast: Cast) -> None:
    seeded = list(CloudImage.objects.all())
    assert {"debian13", "ubuntu24.04", "almalinux9", "rocky9", "archlinux"} <= {image.os for image in seeded}
    fields = ("name", "os", "arch", "url", "checksum_url", "checksum", "user", "position", "enabled")
    for image in seeded:
        assert image.url.startswith("https://")
        assert image.checksum_url.startswith("https://")
        assert check_url(image.url)
        assert image.user
        # What was seeded is what an administrator could have typed.
        cloudimages.change(image, {name: getattr(image, name) for name in fields})


def test_what_is_switched_off_administrators_alone_see(cast: Cast) -> None:
    CloudImage.objects.all().delete()
    cloudimages.add(TUX | {"enabled": False})
    cloudimages.add(TUX | {"name": "Other", "os": "penguin1", "url": f"{URL}.2"})
    administrator, viewer = access_of(cast.administrator), access_of(cast.viewer)
    assert [image.name for image in cloudimages.images_for(administrator)] == ["Other", "Tux 9"]
    assert [image.name for image in cloudimages.images_for(viewer)] == ["Other"]
    assert [image.name for image in cloudimages.images_for(administrator, "TUX")] == ["Tux 9"]
    assert [image.name for image in cloudimages.images_for(administrator, "penguin")] == ["Other"]


@pytest.mark.parametrize(
    ("change", "there"),
    [
        (lambda volume, image: None, True),
        (lambda volume, image: Volume.objects.update(source_url=""), False),
        (lambda volume, image: Volume.objects.update(missing_since=volume.read_at), False),
        (lambda volume, image: CloudImage.objects.filter(pk=image.pk).update(url=f"{URL}.new"), False),
    ],
)
def test_a_pool_has_an_image_where_a_volume_came_from_it(
    cast: Cast, change: Callable[[Volume, CloudImage], object], there: bool
) -> None:
    image = cloudimages.add(TUX)
    Volume.objects.filter(pk=cast.volume.pk).update(source_url=URL)
    change(cast.volume, image)
    image.refresh_from_db()
    assert cloudimages.volume_of(cast.pool, image) == (cast.volume if there else None)
    assert cloudimages.volume_of(make_pool(cast.host, "other", 9), image) is None


def test_an_image_that_is_only_being_fetched_is_not_there(alpha: FakeHost) -> None:
    image = cloudimages.add(TUX)
    operation = alpha.ask("pool.refresh", alpha.pool)
    Volume.objects.update(source_url=URL, making=operation)
    assert cloudimages.volume_of(alpha.pool, image) is None


def test_of_pools_one_may_not_know_of_nothing_is_told(cast: Cast) -> None:
    image = cloudimages.add(TUX)
    Volume.objects.filter(pk=cast.volume.pk).update(source_url=URL)
    beta = make_host("beta", hostname="b")
    other = make_volume(make_pool(beta, "images", 9), "tux.qcow2", source_url=URL)
    assert cloudimages.volumes_of(access_of(cast.administrator), [image]) == {URL: [cast.volume, other]}
    assert cloudimages.volumes_of(access_of(cast.viewer), [image]) == {}
    Grant.objects.create(user=cast.viewer, host=beta, role=Role.VIEWER)
    assert cloudimages.volumes_of(access_of(cast.viewer), [image]) == {URL: [other]}
