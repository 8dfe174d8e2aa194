"""Reading the audit log: choosing lines, a page of them, all of them in order, and whether any was tampered with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext as _

from webvirt.models import AUDIT_START, AuditHead, AuditLine, AuditQuerySet, AuditResult
from webvirt.services.audit import EVENTS, hash_of, plain
from webvirt.services.catalogue import BY_KIND
from webvirt.services.operations import Invalid

PAGE = 50
CHUNK = 1000
FILTERS = ("person", "object", "kind", "result", "since", "until", "address")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
YEARS = range(1970, 9000)
OBJECT = re.compile(r"([a-z]{1,20}):([0-9]{1,17})")


def kinds() -> list[tuple[str, str]]:
    """Everything that lines tell of, with its name in the reader's language, by that name."""
    named = {kind: str(verb.label) for kind, verb in BY_KIND.items()} | {name: str(EVENTS[name]) for name in EVENTS}
    return sorted(named.items(), key=lambda pair: pair[1].casefold())


def label_of(event: str) -> str:
    """An event in words; one that this version does not know keeps its name."""
    verb = BY_KIND.get(event)
    return str(verb.label if verb else EVENTS.get(event, event))


# --- choosing


def chosen(filters: Mapping[str, str]) -> AuditQuerySet:
    """The lines that all of the filters fit, by `FILTERS`; empty ones are none. Raises Invalid.

    Each is an equality or a range that has an index. `object` is a name, a uuid, or noun and id (`pool:12`).
    """
    found, wrong = AuditLine.objects.all(), {}
    for name, condition in CONDITIONS.items():
        if text := filters.get(name, "").strip():
            try:
                found = found.filter(condition(text))
            except ValueError as error:
                wrong[name] = str(error)
    if wrong:
        raise Invalid(wrong)
    return found


def is_object(text: str) -> Q:
    if UUID.fullmatch(text.lower()):
        return Q(uuid=text.lower())
    if named := OBJECT.fullmatch(text):
        return Q(noun=named[1], object_id=int(named[2]))
    return Q(name=plain(text, 255))


def is_result(text: str) -> Q:
    if text not in AuditResult.values:
        raise ValueError(_("One of %(names)s.") % {"names": ", ".join(AuditResult.values)})
    return Q(result=text)


def from_moment(text: str) -> Q:
    """Lines from a time on; also by their numbers, which have the order of pages and go with every other filter."""
    moment = moment_of(text, timedelta())
    before = Q(at__lt=moment - clocks_went_back())
    last = AuditLine.objects.filter(before).order_by("-at").values_list("number", flat=True).first()
    return Q(at__gte=moment, number__gt=last or 0)


def until_moment(text: str) -> Q:
    """Lines before a time, likewise."""
    moment = moment_of(text, timedelta(days=1))
    after = Q(at__gte=moment + clocks_went_back())
    first = AuditLine.objects.filter(after).order_by("at").values_list("number", flat=True).first()
    return Q(at__lt=moment) if first is None else Q(at__lt=moment, number__lt=first)


def clocks_went_back() -> timedelta:
    """A line is never earlier by more than this than one with a smaller number."""
    end = end_of_log()
    return end.back if end else timedelta()


