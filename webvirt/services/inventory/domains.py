"""What hosts tell us of their domains, made into rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from webvirt import bus
from webvirt.hypervisor.types import (
    DomainInfo,
    DomainReading,
    DomainState,
    DomainSummary,
    DomainUsage,
    GuestAddress,
)
from webvirt.models import (
    ACTIVE,
    ENDED_BADLY,
    CardUse,
    Definition,
    DeviceUse,
    DiskUse,
    Domain,
    Host,
    Operation,
    Screen,
    Status,
    Volume,
)
from webvirt.services import quotas
from webvirt.services.screens import OLD, Pictures

SUMMARY_FIELDS = (
    "name",
    "status",
    "status_reason",
    "status_since",
    "persistent",
    "autostart",
    "vcpus",
    "memory_kib",
    "missing_since",
    "forgotten_at",
    "binned_at",
)
USAGE_FIELDS = (
    "cpu_percent",
    "memory_used_kib",
    "disk_read_rate",
    "disk_write_rate",
    "net_rx_rate",
    "net_tx_rate",
    "usage_at",
    "not_responding_since",
)
CHUNK = 400
"""Rows in one bulk UPDATE: SQLite allows so many variables and no more."""


def status_of(summary: DomainSummary) -> Status:
    """A person's word for what libvirt says: shut off with saved memory is `saved`."""
    if summary.managed_save and summary.state == DomainState.SHUTOFF:
        return Status.SAVED
    return Status(summary.state.value)


def reconcile(
    host: Host,
    seen: Sequence[DomainSummary],
    *,
    asked: Collection[str] | None = None,
    passed_over: Collection[str] = (),
    watched: bool = True,
) -> set[int]:
    """Write what a host said of its domains; returns the ids of the rows that changed.

    `asked` are the uuids that were asked for (None: all of the host's but those `passed_over`), so that those not
    `seen` are missing. `watched` is False at the first look after a gap, when we cannot say since when a state holds.
    """
    now = timezone.now()
    with transaction.atomic():
        rows = Domain.objects.filter(host=host).defer("description")
        if asked is not None:
            rows = rows.filter(uuid__in=asked)
        known = {row.uuid: row for row in rows if row.uuid not in passed_over}
        news = [s for s in seen if s.uuid not in known]
        changed = [
            row
            for summary in seen
            if (row := known.get(summary.uuid)) and apply_summary(row, summary, now if watched else None)
        ]
        gone = mark_missing(known, seen, now)
        Domain.objects.bulk_update([*changed, *gone], [*SUMMARY_FIELDS, *USAGE_FIELDS], batch_size=CHUNK)
        created = Domain.objects.bulk_create([new_row(host, s, now if watched else None) for s in news])
        touched = {row.pk for row in [*changed, *gone, *created]}
        announce_domains(host, touched)
    return touched


def announce_domains(host: Host, ids: Iterable[int]) -> None:
    names = [f"domain:{pk}" for pk in ids]
    if names:
        bus.announce([*names, "domains", f"host:{host.pk}"])


def new_row(host: Host, summary: DomainSummary, since: datetime | None) -> Domain:
    row = Domain(host=host, uuid=summary.uuid)
    apply_summary(row, summary, since)
    # A machine that is new to us has been as it is for longer than we know.
    row.status_since = None
    return row


def apply_summary(row: Domain, summary: DomainSummary, since: datetime | None) -> bool:
    """Bring a row up to what was said; True if that changed it. `since` is when a new state began, if we know."""
    before = tuple(getattr(row, name) for name in SUMMARY_FIELDS)
    status = status_of(summary)
    if row.binned_at and status in ACTIVE:
        # Somebody started it on its host: it is nobody's rubbish any more.
        row.binned_at = None
    if row.binned_at:
        status = Status.BINNED
    if row.status != status:
        row.status_since = since
        forget_usage(row)
    row.status = status
    row.status_reason = summary.reason
    row.name = summary.name
    row.persistent = summary.persistent
    row.autostart = summary.autostart
    row.missing_since, row.forgotten_at = None, row.binned_at
    # Only until its definition is read, which counts them its own way: two writers would never agree.
    row.vcpus = row.vcpus or summary.vcpus
    row.memory_kib = row.memory_kib or summary.memory_kib
    return before != tuple(getattr(row, name) for name in SUMMARY_FIELDS)


