"""The life of an operation: asked for, claimed, run, ended; and what ends it when its worker dies.

The row is the truth. Celery only carries its number, perhaps twice, perhaps never: claiming is a conditional UPDATE,
and what was not delivered is sent again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from celery.exceptions import CeleryError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from kombu.exceptions import KombuError
from pydantic import ValidationError
from redis.exceptions import RedisError

from webvirt import bus
from webvirt.celery import app
from webvirt.models import AuditResult, Domain, Operation, OperationState, Project, User
from webvirt.services import actors, audit, hidden, quotas, refusals
from webvirt.services.access import ALL, Access, access_of
from webvirt.services.catalogue import BY_KIND, Queue, Spec, Verb, why_not
from webvirt.services.grounds import demand, demand_reach, ground_of, into, placed, refusal
from webvirt.services.phrases import said
from webvirt.services.seals import NoKey
from webvirt.services.subjects import Subject, host_of, name_of, subject_of

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5
LOST_AFTER = timedelta(seconds=30)
"""Without a heartbeat for so long, a running operation's worker is taken for dead."""
RESEND_AFTER = timedelta(seconds=15)
FETCHED_WITHIN = timedelta(minutes=10)
"""A download that was asked for and is not fetched by then is not wanted any more."""

Actor = actors.Actor
Refused = refusals.Refused
Denied = refusals.Denied
NotNow = refusals.NotNow
OverQuota = refusals.OverQuota
Invalid = refusals.Invalid
S = OperationState
P = TypeVar("P", bound=Spec)
RESULTS = {
    S.SUCCEEDED: AuditResult.DONE,
    S.FAILED: AuditResult.FAILED,
    S.CANCELLED: AuditResult.CANCELLED,
    S.DENIED: AuditResult.DENIED,
}
STILL = Q(state=S.RUNNING, worker="")
"""Begun, and waiting for somebody rather than for a worker."""


SHARED = [verb.kind for verb in BY_KIND.values() if verb.shared]
SHARED_NOUNS = {BY_KIND[kind].on for kind in SHARED}
HOLDS = Q(exclusive=True) | Q(kind__in=SHARED)


class Busy(Refused):
    """Another operation holds the object."""

    def __init__(self, holder: Operation | None) -> None:
        self.holder = holder
        super().__init__(busy_text(holder))


class Cancelled(Exception):
    """Raised inside a runner, at its next report, after somebody asked to cancel."""


def submit(actor: Actor, verb: Verb, target: Subject, parameters: dict[str, Any] | None = None) -> Operation:
    """Accept a verb on an object: rights, state, parameters, then the row, which is also the busy lock.

    Raises Denied, NotNow, Invalid, Busy or OverQuota. The operation is sent to a worker once the transaction is in. A
    request key that was used before gives the operation of then, whatever became of it.
    """
    with denials_noted(actor, verb, target):
        return accept(actor, verb, target, parameters)


@contextmanager
def denials_noted(actor: Actor, verb: Verb, target: Subject | None) -> Iterator[None]:
    """Write a line for a verb that is denied meanwhile. Around any transaction, which a denial takes back."""
    try:
        yield
    except Denied as error:
        details = {"reason": str(error)}
        audit.note(verb.kind, target, result=AuditResult.DENIED, actor=actor, details=details)
        raise


def accept(actor: Actor, verb: Verb, target: Subject, parameters: dict[str, Any] | None = None) -> Operation:
    """The same within a transaction of the caller's, who sees to denials."""
    access = access_for(actor.user)
    if actor.user is not None:
        demand(access, verb, target)
    if verb.session:
        raise Invalid({"": _("“%(verb)s” is not an operation.") % {"verb": verb.label}})
    spec = parse_parameters(verb, parameters or {})
    if actor.user is not None:
        spec = placed(access, verb, target, spec)
        ground_of(access, verb, target, spec)
        demand_reach(access, verb, target, spec)
    if before := asked_before(actor, verb, spec, target):
        return before
    if reason := why_not(verb, target):
        raise NotNow(refusal(verb, reason))
    if wrong := misfits(access, verb, target, spec):
        raise Invalid(wrong)
    operation = Operation(
        kind=verb.kind,
        exclusive=verb.exclusive,
        queue=verb.queue,
        user=actor.user,
        actor=actor.name,
        origin=actor.origin,
        address=actor.address,
        token_name=actor.token_name,
        request_key=actor.request_key,
        subject=name_of(target),
        host=host_of(target),
        domain=target if isinstance(target, Domain) else None,
        target=target.name,
        parameters=kept(spec),
        virsh=verb.virsh(target, spec),
    )
    try:
        insert(operation, actor, verb, target, spec)
    except IntegrityError:
        if before := asked_before(actor, verb, spec, target):
            return before
        raise Busy(holder_of(target)) from None
    announce(operation)
    transaction.on_commit(lambda: send(operation))
    return operation


