"""The sockets, put together: our own pages alone, with the session's person, to the consumer of the path."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.urls import path, re_path

from webvirt.realtime.console import ConsoleConsumer
from webvirt.realtime.events import EventsConsumer
from webvirt.realtime.hub import Hub
from webvirt.realtime.origin import ExactOrigin


def as_view(consumer: object) -> Any:
    """Django's `path` is typed for views; Channels puts consumers in their place."""
    return consumer


routes: list[Any] = [
    path("ws/events/", as_view(EventsConsumer.as_asgi(hub=Hub(settings.WEBVIRT_REDIS)))),
    path("ws/console/<int:domain_id>/", as_view(ConsoleConsumer.as_asgi())),
    re_path("", as_view(WebsocketDenier.as_asgi())),
]
application = ExactOrigin(AuthMiddlewareStack(URLRouter(routes)), settings.SOCKET_ORIGINS)
