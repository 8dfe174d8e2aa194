"""The catalogue of cloud images: what is kept of them, in which pools they are, and what lists of checksums say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Self

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webvirt import bus
from webvirt.models import CloudImage, Pool, Volume
from webvirt.services import audit
from webvirt.services.access import Access
from webvirt.services.catalogue.specs import Spec, one_line
from webvirt.services.catalogue.volumes import WebAddress, address, demand_one_checksum, either_checksum
from webvirt.services.images import from_the_web
from webvirt.services.operations import Invalid, parsed

MOST_POSITION = 32_767

# --- the list


def system(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9._-]{0,64}", text):
        raise ValueError("is a short id of osinfo, such as debian12")
    return text


def architecture(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,16}", text):
        raise ValueError("is an architecture, such as x86_64")
    return text


def unix_user(text: str) -> str:
    if not re.fullmatch(r"([a-z_][a-z0-9_-]{0,31})?", text):
        raise ValueError("is the name of a Unix user, such as debian")
    return text


class CloudImageSpec(Spec):
    """What administrators keep of an image. `checksum_url` is a list of checksums, `checksum` a fixed one."""

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(one_line)
    ]
    os: Annotated[str, AfterValidator(system)] = ""
    arch: Annotated[str, AfterValidator(architecture)] = "x86_64"
    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(address)]
    checksum_url: WebAddress = ""
    checksum: Annotated[str, AfterValidator(either_checksum)] = ""
    user: Annotated[str, AfterValidator(unix_user)] = ""
    position: Annotated[int, Field(ge=0, le=MOST_POSITION)] = 0
    enabled: bool = True

    @model_validator(mode="after")
    def one_checksum(self) -> Self:
        demand_one_checksum(self.checksum, self.checksum_url)
        return self


def images_for(access: Access, text: str = "") -> QuerySet[CloudImage]:
    """The images that a person is offered (administrators see all), with a text in the name or the system's id."""
    found = CloudImage.objects.filter(Q(name__icontains=text) | Q(os__icontains=text))
    return found if access.is_administrator else found.filter(enabled=True)


def add(parameters: dict[str, Any]) -> CloudImage:
    """Add an image. Raises Invalid with a sentence for each wrong field."""
    return keep(CloudImage(), parameters)


def change(image: CloudImage, parameters: dict[str, Any]) -> CloudImage:
    """Make of an image what is said of it, all of it. Raises Invalid."""
    return keep(image, parameters)


def keep(image: CloudImage, parameters: dict[str, Any]) -> CloudImage:
    spec = parsed(CloudImageSpec, parameters)
    event = "cloud_image.change" if image.pk else "cloud_image.add"
    with audit.writing():
        if CloudImage.objects.filter(url=spec.url).exclude(pk=image.pk).exists():
            raise Invalid({"url": _("An image of this address is in the list already.")})
        for name, value in spec.model_dump().items():
            setattr(image, name, value)
        image.save()
        audit.note(event, image, details=spec.model_dump())
        bus.announce(["images"])
    return image


def remove(image: CloudImage) -> None:
    """Take an image off the list; volumes that came from it stay."""
    with audit.writing():
        audit.note("cloud_image.remove", image, details={"url": image.url})
        image.delete()
        bus.announce(["images"])


# --- in pools


def volume_of(pool: Pool, image: CloudImage) -> Volume | None:
    """The volume in a pool that holds an image as it was fetched; None where there is none that is whole."""
    return from_the_web(Volume.objects.filter(pool=pool), [image.url]).first()


def volumes_of(access: Access, images: Iterable[CloudImage]) -> dict[str, list[Volume]]:
    """By the address of an image, the volumes that hold it as it was fetched, pools and hosts joined."""
    found: dict[str, list[Volume]] = defaultdict(list)
    urls = [image.url for image in images]
    for volume in from_the_web(access.volumes(), urls).order_by("pool__name", "pool__host__name", "pk"):
        found[volume.source_url].append(volume)
    return found


# --- lists of checksums

MOST_TEXT = 2**20
"""Characters of a list of checksums; longer ones are none."""
HASH = r"[0-9a-f]{64}|[0-9a-f]{128}"
BARE = re.compile(rf"({HASH})", re.IGNORECASE | re.ASCII)
COREUTILS = re.compile(rf"({HASH}) [ *](?:\./)?(\S.*)", re.IGNORECASE | re.ASCII)
BSD = re.compile(rf"SHA(256|512) ?\((?:\./)?(.+)\) ?= ?({HASH})", re.IGNORECASE | re.ASCII)
SIGNED, SIGNATURE = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"


def checksum_in(text: str, file_name: str, *, alone: bool = False) -> str:
    """The checksum (SHA-256 or SHA-512, hexadecimal) that a list tells of a file; the longer one if it tells both.

    Empty where it tells none, or two of a kind. `alone`: the list is of one file, and tells it by whatever name.
    """
    if len(text) > MOST_TEXT:
        return ""
    lines = [line.strip() for line in signed_part(text)]
    said = [line for line in lines if line and not line.startswith("#")]
    if len(said) == 1 and BARE.fullmatch(said[0]):
        return said[0].lower()
    entries = set(entries_in(said))
    names = {name for name, _digest in entries}
    wanted = names if alone and len(names) == 1 else {file_name}
    for length in (128, 64):
        digests = {digest for name, digest in entries if name in wanted and len(digest) == length}
        if digests:
            return digests.pop() if len(digests) == 1 else ""
    return ""


def entries_in(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and checksums, of the lines that tell any."""
    for line in lines:
        if found := COREUTILS.fullmatch(line):
            yield found[2], found[1].lower()
        elif (found := BSD.fullmatch(line)) and len(found[3]) * 4 == int(found[1]):
            yield found[2], found[3].lower()


def signed_part(text: str) -> list[str]:
    """The lines of a text; of one that is signed in the clear (PGP) those that are, of which we know no keys."""
    lines = text.splitlines()
    if SIGNED not in lines:
        return lines
    rest = lines[lines.index(SIGNED) + 1 :]
    # After a few headers there is an empty line.
    start = rest.index("") + 1 if "" in rest else len(rest)
    end = rest.index(SIGNATURE) if SIGNATURE in rest else len(rest)
    return [line.removeprefix("- ") for line in rest[start:end]]