def insert(operation: Operation, actor: Actor, verb: Verb, target: Subject, spec: Spec) -> None:
    """Write the row down, which is the lock, and what it takes of a quota. Raises Busy, OverQuota or NotNow, and
    IntegrityError where the lock is held."""
    try:
        with audit.writing(), quotas.locked(into(verb, target, spec)) as project:
            if holder := in_the_way(verb, target):
                raise Busy(holder)
            operation.save(force_insert=True)
            if project is not None:
                take(operation, project, verb, target, spec)
            hidden.hide(operation, spec)
            details = {"parameters": operation.parameters} if operation.parameters else {}
            asked = AuditResult.ASKED
            audit.note(verb.kind, target, result=asked, actor=actor, operation=operation.pk, details=details)
    except RedisError:
        raise NotNow(_("What was entered cannot be handed on at the moment: try again.")) from None
    except NoKey as error:
        raise NotNow(said(str(error))) from None


def take(operation: Operation, project: Project, verb: Verb, target: Subject, spec: Spec) -> None:
    """Reserve in a project what an operation takes. Raises OverQuota or NotNow."""
    if project.closed_at:
        raise NotNow(_("This project is closed."))
    try:
        quotas.reserve(project, operation, verb.takes(target, spec) if verb.takes else quotas.NOTHING)
    except quotas.Exceeded as error:
        raise OverQuota("; ".join(said(sentence) for sentence in error.sentences)) from None


def kept(spec: Spec) -> dict[str, Any]:
    """The parameters as an operation keeps them; asterisks for what is hidden."""
    return spec.model_dump(mode="json", exclude_none=True)


def asked_before(actor: Actor, verb: Verb, spec: Spec, target: Subject | None = None) -> Operation | None:
    """What this person's program asked for under the same key; Invalid when that was something else.

    `target` is None where the verb makes it (adding a host).
    """
    if actor.user is None or not actor.request_key:
        return None
    before = Operation.objects.filter(user=actor.user, request_key=actor.request_key).first()
    if before is None:
        return None
    same_target = target is None or name_of(target) == before.subject
    if before.kind != verb.kind or before.parameters != kept(spec) or not same_target:
        raise Invalid({"Idempotency-Key": _("This key was used for another request before.")})
    return before


def parse_parameters(verb: Verb, parameters: dict[str, Any]) -> Spec:
    """The verb's Spec from raw values, or Invalid with a sentence for each wrong field."""
    return parsed(verb.spec, parameters)


def parsed(spec: type[P], parameters: dict[str, Any]) -> P:
    """The same for any Spec."""
    try:
        return spec.model_validate(parameters)
    except ValidationError as error:
        fields = {}
        for problem in error.errors(include_url=False):
            name = ".".join(str(part) for part in problem["loc"])
            fields[name] = said(problem["msg"].removeprefix("Value error, "))
        raise Invalid(fields) from None


def access_for(user: User | None) -> Access:
    """What somebody holds; webvirt itself may know of everything."""
    return access_of(user) if user else Access(User(), everywhere=ALL)


def misfits(access: Access, verb: Verb, target: Subject, spec: Spec) -> dict[str, str]:
    """A sentence for each parameter that does not go with the object, or names what this person may not know of."""
    inside = ground_of(access, verb, target, spec)
    wrong = verb.misfits(inside.rows if inside else access.rows, target, spec) if verb.misfits else {}
    return wrong or inside.misfits(target, spec) if inside else wrong


def holder_of(target: Subject) -> Operation | None:
    """The operation under way on an object that keeps others from it, if there is one."""
    return Operation.objects.active().filter(HOLDS, subject=name_of(target)).first()


