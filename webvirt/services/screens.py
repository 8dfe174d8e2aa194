"""Pictures of guests' screens, in the widths that pages show: made once by who takes them, never by who asks."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from PIL import Image, ImageChops

from webvirt.models import Domain, Screen

PAGE_WIDTH = 800
WALL_WIDTH = 320
WIDTHS = {PAGE_WIDTH: "png", WALL_WIDTH: "small"}
"""Where a `Screen` has the picture of each width, in pixels."""
COLOURS = 64
OLD = timedelta(seconds=60)
"""A picture that was taken before that is told to be old."""
DOT = (8, 8)
"""As large as a text cursor and the letter beside it are at the most, in the pixels of an outline."""


@dataclass(frozen=True)
class Pictures:
    """One screen in all widths, as PNG. `digest` tells it from others, whatever its width."""

    digest: str
    page: bytes
    wall: bytes


def digest_of(png: bytes) -> str:
    return hashlib.blake2b(png, digest_size=8).hexdigest()


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def pictures_of(png: bytes, whole: Image.Image) -> Pictures:
    """The screen as a host sent it, made smaller: the small one with few colours, since a wall has many of them."""
    page = png if whole.width <= PAGE_WIDTH else packed(narrowed(whole, PAGE_WIDTH))
    return Pictures(digest_of(png), page, packed(narrowed(whole, WALL_WIDTH).quantize(COLOURS)))


def narrowed(picture: Image.Image, width: int) -> Image.Image:
    """A copy that is at most so wide, its shape kept."""
    copy = picture.copy()
    # By its width alone, however high it is.
    copy.thumbnail((width, width * 10), reducing_gap=2.0)
    return copy


def packed(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def outline_of(whole: Image.Image) -> Image.Image:
    """What two screens are compared by: small, and grey."""
    return narrowed(whole, WALL_WIDTH).convert("L")


def differ_by_a_dot(before: Image.Image, after: Image.Image) -> bool:
    """Whether two outlines differ by no more than a cursor that blinks."""
    if before.size != after.size:
        return False
    box = ImageChops.difference(before, after).getbbox()
    return box is None or (box[2] - box[0] <= DOT[0] and box[3] - box[1] <= DOT[1])


class Kept(NamedTuple):
    """A picture as it is kept: its bytes, what tells it from others (an ETag), when it was last found to be true."""

    png: bytes
    etag: str
    taken_at: datetime


def kept(domain: Domain, width: int = PAGE_WIDTH) -> Kept | None:
    """The last picture of a guest's screen, in one of the widths of WIDTHS; None where there is none."""
    found = Screen.objects.filter(domain=domain).values_list(WIDTHS[width], "digest", "taken_at").first()
    if found is None or not found[0]:
        return None
    png, digest, taken_at = found
    return Kept(bytes(png), f'"{digest}-{width}"', taken_at)


def is_old(taken_at: datetime) -> bool:
    return timezone.now() - taken_at > OLD