def forget_usage(row: Domain) -> None:
    row.not_responding_since = None
    for name in USAGE_FIELDS:
        setattr(row, name, None)


def mark_missing(known: dict[str, Domain], seen: Sequence[DomainSummary], now: datetime) -> list[Domain]:
    """The rows that the host no longer lists, marked so; grants and history stay with them."""
    listed = {summary.uuid for summary in seen}
    # One that is only just being made may not be listed yet; and what was left half made its host has to remove first.
    unlisted = [row for uuid, row in known.items() if uuid not in listed and row.making_id is None]
    gone = [row for row in unlisted if row.missing_since is None]
    for row in gone:
        row.missing_since = row.status_since = now
        row.status = Status.MISSING
        row.status_reason = ""
        forget_usage(row)
    return gone


def expect_domain(
    host: Host, uuid: str, name: str, operation: Operation, *, vcpus: int = 0, memory_kib: int = 0
) -> Domain:
    """Write down that a domain is being made, before its host has it; its operation is about it from now on.

    It belongs to the project that the operation has reserved in.
    """
    with transaction.atomic():
        row = Domain.objects.create(
            host=host,
            uuid=uuid,
            name=name,
            status=Status.MAKING,
            making=operation,
            project_id=quotas.project_of(operation),
            vcpus=vcpus,
            memory_kib=memory_kib,
        )
        Operation.objects.filter(pk=operation.pk).update(domain=row)
        operation.domain = row
        announce_domains(host, [row.pk])
    return row


def domain_is_whole(domain: Domain, seed: Volume | None) -> None:
    """What was being made is made: from now on it counts by itself in its project's quota. `seed` is the disc that it
    begins with, if it has one."""
    with transaction.atomic():
        if Domain.objects.filter(pk=domain.pk, making=domain.making_id).update(making=None, seed=seed):
            amounts = quotas.Amounts(machines=1, vcpus=domain.vcpus, memory_kib=domain.memory_kib)
            quotas.is_counted(domain.making, amounts)
            announce_domains(domain.host, [domain.pk])


def domains_left_half_made(host: Host) -> list[Domain]:
    """The domains whose making ended badly, and that nobody has removed yet; the host may not even have them."""
    return list(Domain.objects.filter(host=host, making__state__in=ENDED_BADLY).select_related("host"))


def domain_is_removed(domain: Domain) -> None:
    """What was left half made is gone from its host: nobody ever had it, so no list shows it."""
    now = timezone.now()
    with transaction.atomic():
        gone = {"making": None, "missing_since": now, "forgotten_at": now, "status": Status.MISSING}
        if Domain.objects.filter(pk=domain.pk, making=domain.making_id).update(**gone):
            announce_domains(domain.host, [domain.pk])


def mark_template(domain: Domain, is_template: bool, succeeds: Domain | None = None) -> None:
    """Whether machines are made from it from now on, and of which template it is the next version.

    That is known here alone, and not to its host.
    """
    with transaction.atomic():
        version = next_version(succeeds) if succeeds else {"template_line": "", "template_version": 0}
        if (
            Domain.objects.filter(pk=domain.pk)
            .exclude(is_template=is_template)
            .update(is_template=is_template, **version)
        ):
            announce_domains(domain.host, [domain.pk, *([succeeds.pk] if succeeds else [])])


def next_version(template: Domain) -> dict[str, Any]:
    """What the next version of a template is; one that stood alone so far is the first of its line from now on."""
    # Two that are made at once wait for each other.
    here = Domain.objects.select_for_update().filter(host=template.host_id)
    row = here.get(pk=template.pk)
    if not row.template_line:
        row.template_line, row.template_version = row.name, 1
        row.save(update_fields=["template_line", "template_version"])
    # Those that are gone count as well: whoever remembers version 3 means that one.
    given = here.filter(template_line=row.template_line).values_list("template_version", flat=True)
    return {"template_line": row.template_line, "template_version": max(given) + 1}


def still(domain: Domain, operation: Operation) -> None:
    """Write down that a domain is about to stand still for an operation, before it does."""
    Domain.objects.filter(pk=domain.pk).update(stilled_by=operation)


def goes_on(domain: Domain) -> None:
    """It does not stand still any more."""
    Domain.objects.filter(pk=domain.pk).update(stilled_by=None)


