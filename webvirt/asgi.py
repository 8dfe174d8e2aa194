"""The web process's entrance: pages and the API on a few lasting threads, sockets on the event loop."""

from __future__ import annotations

import os

import django
from channels.routing import ProtocolTypeRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webvirt.settings")
django.setup()

# Models can be imported only after that.
from webvirt.lanes import LanedHandler  # noqa: E402
from webvirt.realtime import urls  # noqa: E402

application = ProtocolTypeRouter({"http": LanedHandler(), "websocket": urls.application})
