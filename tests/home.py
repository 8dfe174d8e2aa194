"""A home of their own for the tests, made before Django loads: pytest takes this as a plugin (`-p tests.home`)."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

# QEMU runs as somebody else and must get at what the tests lay out for it, however private the caller is.
os.umask(0o022)
HOME = Path(tempfile.mkdtemp(prefix="webvirt-tests-"))
(HOME / "run").mkdir()
(HOME / "front").mkdir()
_key = HOME / "secret_key"
_key.touch(mode=0o600)
_key.write_text(secrets.token_urlsafe(60))
os.environ["WEBVIRT_HOME"] = str(HOME)
for _name in ("DATABASE_URL", "WEBVIRT_PUBLIC_URL", "WEBVIRT_REDIS", "WEBVIRT_PORT", "WEBVIRT_BIND"):
    os.environ.pop(_name, None)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
