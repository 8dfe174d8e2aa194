"""Carrying out operations: one function a kind, found in `RUNNERS`; the frame around them is here.

Runs in Celery's prefork children, so a hypervisor handle is opened after the fork and kept per host.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, close_old_connections
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import (
    HostRefused,
    HostUnreachable,
    HypervisorError,
    NotFound,
    NotResponding,
    WrongState,
)
from webvirt.models import Operation, OperationState
from webvirt.services import operations
from webvirt.services.runners import (
    appliances,
    cloning,
    creation,
    deletion,
    displays,
    domains,
    exports,
    filters,
    foreign,
    hosts,
    moving,
    networks,
    projects,
    secrets,
    storage,
    transfers,
    uploads,
)
from webvirt.services.runners.context import Context, Failed, Result, Sink, Still

log = logging.getLogger(__name__)

RUNNERS: dict[str, Callable[[Context], Result]] = {
    **domains.RUNNERS,
    **displays.RUNNERS,
    **cloning.RUNNERS,
    **creation.RUNNERS,
    **deletion.RUNNERS,
    **appliances.RUNNERS,
    **moving.RUNNERS,
    **exports.RUNNERS,
    **hosts.RUNNERS,
    **foreign.RUNNERS,
    **storage.RUNNERS,
    **networks.RUNNERS,
    **filters.RUNNERS,
    **secrets.RUNNERS,
    **uploads.RUNNERS,
    **transfers.RUNNERS,
    **projects.RUNNERS,
}

S = OperationState

REMEDIES: tuple[tuple[type[HypervisorError], str], ...] = (
    (
        HostUnreachable,
        gettext_noop(
            "The host stopped answering: whether it was carried out is not known. Its real state shows as soon as the "
            "host is back."
        ),
    ),
    (HostRefused, gettext_noop("Check how we sign in to this host: “Check” on its page names the step that fails.")),
    (NotFound, gettext_noop("It is gone from its host: somebody removed or renamed it there.")),
    (
        NotResponding,
        gettext_noop("The guest's process does not answer. Wait for it, or force it off: that works without its help."),
    ),
    (WrongState, gettext_noop("Its state has changed meanwhile: look at it and try again.")),
)


def run(pk: int, to: Sink | None = None) -> None:
    """Claim an operation, check rights again, run it and write its end; does nothing if it is not to be had.

    `to` gets the bytes of what somebody fetches.
    """
    operation = operations.claim(pk)
    if operation is None:
        return
    if not operations.still_allowed(operation):
        operations.finish(operation, S.DENIED, error=gettext_noop("The right to do this was withdrawn meanwhile."))
        return
    with heartbeat(operation):
        carry_out(operation, to)


def carry_out(operation: Operation, to: Sink | None = None) -> None:
    """Run it and turn whatever happens into one honest end."""
    try:
        result = RUNNERS[operation.kind](Context(operation, to))
    except Still:
        operations.lie_still(operation)
    except operations.Cancelled:
        operations.finish(operation, S.CANCELLED)
    except HypervisorError as error:
        remedy = next((text for kind, text in REMEDIES if isinstance(error, kind)), "")
        operations.finish(operation, S.FAILED, error=str(error), remedy=remedy)
    except Failed as error:
        operations.finish(operation, S.FAILED, error=str(error), remedy=error.remedy)
    except operations.Refused as error:
        operations.finish(operation, S.FAILED, error=str(error))
    except Exception as error:
        # A bug of ours: the row must come to an end all the same, and the log has the whole story.
        log.exception("operation %s (%s)", operation.pk, operation.kind)
        remedy = gettext_noop("This is a fault of webvirt: the log of the worker has the details.")
        operations.finish(operation, S.FAILED, error=f"{type(error).__name__}: {error}", remedy=remedy)
    else:
        operations.finish(operation, S.SUCCEEDED, result=result)


@contextmanager
def heartbeat(operation: Operation) -> Iterator[None]:
    """Say every few seconds that this operation's worker lives, from a thread: libvirt calls can take long."""
    over = threading.Event()

    def pulse() -> None:
        while not over.wait(operations.HEARTBEAT_SECONDS):
            try:
                # A database that was away has ended what this thread keeps.
                close_old_connections()
                operations.beat(operation)
            except DatabaseError as error:
                log.warning("heartbeat of operation %s: %s", operation.pk, error)

    thread = threading.Thread(target=pulse, name=f"heartbeat-{operation.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
