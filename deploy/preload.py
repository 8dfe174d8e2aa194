"""What every Python process of an installation imports, and shares when it is forked from the supervisor.

Nothing here may open a connection or start a thread, nor load libvirt: the web process stays without it.
"""

from __future__ import annotations

import celery.apps.worker
import celery.bin.celery
import celery.concurrency.prefork  # noqa: F401
import daphne.http_protocol
import daphne.ws_protocol  # noqa: F401
import django
import kombu.transport.redis  # noqa: F401
import lxml.etree  # noqa: F401
import PIL.Image  # noqa: F401
import twisted.internet.asyncioreactor
import twisted.internet.endpoints  # noqa: F401

django.setup()

# Models can be imported only after that.
import webvirt.asgi  # noqa: E402
import webvirt.celery  # noqa: E402
import webvirt.services.operations  # noqa: E402
import webvirt.urls  # noqa: E402

webvirt.celery.app.finalize()