def left_still(host: Host) -> list[Domain]:
    """The domains that an operation which ended badly may have left standing still."""
    return list(Domain.objects.filter(host=host, stilled_by__state__in=ENDED_BADLY))


def put_in_bin(domain: Domain, before: dict[str, Any]) -> None:
    """Out of sight with it; grants and history stay. `before` is what `Domain.before_bin` keeps."""
    now = timezone.now()
    binned = {"binned_at": now, "forgotten_at": now, "status": Status.BINNED, "status_since": now}
    with transaction.atomic():
        Domain.objects.filter(pk=domain.pk).update(before_bin=before, **binned)
        announce_domains(domain.host, [domain.pk])


def take_from_bin(domain: Domain) -> None:
    """Back in sight, as its host tells it."""
    with transaction.atomic():
        Domain.objects.filter(pk=domain.pk).update(binned_at=None, forgotten_at=None, before_bin={})
        announce_domains(domain.host, [domain.pk])


def domain_is_purged(domain: Domain) -> None:
    """It is gone from its host because somebody wanted that: no list shows it, its history stays."""
    now = timezone.now()
    gone = {"missing_since": now, "forgotten_at": now, "binned_at": None, "status": Status.MISSING, "seed": None}
    with transaction.atomic():
        Domain.objects.filter(pk=domain.pk).update(**gone)
        announce_domains(domain.host, [domain.pk])


def forget(domain: Domain) -> bool:
    """Dismiss a missing domain from all lists; False if it is not missing (any more). Its history stays."""
    with transaction.atomic():
        missing = Domain.objects.filter(pk=domain.pk, missing_since__isnull=False)
        forgotten = missing.update(forgotten_at=timezone.now())
        if forgotten:
            announce_domains(domain.host, [domain.pk])
    return bool(forgotten)


def remember_definition(host: Host, reading: DomainReading) -> bool:
    """Keep a domain's definitions; True if they differ from what we had."""
    now = timezone.now()
    shown = reading.live or reading.inactive
    with transaction.atomic():
        domain = Domain.objects.filter(host=host, uuid=reading.summary.uuid).first()
        if domain is None or shown is None:
            return False
        known = Definition.objects.filter(domain=domain).first()
        new = Definition(
            domain=domain,
            inactive=asdict(reading.inactive or shown),
            live=asdict(reading.live) if reading.live else None,
            inactive_xml=reading.inactive_xml,
            live_xml=reading.live_xml,
            addresses=known.addresses if known and reading.live else [],
            read_at=now,
        )
        if known and (known.inactive_xml, known.live_xml) == (new.inactive_xml, new.live_xml):
            return False
        new.save(force_update=known is not None, force_insert=known is None)
        remember_uses(domain, reading)
        Domain.objects.filter(pk=domain.pk).update(
            title=shown.title[:255],
            os=shown.os_id[:255],
            description=shown.description,
            tag_line="".join(f" {tag}" for tag in shown.tags) + " " if shown.tags else "",
            vcpus=shown.vcpus,
            memory_kib=shown.memory_kib,
        )
        announce_domains(host, [domain.pk])
    return True


def remember_uses(domain: Domain, reading: DomainReading) -> None:
    """Keep what both definitions use of the host, so that it is known from the other end as well."""
    DiskUse.objects.filter(domain=domain).delete()
    CardUse.objects.filter(domain=domain).delete()
    DeviceUse.objects.filter(domain=domain).delete()
    seen: set[tuple[str, ...]] = set()
    for info, live in ((reading.live, True), (reading.inactive, False)):
        if info is None:
            continue
        disks = [use for use in disk_uses(domain, info, live) if (use.slot, use.path, use.pool, use.volume) not in seen]
        seen |= {(use.slot, use.path, use.pool, use.volume) for use in disks}
        DiskUse.objects.bulk_create(disks)
        cards = [
            use for use in card_uses(domain, info, live) if (use.mac, use.type, use.source, use.filter) not in seen
        ]
        seen |= {(use.mac, use.type, use.source, use.filter) for use in cards}
        CardUse.objects.bulk_create(cards)
        devices = [part for part in info.handed if (part.kind, part.address, part.ids) not in seen]
        seen |= {(part.kind, part.address, part.ids) for part in devices}
        DeviceUse.objects.bulk_create(DeviceUse(domain=domain, live=live, **asdict(part)) for part in devices)


