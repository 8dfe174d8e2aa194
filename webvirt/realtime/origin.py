"""Sockets are opened by our own pages alone: browsers send cookies along to whoever asks, but they say for whom."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from channels.security.websocket import WebsocketDenier


class ExactOrigin:
    """Lets through a connection with exactly one `Origin` that is exactly one of ours."""

    def __init__(self, application: Any, origins: Collection[str]) -> None:
        self.application = application
        self.origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        said = [value for name, value in scope["headers"] if name.lower() == b"origin"]
        ours = len(said) == 1 and said[0] in self.origins
        return await (self.application if ours else WebsocketDenier())(scope, receive, send)
