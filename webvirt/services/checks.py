"""What `manage.py check` looks at beyond Django's own checks: each unmet need, with its remedy.

Only that command asks for the tag: what needs a running Redis or a migrated database must not hold up the commands
that bring them about. This module is loaded before the models, so it knows none.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from webvirt import bus

TAG = "installation"
PROGRAMS = {"nginx": "nginx", "ssh": "openssh-client", "virsh": "libvirt-clients"}
"""Programs we call, and the Debian package of each."""
LIBVIRT_SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")


def register_all() -> None:
    """Make the checks known to Django, for those who ask for the tag."""
    for check in (home, sealing, redis, database, programs, libvirt, front, translations):
        checks.register(listed(check), TAG, deploy=True)


def listed(check: Callable[[], Iterator[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """What Django calls: it hands over the applications, which concern nobody here, and wants a list."""

    def run(*args: object, **kwargs: object) -> list[CheckMessage]:
        del args, kwargs
        return list(check())

    return run


def home() -> Iterator[CheckMessage]:
    path: Path = settings.WEBVIRT_HOME
    if not os.access(path, os.W_OK | os.X_OK):
        yield Error(
            f"{path} cannot be written to.", hint="Set WEBVIRT_HOME, or chown it to this user.", id="webvirt.E001"
        )
    elif stat.S_IMODE(path.stat().st_mode) & 0o007:
        yield Error(f"Everybody on this machine may look into {path}.", hint=f"chmod o= {path}", id="webvirt.E002")


def sealing() -> Iterator[CheckMessage]:
    folder: Path = settings.WEBVIRT_HOME / "keys"
    if not (folder / "current.pub").exists():
        hint = "Run deploy/manage makekeys (deploy/run does)."
        yield Error(f"There is no key in {folder} to keep secrets with.", hint=hint, id="webvirt.E009")
    for path in sorted(folder.glob("*.key")):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Error(f"{path} can be read by others.", hint=f"chmod 600 {path}", id="webvirt.E010")


def redis() -> Iterator[CheckMessage]:
    try:
        bus.store().ping()
    except RedisError as error:
        hint = "Start webvirt (deploy/run brings its own Redis), or set WEBVIRT_REDIS."
        yield Error(f"Redis does not answer at {settings.WEBVIRT_REDIS}: {error}", hint=hint, id="webvirt.E003")


def database() -> Iterator[CheckMessage]:
    try:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        hint = "See that it runs and that DATABASE_URL is right."
        yield Error(f"The database cannot be opened: {error}", hint=hint, id="webvirt.E004")
        return
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        hint = "Run deploy/manage migrate (deploy/run does)."
        yield Error("The database is not of this version.", hint=hint, id="webvirt.E005")
    name = settings.DATABASES["default"]["NAME"]
    if connection.vendor == "sqlite" and isinstance(name, Path) and not os.access(name, os.W_OK):
        yield Error(f"{name} cannot be written to.", hint="chown it to this user.", id="webvirt.E006")


def programs() -> Iterator[CheckMessage]:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield checks.Warning(
                f"There is no program {program}.", hint=f"apt-get install {package}", id="webvirt.W001"
            )


def libvirt() -> Iterator[CheckMessage]:
    found = [path for path in LIBVIRT_SOCKETS if os.path.exists(path)]
    if not found:
        hint = "For hosting on this machine: apt-get install libvirt-daemon-system, and start libvirtd."
        yield checks.Warning("No libvirt listens on this machine.", hint=hint, id="webvirt.W002")
    elif not any(os.access(path, os.R_OK | os.W_OK) for path in found):
        hint = "Add this user to the group libvirt and log in anew."
        yield checks.Warning(f"This user may not use {found[0]}.", hint=hint, id="webvirt.W003")


def front() -> Iterator[CheckMessage]:
    if not (settings.WEBVIRT_HOME / "front" / "css" / "kit.css").exists():
        hint = "Run deploy/front (deploy/run does)."
        yield Error("The front-end packages were not built.", hint=hint, id="webvirt.E007")
    elif not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        hint = "Run deploy/manage collectstatic (deploy/run does)."
        yield Error("The static files were not collected.", hint=hint, id="webvirt.E008")


def translations() -> Iterator[CheckMessage]:
    for folder in settings.LOCALE_PATHS:
        for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
            if not source.with_suffix(".mo").exists():
                hint = "Run deploy/run, or msgfmt it."
                yield checks.Warning(
                    f"{source} is not compiled, so pages are in English.", hint=hint, id="webvirt.W004"
                )
