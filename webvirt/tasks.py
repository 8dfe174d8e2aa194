"""The queue's door: the one task, which runs an operation by its number, and the workers' sign of life."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_before_create_process, worker_ready, worker_shutdown
from django.db import DatabaseError, close_old_connections

from webvirt.services import heartbeats, runners

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0

_over = threading.Event()


@shared_task(name="webvirt.run_operation")
def run_operation(pk: int) -> None:
    """Run an operation if nobody has it yet; a second delivery finds nothing to do."""
    runners.run(pk)


def queue_of(worker: Any) -> str:
    """The queue that a worker serves; `deploy/` gives each just one."""
    return ",".join(sorted(worker.app.amqp.queues.consume_from))


@worker_ready.connect
def keep_beating(sender: Any, **_: Any) -> None:
    """From when a worker consumes, say every few seconds that it lives."""
    kind, name = f"worker-{queue_of(sender.controller)}", sender.hostname

    def pulse() -> None:
        while True:
            try:
                close_old_connections()
                heartbeats.beat(kind, name)
            except DatabaseError as error:
                log.warning("heartbeat: %s", error)
            if _over.wait(BEAT_SECONDS):
                return

    threading.Thread(target=pulse, name="heartbeat", daemon=True).start()


@worker_shutdown.connect
def stop_beating(sender: Any, **_: Any) -> None:
    _over.set()


@worker_before_create_process.connect
def share_memory(**_: Any) -> None:
    """The children share what is loaded by now: were the collector to touch it, each would have its copy (20 MB)."""
    gc.collect()
    gc.freeze()
