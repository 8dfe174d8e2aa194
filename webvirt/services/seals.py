"""Secrets that we must keep, such as hosts' passwords: sealed in the web process, which cannot open them again.

A secret is sealed (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM) to a public key, together with its *context*: what
it is the secret of. Whoever copies it to another row, or has the row point to another host, cannot have it opened. The
private key is a file under WEBVIRT_HOME, which the database and its dumps know nothing of, and `services.unsealing`
alone reads it: the workers, the watcher and the console proxy, never the doors; a test of the architecture says so.

In the usual installation all processes are of one user. There this keeps secrets out of the memory of the web process
and out of every dump, but somebody who runs code of their own in the web process may read the file as well. Where that
matters, run the web processes as a user who may read `keys/current.pub` and no other file there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from django.conf import settings
from django.utils.translation import gettext_noop

from webvirt.models import Host

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
FOLDER: Path = settings.WEBVIRT_HOME / "keys"
CURRENT = "current.pub"


class NoKey(Exception):
    """There is no key to seal with; `str(error)` is a sentence for the person."""

    def __init__(self) -> None:
        super().__init__(gettext_noop("There is no key here to keep secrets with: start webvirt once with deploy/run."))


@dataclass(frozen=True)
class Seal:
    """The public key in a folder of keys, by which secrets go in."""

    folder: Path = FOLDER

    def close(self, text: str, context: str) -> str:
        """A secret as it is kept, `KEY.SEALED`. Raises NoKey."""
        try:
            number, _, public = (self.folder / CURRENT).read_text().strip().partition(" ")
        except OSError:
            raise NoKey from None
        key = X25519PublicKey.from_public_bytes(base64.b64decode(public))
        sealed = SUITE.encrypt(text.encode(), key, info=context.encode())
        return f"{number}.{base64.b64encode(sealed).decode()}"


def context_of(host: Host) -> str:
    """What a host's password is for: this row, and where it leads. It is good for no other host."""
    return f"password of host {host.pk}: {host.transport} {host.user}@{host.hostname} {host.port or ''}"


def seal_password(host: Host, password: str) -> None:
    """Put a password into a host's row, which is saved already; the caller saves it. Raises NoKey."""
    host.sealed_password = Seal().close(password, context_of(host)) if password else ""
