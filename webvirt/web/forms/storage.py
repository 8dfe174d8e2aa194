"""Forms of pools' and volumes' verbs."""

from __future__ import annotations

import re

from django.http import QueryDict

from webvirt.hypervisor.pool_rules import KINDS
from webvirt.hypervisor.types import PoolType, Preallocation
from webvirt.models import Host, Pool, Volume
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.placement import pools_to_fill
from webvirt.services.subjects import Subject, host_of
from webvirt.services.uses import FOR_VOLUMES
from webvirt.web.forms.form import Form, Values, filled, number, text, words
from webvirt.web.forms.within import Within
from webvirt.web.kinds import pool_types

UNITS = {"MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
CREATE_POOL = (
    "target_path",
    "source_host",
    "source_port",
    "source_path",
    "source_name",
    "source_format",
    "auth_user",
    "auth_secret",
)


def size(given: QueryDict, key: str) -> int | str:
    """A size typed as a number with a unit beside it, in bytes; or what was typed, for the verb to refuse."""
    return size_of(text(given, key), given.get(f"{key}_unit", ""))


def size_of(typed: str, unit: str) -> int | str:
    """The same of a number and a unit."""
    typed = typed.replace(",", ".")
    if not re.fullmatch(r"\d{1,15}(\.\d{1,6})?", typed):
        return typed
    return int(float(typed) * UNITS.get(unit, 1))


def size_typed(size: int) -> tuple[str, str]:
    """The inverse: a number and its unit, as one would type it."""
    unit = next((unit for unit in ("TiB", "GiB") if size and size % UNITS[unit] == 0), "MiB")
    return str(round(size / UNITS[unit], 3)).removesuffix(".0"), unit


def start_create_pool(host: Host) -> Values:
    empty = dict.fromkeys((*CREATE_POOL, "source_devices"), "")
    return empty | {
        "name": "",
        "type": "dir",
        "target_path": "/var/lib/libvirt/images",
        "build": "on",
        "autostart": "on",
    }


def create_pool(given: QueryDict) -> Values:
    """Only the fields of the chosen type are sent: those of the others are switched off in the browser."""
    found: Values = {"name": text(given, "name"), "type": text(given, "type")} | filled(given, *CREATE_POOL)
    if devices := words(given, "source_devices"):
        found["source_devices"] = devices
    if "source_port" in found:
        found["source_port"] = number(found["source_port"])
    return found | {key: key in given for key in ("build", "autostart")}


def kinds_of_pool(access: Access, target: Subject | None) -> Values:
    fields = {kind.value: sorted(KINDS[kind].needs | KINDS[kind].takes) for kind in PoolType}
    assert isinstance(target, Host)
    told = {support["type"]: support for support in target.info.get("pools", ())}
    cannot = {kind.value for kind in PoolType if told and not told.get(kind.value, {}).get("supported")}
    formats = sorted({name for support in told.values() for name in support["source_formats"]})
    return {"types": pool_types(), "fields": fields, "cannot": cannot, "formats": formats}


def start_create_volume(pool: Pool) -> Values:
    return {
        "name": "",
        "capacity": "20",
        "capacity_unit": "GiB",
        "format": "qcow2",
        "preallocation": Preallocation.OFF.value,
        "backing": "",
        "secret": "",
    }


def create_volume(given: QueryDict) -> Values:
    found: Values = {"name": text(given, "name")} | filled(given, "format", "preallocation")
    if text(given, "capacity"):
        found["capacity"] = size(given, "capacity")
    if text(given, "backing"):
        found["backing"] = number(text(given, "backing"))
    if text(given, "secret"):
        found["secret"] = number(text(given, "secret"))
    return found


def parts_of_volume(place: Within, target: Pool, typed: Values) -> Values:
    """What a new volume of this pool can be based on, and encrypted with."""
    files = place.rows("volume").filter(pool__host=target.host, kind="file")
    bases = files.filter(encrypted=False, making=None).exclude(format="iso")
    secrets = place.rows("secret").filter(host=target.host, missing_since=None, usage__in=FOR_VOLUMES)
    return {
        "bases": list(bases.order_by("name")[:500]),
        "secrets": list(secrets.order_by("name")[:500]),
        "units": list(UNITS),
        "pool": target,
    }


def start_upload(pool: Pool) -> Values:
    return {"name": "", "sha256": ""}


def upload(given: QueryDict) -> Values:
    """The file itself comes in pieces, by the API; the page's script begins with its name and size."""
    return {"size": number(text(given, "size"))} | filled(given, "name", "title", "sha256")


def ways_in(access: Access, target: Subject | None) -> Values:
    """Whether a file may come from the web as well."""
    assert isinstance(target, Pool)
    return {"may_fetch": access.may(BY_KIND["volume.fetch"], target)}


def start_fetch(pool: Pool) -> Values:
    return {"url": "", "name": "", "checksum": "", "checksum_url": ""}


def fetch(given: QueryDict) -> Values:
    return {"url": text(given, "url")} | filled(given, "name", "checksum", "checksum_url")


def start_resize(volume: Volume) -> Values:
    capacity, unit = size_typed(volume.capacity)
    return {"capacity": capacity, "capacity_unit": unit}


def resize(given: QueryDict) -> Values:
    return {"capacity": size(given, "capacity")}


def units(access: Access, target: Subject | None) -> Values:
    return {"units": list(UNITS)}


def start_clone(volume: Volume) -> Values:
    stem, dot, ending = volume.name.rpartition(".")
    kind = volume.format if volume.format in ("raw", "qcow2") else "qcow2"
    name = f"{stem}-copy.{ending}" if dot else f"{volume.name}-copy"
    return {"name": name, "format": kind, "pool": volume.pool_id}


def clone(given: QueryDict) -> Values:
    found: Values = {"name": text(given, "name")} | filled(given, "format")
    if text(given, "pool"):
        found["pool"] = number(text(given, "pool"))
    return found


def places_here(access: Access, target: Subject | None) -> Values:
    """The pools of the same host that this person may fill."""
    assert target is not None
    return {"pools": [pool for pool in pools_to_fill(access, "volume.create") if pool.host == host_of(target)]}


def start_copy(volume: Volume) -> Values:
    return {"name": volume.name, "pool": ""}


def copy(given: QueryDict) -> Values:
    return {"name": text(given, "name"), "pool": number(text(given, "pool"))}


def places_elsewhere(access: Access, target: Subject | None) -> Values:
    """All the others, on whatever host."""
    assert isinstance(target, Volume)
    return {"pools": [pool for pool in pools_to_fill(access, "volume.create") if pool.pk != target.pool_id]}


FORMS = {
    "pool.create": Form("pools/create.html", start_create_pool, create_pool, kinds_of_pool),
    "volume.create": Form("volumes/create.html", start_create_volume, create_volume, offers=parts_of_volume),
    "volume.upload": Form("volumes/upload.html", start_upload, upload, ways_in),
    "volume.fetch": Form("volumes/fetch.html", start_fetch, fetch, linked=("url", "checksum", "checksum_url")),
    "volume.copy": Form("volumes/copy.html", start_copy, copy, places_elsewhere),
    "volume.resize": Form("volumes/resize.html", start_resize, resize, units),
    "volume.clone": Form("volumes/clone.html", start_clone, clone, places_here),
}