def moment_of(text: str, of_a_day: timedelta) -> datetime:
    """A time, or of a mere date its beginning and `of_a_day`; in UTC unless it says otherwise. Raises ValueError."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text) and int(text[:4]) in YEARS:
            return datetime.fromisoformat(text).replace(tzinfo=UTC) + of_a_day
        found = datetime.fromisoformat(text)
        if found.year not in YEARS:
            raise ValueError
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(_("A date such as 2026-01-31, or a time such as 2026-01-31T18:00:00Z.")) from None


CONDITIONS: dict[str, Callable[[str], Q]] = {
    "person": lambda text: Q(actor=plain(text, 150)),
    "object": is_object,
    "kind": lambda text: Q(event=text),
    "result": is_result,
    "since": from_moment,
    "until": until_moment,
    "address": lambda text: Q(address=text),
}


@dataclass(frozen=True)
class Page:
    """Some lines, the newest first, and the numbers from which on there are newer and older ones (None: no more)."""

    lines: list[AuditLine]
    newer: int | None
    older: int | None


def page_of(found: AuditQuerySet, before: int | None = None, after: int | None = None, size: int = PAGE) -> Page:
    """The newest lines, the next older than `before`, or the next newer than `after`: one query, wherever they are."""
    if after is not None:
        lines = list(found.filter(number__gt=after).order_by("number")[: size + 1])
        more = len(lines) > size
        lines = lines[:size][::-1]
        return Page(lines, lines[0].number if more else None, lines[-1].number if lines else None)
    if before is not None:
        found = found.filter(number__lt=before)
    lines = list(found.order_by("-number")[: size + 1])
    more = len(lines) > size
    lines = lines[:size]
    return Page(lines, lines[0].number if lines and before is not None else None, lines[-1].number if more else None)


def chunks(found: AuditQuerySet, after: int | None = None) -> Iterator[list[AuditLine]]:
    """Lines in order, so many at a time that memory is bounded."""
    while chunk := chunk_after(found, after):
        yield chunk
        after = chunk[-1].number


def chunk_after(found: AuditQuerySet, after: int | None) -> list[AuditLine]:
    rest = found if after is None else found.filter(number__gt=after)
    return list(rest.order_by("number")[:CHUNK])


# --- looking whether it is whole


class Broken(Exception):
    """The log is not as it was written. `str(error)` names the first line that is not, and says what is wrong."""


@dataclass
class Reader:
    """Goes through the log, line by line; `number` and `hash` are those of the last one that was in order."""

    number: int = 0
    hash: str = AUDIT_START
    read: int = 0
    heads: set[str] = field(default_factory=set)
    """Of the hashes that were noted elsewhere, those that were not met yet."""

    def take(self, line: AuditLine) -> None:
        """Look at the next line. Raises Broken."""
        self.read += 1
        if wrong := self.wrong_with(line):
            end = end_of_log()
            stranger = line.number < 1 or (end is not None and line.number > end.number)
            raise Broken(f"line {line.number} was inserted: webvirt did not write it" if stranger else wrong)
        self.number, self.hash = line.number, line.hash
        self.heads.discard(line.hash)

    def wrong_with(self, line: AuditLine) -> str:
        if line.number != self.number + 1:
            return missing(self.number + 1, line.number - 1)
        try:
            computed = hash_of(line)
        except (AttributeError, TypeError, ValueError):
            # What stands there is no time, or no name: no line of ours.
            computed = ""
        if line.hash != computed:
            return altered(line.number)
        if line.previous != self.hash:
            first = max(self.number, 1)
            return f"line {first} was written anew: line {line.number} follows another"
        return ""

    def finish(self, end: AuditHead | None) -> None:
        """Compare with the end as it was kept. Raises Broken."""
        if end is None:
            raise Broken("the end of the log is not kept any more: the table webvirt_audithead is empty")
        if end.number > self.number:
            raise Broken(f"{missing(self.number + 1, end.number)}, cut off at the end")
        if end.number < self.number:
            raise Broken(f"line {end.number + 1} was inserted: webvirt did not write it")
        if end.hash != self.hash:
            raise Broken(f"line {self.number} was written anew: the log ends with another hash")
        for head in self.heads:
            raise Broken(f"no line has the hash {head}: what ended with it was cut off or written anew")


def altered(number: int) -> str:
    return f"line {number} was altered: what it says does not give its hash"


def missing(first: int, last: int) -> str:
    return f"line {first} is missing" if first == last else f"lines {first} to {last} are missing"


def end_of_log() -> AuditHead | None:
    return AuditHead.objects.filter(pk=1).first()


def verify(reader: Reader) -> None:
    """Read the whole log, with what is written meanwhile. Raises Broken."""
    everything = AuditLine.objects.all()
    after: int | None = None
    while True:
        try:
            for chunk in chunks(everything, after):
                for line in chunk:
                    reader.take(line)
                after = reader.number
        except ValueError:
            raise Broken(altered(first_unreadable(after))) from None
        end = end_of_log()
        if end is None or end.number <= reader.number or not chunk_after(everything, after):
            break
    reader.finish(end)


def first_unreadable(after: int | None) -> int:
    """The number of the first line of a chunk that holds what no line can hold, such as a time that is none."""
    numbers = AuditLine.objects.filter(number__gt=after or 0).order_by("number").values_list("number", flat=True)
    for number in numbers[:CHUNK]:
        try:
            AuditLine.objects.get(number=number)
        except ValueError:
            return number
    return (after or 0) + 1
