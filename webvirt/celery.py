"""The Celery application: it only carries operation ids to workers."""

from __future__ import annotations

import os
import warnings

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webvirt.settings")

app = Celery("webvirt")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["webvirt"])

# On one machine `deploy/run` may well be root's; only JSON is taken from the queue.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