def in_the_way(verb: Verb, target: Subject) -> Operation | None:
    """What keeps a verb from an object where the lock does not: one of the two is shared.

    Two that are asked for at the very same time may pass: a runner that shares looks again at what it has read.
    """
    under_way = Operation.objects.active().filter(subject=name_of(target))
    if verb.shared:
        return under_way.filter(exclusive=True).first()
    return under_way.filter(kind__in=SHARED).first() if verb.exclusive and verb.on in SHARED_NOUNS else None


def busy_text(holder: Operation | None) -> str:
    if holder is None:
        return _("Busy a moment ago: try again.")
    seconds = max(0, int((timezone.now() - holder.created_at).total_seconds()))
    values = {"verb": BY_KIND[holder.kind].label, "who": holder.actor, "seconds": seconds}
    return _("Busy: “%(verb)s”, asked by %(who)s %(seconds)s s ago.") % values


def send(operation: Operation) -> None:
    """Hand it to a worker. When Redis is away the row stays queued and `resend` tries again."""
    if operation.queue == Queue.BYTES:
        return
    try:
        app.send_task("webvirt.run_operation", args=[operation.pk], queue=operation.queue)
    except (RedisError, KombuError, CeleryError, OSError) as error:
        log.warning("operation %s stays queued: %s", operation.pk, error)
        return
    Operation.objects.filter(pk=operation.pk, state=S.QUEUED).update(sent_at=timezone.now())


def announce(operation: Operation) -> None:
    bus.announce(["operations", f"operation:{operation.pk}", f"host:{operation.host_id}", operation.subject])


# --- in the worker


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def claim(pk: int) -> Operation | None:
    """Take an operation that is queued or lies still for this worker; None when there is nothing (any more) to take."""
    now = timezone.now()
    free = Operation.objects.filter(Q(state=S.QUEUED) | STILL, pk=pk)
    worker = worker_name()
    with audit.writing():
        taken = free.update(state=S.RUNNING, started_at=Coalesce("started_at", now), heartbeat_at=now, worker=worker)
        if not taken:
            return None
        operation = Operation.objects.select_related("host", "domain__host", "user").get(pk=pk)
        # What lies still is taken up many times; it begins once.
        if operation.started_at == now:
            audit.note_operation(operation, AuditResult.BEGUN, worker=worker)
    announce(operation)
    return operation


def still_allowed(operation: Operation) -> bool:
    """Rights may have been withdrawn while it was queued."""
    if operation.user is None:
        return True
    access, verb, target = access_of(operation.user), BY_KIND[operation.kind], subject_of(operation)
    if verb.reaches or verb.inside:
        try:
            spec = parse_parameters(verb, operation.parameters)
            ground_of(access, verb, target, spec)
            demand_reach(access, verb, target, spec)
        except Refused:
            return False
    return access.may(verb, target)


def beat(operation: Operation) -> None:
    Operation.objects.filter(pk=operation.pk, state=S.RUNNING).update(heartbeat_at=timezone.now())


def report(operation: Operation, phase: str, done: int | None = None, total: int | None = None) -> None:
    """Write progress (at most twice a second, please); raises Cancelled when somebody asked for that."""
    mine = Operation.objects.filter(pk=operation.pk, state=S.RUNNING, worker=operation.worker)
    mine.update(phase=phase, done=done, total=total, heartbeat_at=timezone.now())
    announce(operation)
    if mine.filter(cancel_asked_at__isnull=False).exists():
        raise Cancelled


def lie_still(operation: Operation) -> None:
    """Let go of a running operation that waits for somebody, until `wake`."""
    mine = Operation.objects.filter(pk=operation.pk, state=S.RUNNING, worker=operation.worker)
    mine.update(worker="", heartbeat_at=None)
    announce(operation)


def finish(
    operation: Operation, state: OperationState, *, error: str = "", remedy: str = "", result: Any = None
) -> bool:
    """Bring a running operation to its end, once: False when somebody else did (a worker taken for dead)."""
    with audit.writing():
        ended = Operation.objects.filter(pk=operation.pk, state=S.RUNNING, worker=operation.worker).update(
            state=state, finished_at=timezone.now(), error=error, remedy=remedy, result=result or {}, phase=""
        )
        if ended:
            audit.note_operation(operation, RESULTS[state], error=error, result=result)
    if ended:
        announce(operation)
    return bool(ended)


# --- from any door


