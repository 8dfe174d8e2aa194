"""Numbers and times as people read them; the filters of the templates.

Sizes are binary (KiB for memory, bytes for storage, as libvirt counts), rates have two figures, ages are in words
under a day. A no-break space stands between a number and its unit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from markupsafe import Markup, escape

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
DAY = 86_400
NONE = Markup('<span class="none">–</span>')
"""For what is not known; never an empty cell."""


def size(count: float | None) -> str:
    """Bytes, with three figures: `512 MiB`, `1.5 GiB`."""
    if count is None:
        return NONE
    value = float(count)
    unit = 0
    while abs(value) >= 1024 and unit < len(UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{figures(value)}\N{NO-BREAK SPACE}{UNITS[unit]}"


def figures(value: float) -> str:
    """Three figures at most, without a needless `.0`."""
    digits = 0 if value >= 100 or value == int(value) else 1
    return f"{value:.{digits}f}"


def size_kib(count: float | None) -> str:
    """KiB, likewise."""
    return NONE if count is None else size(count * 1024)


def rate(count: float | None) -> str:
    """Bytes per second: `1.2 MiB/s`."""
    return NONE if count is None else f"{size(count)}/s"


def percent(value: float | None) -> str:
    """A whole per cent; what is busy at all shows at least 1."""
    if value is None:
        return NONE
    return f"{max(1, round(value)) if value > 0 else 0}\N{NO-BREAK SPACE}%"


def count(value: int) -> str:
    return str(number_format(value, force_grouping=True))


def duration(seconds: float | None) -> str:
    """Two units at most: `3 d 4 h`, `12 min`, `8 s`."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return _("%(seconds)s s") % {"seconds": f"{max(seconds, 0):.1f}"}
    whole = int(seconds)
    days, hours, minutes = whole // DAY, whole % DAY // 3600, whole % 3600 // 60
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes >= 10:
        return _("%(minutes)d min") % {"minutes": minutes}
    if minutes:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": whole % 60}
    return _("%(seconds)d s") % {"seconds": whole}


def since(moment: datetime | None) -> str:
    """How long ago, as a duration to the minute."""
    if moment is None:
        return NONE
    seconds = (timezone.now() - moment).total_seconds()
    if 60 <= seconds < 3600:
        return _("%(minutes)d min") % {"minutes": seconds // 60}
    return duration(max(10, seconds))


def ago(seconds: float) -> str:
    """`3 min ago`, for ages under a day."""
    if seconds < 10:
        return _("just now")
    if seconds < 60:
        return _("%(n)d s ago") % {"n": seconds}
    if seconds < 3600:
        return _("%(n)d min ago") % {"n": seconds // 60}
    return _("%(n)d h ago") % {"n": seconds // 3600}


def age(moment: datetime | None) -> str:
    """When, in words under a day and as a date beyond. The browser keeps it going and knows the local zone."""
    if moment is None:
        return NONE
    seconds = (timezone.now() - moment).total_seconds()
    words = ago(seconds) if seconds < DAY else f"{moment:%Y-%m-%d}"
    return stamp(moment, words, "age")


def moment(value: datetime | None) -> str:
    """A point in time to the second."""
    return NONE if value is None else stamp(value, f"{value:%Y-%m-%d %H:%M:%S} UTC", "full")


def clock(value: datetime | None) -> str:
    """The time of day, for what is of today; the browser adds the date where it is not."""
    return NONE if value is None else stamp(value, f"{value:%H:%M} UTC", "clock")


def stamp(value: datetime, words: str, shape: str) -> str:
    when = value.isoformat(timespec="seconds")
    return Markup(f'<time datetime="{when}" data-show="{shape}">{escape(words)}</time>')  # noqa: S704


def cut(text: str, length: int = 48) -> str:
    """Long names lose their middle, since their ends tell them apart; the whole is there on hover."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    tail = length - 1 - head
    return Markup('<span title="{}">{}…{}</span>').format(text, text[:head], text[-tail:])


def machines(number: int) -> str:
    return ngettext("%(n)s virtual machine", "%(n)s virtual machines", number) % {"n": count(number)}


def volumes(number: int) -> str:
    return ngettext("%(n)s volume", "%(n)s volumes", number) % {"n": count(number)}


def people(number: int) -> str:
    return ngettext("%(n)s person", "%(n)s people", number) % {"n": count(number)}


def verbs(number: int) -> str:
    return ngettext("%(n)s verb", "%(n)s verbs", number) % {"n": count(number)}


def images(number: int) -> str:
    return ngettext("%(n)s image", "%(n)s images", number) % {"n": count(number)}


def older_versions(number: int) -> str:
    return ngettext("%(n)s older version", "%(n)s older versions", number) % {"n": count(number)}


def clones(number: int) -> str:
    return ngettext("%(n)s linked clone", "%(n)s linked clones", number) % {"n": count(number)}


def hours(value: float) -> str:
    """Hours of something, with a tenth below a hundred."""
    return str(number_format(value, 0 if value >= 100 else 1, force_grouping=True))


def known(value: float) -> str:
    """A per cent with a tenth, never rounded up to all."""
    return f"{int(value * 10) / 10:g}\N{NO-BREAK SPACE}%"


def running(number: int) -> str:
    return ngettext("%(n)s operation under way", "%(n)s operations under way", number) % {"n": number}


def is_recent(value: datetime | None) -> bool:
    return value is not None and timezone.now() - value < timedelta(days=1)


FILTERS = {
    "size": size,
    "size_kib": size_kib,
    "rate": rate,
    "percent": percent,
    "count": count,
    "duration": duration,
    "since": since,
    "age": age,
    "moment": moment,
    "clock": clock,
    "cut": cut,
    "machines": machines,
    "volumes": volumes,
    "images": images,
    "older_versions": older_versions,
    "clones": clones,
    "people": people,
    "verbs": verbs,
    "hours": hours,
    "known": known,
    "running": running,
}
