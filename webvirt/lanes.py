"""Django's ASGI handler with a few lasting threads instead of a new one for every request, entered once a request.

Django gives each request a thread of its own, and so a database connection of its own, and goes to and fro between
the event loop and that thread for every middleware: two thirds of what a short page costs. All our middleware and views
are plain functions, so a request goes into a thread once, and comes out as an answer.

A request takes the emptiest of a few lanes; each lane is one thread that keeps its connection. A page that waits (for a
locked database, say) holds up its lane and no other.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import IO, Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpResponseBase
from django.urls import set_script_prefix

LANES = 2


class Lane(ThreadPoolExecutor):
    """One lasting thread, and how many requests it has before it."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="lane")
        self.busy = 0


class LanedHandler(ASGIHandler):
    """Serves HTTP on `LANES` threads."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = [Lane() for _ in range(LANES)]

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        lane = min(self.lanes, key=lambda lane: lane.busy)
        lane.busy += 1
        try:
            response = await self.within(lane, self.answer, scope, body)
            await self.send_response(response, send)
            if response.streaming:
                await self.within(lane, response.close)
        except asyncio.CancelledError:
            # Whoever asked has gone; what the lane has begun it finishes by itself.
            pass
        finally:
            lane.busy -= 1

    async def within(self, lane: Lane, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(lane, copy_context().run, function, *args)

    def answer(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        """In the lane: from the request to the answer, with the signals that open and close database connections."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, response = self.create_request(scope, body)
        if request is not None:
            response = self.get_response(request)
        assert response is not None
        if not response.streaming:
            # It is whole: what it held on to can be let go before it is sent.
            response.close()
        return response
