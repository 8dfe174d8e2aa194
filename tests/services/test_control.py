"""Who types at a machine: one at a time; asked for, handed over, kept, taken, and left free."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tests.people import Cast
from webvirt import bus
from webvirt.models import AuditLine, ConsoleDevice, ConsoleMode, ConsoleSession, EndReason, Grant, Status, User
from webvirt.services import consoles, consoleviews, control
from webvirt.services.operations import Denied, NotNow

CONTROL, VIEW = ConsoleMode.CONTROL, ConsoleMode.VIEW
Opener = Callable[..., ConsoleSession]


@pytest.fixture
def enter(cast: Cast) -> Opener:
    """Opens consoles that are connected."""
    cast.domain.status = Status.RUNNING
    cast.domain.save()

    def opened(
        user: User, mode: ConsoleMode = CONTROL, device: ConsoleDevice = ConsoleDevice.SCREEN, key: str = "k"
    ) -> ConsoleSession:
        session = consoles.open_session(user, key * 32, cast.domain.pk, mode, "192.0.2.9", device=device)
        ConsoleSession.objects.filter(pk=session.pk).update(opened_at=timezone.now())
        return session

    return opened


def typist() -> str:
    """Who types at the screen."""
    found = ConsoleSession.objects.filter(ended_at=None, mode=CONTROL, device=ConsoleDevice.SCREEN)
    return ",".join(found.values_list("user__username", flat=True))


def patience_ends() -> None:
    control.settle(timezone.now() + control.PATIENCE)


def changes() -> list[tuple[str, str]]:
    """What the log says of who types: how, and who does it."""
    lines = AuditLine.objects.filter(event="console.control").order_by("number")
    return [(json.loads(line.details)["how"], line.actor) for line in lines]


def test_the_first_types_and_the_next_watches(cast: Cast, enter: Opener) -> None:
    assert enter(cast.operator).mode == CONTROL
    second = enter(cast.owner)
    assert (second.mode, second.may_type) == (VIEW, True)
    assert enter(cast.owner, device=ConsoleDevice.SERIAL).mode == CONTROL
    watcher = enter(cast.viewer, VIEW)
    assert (watcher.mode, watcher.may_type) == (VIEW, False)


def test_what_happens_to_consoles_is_not_announced_of_their_machine(
    cast: Cast, enter: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that waits for its machine tries again when that is announced: by its own tries it would for ever."""
    announced: set[str] = set()
    monkeypatch.setattr(bus, "announce", announced.update)
    holder, asker = enter(cast.operator), enter(cast.owner)
    control.ask(asker.pk)
    control.hand_over(holder.pk, asker.pk)
    consoles.end(asker.pk, EndReason.FAILED)
    assert announced == {"audit", "consoles"}


def test_the_database_knows_of_one_alone(cast: Cast, enter: Opener) -> None:
    enter(cast.operator)
    second = enter(cast.owner)
    with pytest.raises(IntegrityError), transaction.atomic():
        ConsoleSession.objects.filter(pk=second.pk).update(mode=CONTROL)


def test_asked_for_and_handed_over(cast: Cast, enter: Opener) -> None:
    holder, asker = enter(cast.operator), enter(cast.owner)
    control.ask(asker.pk)
    assert typist() == "operator"
    told = consoleviews.look(holder)
    assert [(other.name, other.asks, other.may_type) for other in told.others] == [("owner", True, True)]
    assert told.own == consoleviews.Own(CONTROL, may_type=True, asks=False, may_take=False)
    control.hand_over(holder.pk, asker.pk)
    assert typist() == "owner"
    assert consoleviews.look(holder).own == consoleviews.Own(VIEW, may_type=True, asks=False, may_take=False)
    assert not consoleviews.look(holder).others[0].asks
    assert changes() == [("handed over", "owner")]


def test_no_answer_is_a_yes(cast: Cast, enter: Opener) -> None:
    asker = (enter(cast.operator), enter(cast.owner))[1]
    control.ask(asker.pk)
    control.settle(timezone.now() + control.PATIENCE / 2)
    assert typist() == "operator"
    patience_ends()
    assert typist() == "owner"
    assert changes() == [("no answer", "owner")]


def test_who_keeps_it_keeps_it(cast: Cast, enter: Opener) -> None:
    holder, asker = enter(cast.operator), enter(cast.owner)
    control.ask(asker.pk)
    control.keep(holder.pk)
    patience_ends()
    assert typist() == "operator"
    control.keep(asker.pk)
    assert typist() == "operator"


def test_of_two_who_wait_the_first_has_it(cast: Cast, enter: Opener) -> None:
    enter(cast.operator)
    first, second = enter(cast.owner), enter(cast.administrator)
    control.ask(first.pk)
    control.ask(second.pk)
    ConsoleSession.objects.filter(pk=second.pk).update(wants_control_at=timezone.now() + timedelta(seconds=1))
    control.settle(timezone.now() + 2 * control.PATIENCE)
    assert typist() == "owner"
    control.settle(timezone.now())
    assert typist() == "owner"
    patience_ends()
    assert typist() == "administrator"
    assert changes() == [("no answer", "owner"), ("no answer", "administrator")]


