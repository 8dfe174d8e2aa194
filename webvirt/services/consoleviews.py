"""What the page of a console is told: who else is there, what it may do now, and whether it is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from django.db.models import Q

from webvirt.models import ConsoleMode, ConsoleSession, EndReason
from webvirt.services import control, recordings
from webvirt.services.recordings import Recorded

LOOKED_AT = (
    *("mode", "told_mode", "may_type", "wants_control_at", "device", "end_reason"),
    *("user", "user__username", "link", "link__name"),
)
"""What the page of a console is told of each, by column."""


@dataclass(frozen=True)
class Viewer:
    """Somebody else at the same guest; `name` is empty for whom a guest is not told of."""

    id: int
    name: str
    mode: str
    device: str
    may_type: bool
    """Whether control can be handed over to them."""
    asks: bool
    """Whether they wait for control."""


@dataclass(frozen=True)
class Own:
    """What a session may do now, as its page is told."""

    mode: str
    """Control not before the proxy lets what is typed through."""
    may_type: bool
    asks: bool
    may_take: bool
    """Whether it can take control without asking who types."""


@dataclass(frozen=True)
class View:
    """What a page is told of its own console: why it ended (empty while it lives), who else is there, what it may, and
    whether it is recorded."""

    ended: str
    others: list[Viewer]
    own: Own | None = None
    recorded: Recorded = field(default_factory=Recorded)
    is_settling: bool = False
    """Whether the proxy is about to be told what the session may do."""


def look(session: ConsoleSession) -> View:
    """What the page of this session should know now."""
    # Who types counts from the beginning: nobody else can, then.
    here = Q(ended_at=None) & (Q(opened_at__isnull=False) | Q(mode=ConsoleMode.CONTROL))
    rows = ConsoleSession.objects.filter(Q(pk=session.pk) | here, domain=session.domain_id).order_by("pk")
    # Each open page looks every second: what nobody is told of is not read.
    found = {row.pk: row for row in rows.select_related("user", "link").only(*LOOKED_AT)}
    mine = found.pop(session.pk, None)
    others = [viewer_of(row) for row in found.values()]
    recorded = recordings.recorded(session)
    if session.link is not None:
        # A guest is not told who the people here are.
        others = [replace(other, name="") for other in others]
        recorded = replace(recorded, by=("",) * min(1, len(recorded.by)))
    if mine is None:
        return View(EndReason.MISSING, others)
    holder = next((row for row in found.values() if is_in_control(row) and row.device == mine.device), None)
    # By rights as they are now, and a machine as it was: whoever takes control is judged anew.
    may_take = holder is not None and mine.may_type and control.may_take(session, holder)
    is_settling = mine.told_mode not in ("", mine.mode)
    mode = ConsoleMode.VIEW if is_settling else mine.mode
    own = Own(mode, mine.may_type, mine.wants_control_at is not None, may_take)
    return View(mine.end_reason, others, own, recorded, is_settling)


def is_in_control(session: ConsoleSession) -> bool:
    return session.mode == ConsoleMode.CONTROL


def viewer_of(session: ConsoleSession) -> Viewer:
    return Viewer(
        id=session.pk,
        name=session.person,
        mode=session.mode,
        device=session.device,
        may_type=session.may_type,
        asks=session.wants_control_at is not None,
    )