def may_answer_for(access: Access, operation: Operation) -> bool:
    """The asker, and whoever may ask for the same: they may cancel it, and read what exactly was asked for."""
    own = operation.user is not None and operation.user == access.user
    # A verb that this version no longer has nobody may ask for.
    verb = BY_KIND.get(operation.kind)
    return own or (verb is not None and access.may(verb, access.object_of(operation)))


def cancel(operation: Operation) -> bool:
    """Ask an operation to stop: one that nobody runs ends now, a running one at its next look. False if it cannot."""
    now = timezone.now()
    asked = 0
    with audit.writing():
        ended = Operation.objects.filter(Q(state=S.QUEUED) | STILL, pk=operation.pk).update(
            state=S.CANCELLED, finished_at=now, cancel_asked_at=now
        )
        if not ended and BY_KIND[operation.kind].cancellable:
            running = Operation.objects.filter(pk=operation.pk, state=S.RUNNING, cancel_asked_at=None)
            asked = running.update(cancel_asked_at=now)
        if ended:
            audit.note_operation(operation, AuditResult.CANCELLED, actor=actors.current())
        if asked:
            what = audit.Thing("operation", operation.pk, str(operation))
            audit.note("operation.cancel", what, result=AuditResult.ASKED, operation=operation.pk)
    if ended or asked:
        announce(operation)
    return bool(ended or asked)


def file_to_fetch(user: User, pk: int) -> Operation | None:
    """The operation whose file this person asked for, whatever its state; nobody else's is there, for anybody."""
    return Operation.objects.filter(pk=pk, queue=Queue.BYTES, user=user).first()


def carrier_of(operation: Operation) -> str:
    """Where the front reaches the process that carries a file; nobody else does."""
    return f"/bytes/{operation.pk}"


def wake(operation: Operation) -> None:
    """Have a worker go on with an operation that lies still; nothing happens to one that does not."""
    if Operation.objects.filter(STILL, pk=operation.pk).exists():
        send(operation)


# --- from the clerk, every few seconds


def give_up(operation: Operation, why: str) -> None:
    """End an operation that lies still, for good."""
    with audit.writing():
        ended = Operation.objects.filter(STILL, pk=operation.pk).update(
            state=S.FAILED, finished_at=timezone.now(), error=why
        )
        if ended:
            audit.note_operation(operation, AuditResult.FAILED, error=why)
    if ended:
        announce(operation)


def reap(now: datetime) -> int:
    """See to the operations whose worker died. Returns how many.

    What they had begun may have been carried out: the host is asked afresh by inventory, never assumed.
    """
    lost = Operation.objects.filter(state=S.RUNNING, heartbeat_at__lt=now - LOST_AFTER)
    return sum(end_lost(operation, now) for operation in lost.select_related("host"))


def end_lost(operation: Operation, now: datetime) -> bool:
    """End it, or where another worker can go on with it, let one do so."""
    still = Q(pk=operation.pk, state=S.RUNNING, heartbeat_at=operation.heartbeat_at)
    if BY_KIND[operation.kind].resumable:
        if freed := Operation.objects.filter(still).update(worker="", heartbeat_at=None):
            log.warning("operation %s: worker %s lost, another goes on", operation.pk, operation.worker)
            wake(operation)
        return bool(freed)
    error = gettext_noop("The worker that ran this was lost.")
    remedy = gettext_noop(
        "The host may have carried it out all the same: look at the machine's state before trying again."
    )
    with audit.writing():
        ended = Operation.objects.filter(still).update(state=S.FAILED, finished_at=now, error=error, remedy=remedy)
        if ended:
            audit.note_operation(operation, AuditResult.UNKNOWN, error=error)
    if ended:
        log.warning("operation %s: worker %s lost", operation.pk, operation.worker)
        announce(operation)
    return bool(ended)


def resend(now: datetime) -> int:
    """Send again what is queued and was not delivered in time. Returns how many.

    What nobody came for ends.
    """
    for operation in Operation.objects.filter(
        state=S.QUEUED, queue=Queue.BYTES, created_at__lt=now - FETCHED_WITHIN
    ).select_related("host"):
        cancel(operation)
    queued = Operation.objects.filter(state=S.QUEUED).exclude(queue=Queue.BYTES)
    waiting = queued.filter(created_at__lt=now - RESEND_AFTER).filter(
        Q(sent_at=None) | Q(sent_at__lt=now - RESEND_AFTER)
    )
    operations = list(waiting.order_by("pk")[:100])
    for operation in operations:
        send(operation)
    return len(operations)