@pytest.mark.parametrize("gone", ["ended", "lease"])
def test_when_the_holder_is_gone_the_asker_has_it_at_once(cast: Cast, enter: Opener, gone: str) -> None:
    holder, asker = enter(cast.operator), enter(cast.owner)
    control.ask(asker.pk)
    if gone == "ended":
        consoles.end(holder.pk, EndReason.CLOSED)
    else:
        ConsoleSession.objects.filter(pk=holder.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    control.settle(timezone.now())
    assert typist() == "owner"


def test_what_is_free_waits_for_who_asks(cast: Cast, enter: Opener) -> None:
    holder, other = enter(cast.operator), enter(cast.owner)
    control.watch(holder.pk)
    control.settle(timezone.now())
    assert typist() == ""
    control.ask(other.pk)
    assert typist() == "owner"
    with pytest.raises(NotNow):
        control.hand_over(holder.pk, other.pk)
    control.join(holder.pk)
    assert typist() == "owner"
    control.watch(other.pk)
    control.join(holder.pk)
    assert typist() == "operator"
    assert changes() == [("let go", "operator"), ("free", "owner"), ("let go", "owner"), ("free", "operator")]


def test_a_second_page_takes_it_over_from_the_first(cast: Cast, enter: Opener) -> None:
    first = enter(cast.operator)
    second = enter(cast.operator, key="l")
    assert second.mode == CONTROL
    assert consoleviews.look(first).own == consoleviews.Own(VIEW, may_type=True, asks=False, may_take=True)
    control.take(first.pk)
    assert consoleviews.look(second).own == consoleviews.Own(VIEW, may_type=True, asks=False, may_take=True)
    assert [how for how, _ in changes()] == ["opened", "taken"]


@pytest.mark.parametrize(("who", "may"), [("operator", False), ("owner", True), ("administrator", True)])
def test_an_owner_need_not_ask(cast: Cast, enter: Opener, who: str, may: bool) -> None:
    """The administrator types; who takes it is an owner of the machine or an administrator."""
    enter(cast.administrator if who != "administrator" else cast.owner)
    other = enter(cast.who(who))
    own = consoleviews.look(other).own
    assert own is not None
    assert own.may_take == may
    if may:
        control.take(other.pk)
        assert typist() == who
        return
    with pytest.raises(Denied):
        control.take(other.pk)


@pytest.mark.parametrize("word", [control.ask, control.take, control.join])
def test_who_may_only_watch_gets_nothing(cast: Cast, enter: Opener, word: Callable[[int], None]) -> None:
    holder = enter(cast.operator)
    viewer = enter(cast.viewer, VIEW)
    with pytest.raises(Denied):
        word(viewer.pk)
    with pytest.raises(Denied):
        control.hand_over(holder.pk, viewer.pk)
    ConsoleSession.objects.filter(pk=viewer.pk).update(may_type=True, wants_control_at=timezone.now())
    with pytest.raises(Denied):
        control.hand_over(holder.pk, viewer.pk)
    patience_ends()
    assert typist() == "operator"
    assert not ConsoleSession.objects.get(pk=viewer.pk).may_type


def test_a_right_that_is_withdrawn_while_asking(cast: Cast, enter: Opener) -> None:
    enter(cast.owner)
    asker = enter(cast.operator)
    control.ask(asker.pk)
    Grant.objects.filter(user=cast.operator).update(role="viewer")
    patience_ends()
    assert typist() == "owner"


def test_to_whom_it_is_not_handed(cast: Cast, enter: Opener) -> None:
    holder = enter(cast.operator)
    line = enter(cast.owner, device=ConsoleDevice.SERIAL)
    gone = enter(cast.owner)
    consoles.end(gone.pk, EndReason.CLOSED)
    for to in (holder.pk, line.pk, gone.pk, 0, 2**62):
        with pytest.raises(NotNow):
            control.hand_over(holder.pk, to)
    with pytest.raises(NotNow):
        control.ask(gone.pk)
    assert typist() == "operator"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_ask_at_once_one_has_it(cast: Cast, enter: Opener) -> None:
    sessions = [enter(cast.operator), enter(cast.owner)]
    for _ in range(50):
        for session in sessions:
            control.watch(session.pk)
        start = Barrier(2)

        def ask(pk: int, start: Barrier = start) -> None:
            start.wait()
            control.ask(pk)
            connection.close()

        threads = [Thread(target=ask, args=[session.pk]) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert typist() in ("operator", "owner")
        waiting = ConsoleSession.objects.filter(wants_control_at__isnull=False, mode=VIEW)
        assert waiting.count() == 1