def disk_uses(domain: Domain, info: DomainInfo, live: bool) -> list[DiskUse]:
    """The files, devices and volumes that a definition names, those it boots from among them."""
    uses = [
        DiskUse(domain=domain, slot=slot, device="file", path=path, live=live)
        for slot, path in (("kernel", info.kernel), ("initrd", info.initrd))
        if path
    ]
    for disk in info.disks:
        use = DiskUse(domain=domain, slot=disk.target, device=disk.device, live=live)
        if disk.type == "volume":
            use.pool, _, use.volume = disk.source.partition("/")
        else:
            use.path = disk.source
        if disk.source:
            uses.append(use)
    return uses


def card_uses(domain: Domain, info: DomainInfo, live: bool) -> list[CardUse]:
    return [
        CardUse(
            domain=domain,
            mac=card.mac,
            type=card.type,
            source=card.source,
            model=card.model,
            filter=card.filter,
            live=live,
        )
        for card in info.interfaces
    ]


def remember_addresses(host: Host, uuid: str, addresses: Sequence[GuestAddress]) -> None:
    """Keep the addresses of a running guest, announcing it only when they changed."""
    found = [asdict(address) for address in addresses]
    definition = Definition.objects.filter(domain__host=host, domain__uuid=uuid).only("domain_id", "addresses").first()
    if definition is None or definition.addresses == found:
        return
    with transaction.atomic():
        Definition.objects.filter(pk=definition.pk).update(addresses=found)
        bus.announce([f"domain:{definition.pk}"])


def remember_screen(host: Host, uuid: str, pictures: Pictures) -> int | None:
    """Keep the pictures of a guest's screen; returns the domain's id, or None for one we do not know."""
    pk = Domain.objects.filter(host=host, uuid=uuid).values_list("pk", flat=True).first()
    if pk is None:
        return None
    with transaction.atomic():
        kept = {"png": pictures.page, "small": pictures.wall, "digest": pictures.digest, "taken_at": timezone.now()}
        Screen.objects.update_or_create(domain_id=pk, defaults=kept)
        bus.announce([f"screen:{pk}"])
    return pk


def screens_stand(host: Host, uuids: Iterable[str]) -> None:
    """The pictures of these guests' screens are still true; announces those that were told to be old."""
    now = timezone.now()
    found = Screen.objects.filter(domain__host=host, domain__uuid__in=list(uuids))
    with transaction.atomic():
        old = list(found.filter(taken_at__lt=now - OLD).values_list("pk", flat=True))
        found.update(taken_at=now)
        bus.announce([f"screen:{pk}" for pk in old])


def remember_usage(host: Host, rates: dict[str, dict[str, float | int | None]], hung: Iterable[str] = ()) -> None:
    """Keep the use of running domains by uuid (see `rates_between`), and which ones do not answer."""
    now = timezone.now()
    silent = set(hung)
    with transaction.atomic():
        rows = list(Domain.objects.filter(host=host, uuid__in=[*rates, *silent]).only("uuid", *USAGE_FIELDS))
        for row in rows:
            if row.uuid in silent:
                row.not_responding_since = row.not_responding_since or now
                continue
            row.not_responding_since = None
            row.usage_at = now
            for name, value in rates[row.uuid].items():
                setattr(row, name, value)
        Domain.objects.bulk_update(rows, USAGE_FIELDS, batch_size=CHUNK)
        bus.announce([f"use:{host.pk}"])


def rates_between(before: DomainUsage, after: DomainUsage, seconds: float) -> dict[str, float | int | None]:
    """Rates from two readings `seconds` apart: CPU in percent of all vCPUs, the rest in bytes per second.

    Counters that ran backwards (the guest restarted between) give None rather than nonsense.
    """

    def rate(old: int, new: int) -> int | None:
        return int((new - old) / seconds) if new >= old and seconds > 0 else None

    busy = rate(before.cpu_ns, after.cpu_ns)
    return {
        "cpu_percent": None if busy is None else min(100.0, round(busy / 1e7 / max(1, after.vcpus), 1)),
        "memory_used_kib": after.memory_used_kib,
        "disk_read_rate": rate(before.disk_read_bytes, after.disk_read_bytes),
        "disk_write_rate": rate(before.disk_write_bytes, after.disk_write_bytes),
        "net_rx_rate": rate(before.net_rx_bytes, after.net_rx_bytes),
        "net_tx_rate": rate(before.net_tx_bytes, after.net_tx_bytes),
    }
