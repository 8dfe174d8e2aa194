"""Opening what was sealed: for the workers, the watcher, the console proxy and commands, and for no door.

A private key is a file `keys/NUMBER.key`. When keys are changed, everything is sealed anew to the new one; the one
before stays until the next change, for what was on its way at that moment.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.db import transaction
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import CredentialsUnavailable
from webvirt.hypervisor.types import HostAddress, SourceAddress
from webvirt.models import Host, SourceHost
from webvirt.services import foreign
from webvirt.services.seals import CURRENT, FOLDER, SUITE, Seal, context_of


class Unavailable(Exception):
    """A sealed secret that cannot be opened here: its key is not here, or it was sealed for something else."""


@dataclass(frozen=True)
class Keys:
    """The private keys in a folder."""

    folder: Path = FOLDER

    def open(self, sealed: str, context: str) -> str:
        """The secret itself. Raises Unavailable."""
        number, _, text = sealed.partition(".")
        if not number.isalnum():
            raise Unavailable
        try:
            key = X25519PrivateKey.from_private_bytes((self.folder / f"{number}.key").read_bytes())
            return SUITE.decrypt(base64.b64decode(text, validate=True), key, info=context.encode()).decode()
        except (OSError, ValueError, InvalidTag):
            raise Unavailable from None

    def make(self) -> bool:
        """Make a key where there is none; says whether it did."""
        with self._locked():
            if (self.folder / CURRENT).exists():
                return False
            self._make()
            return True

    def change(self) -> str:
        """Make a new key, which everything is sealed to from now on; returns its number."""
        with self._locked():
            return self._make()

    def forget(self, kept: set[str]) -> None:
        """Delete all private keys but those of these numbers."""
        with self._locked():
            for path in self.folder.glob("*.key"):
                if path.stem not in kept:
                    path.unlink()

    @property
    def current(self) -> str:
        """The number of the key that is sealed to; empty where there is none."""
        try:
            return (self.folder / CURRENT).read_text().partition(" ")[0]
        except OSError:
            return ""

    def _make(self) -> str:
        number, key = secrets.token_hex(4), X25519PrivateKey.generate()
        self._write(f"{number}.key", key.private_bytes_raw())
        public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        self._write(CURRENT, f"{number} {public}\n".encode())
        return number

    def _write(self, name: str, data: bytes) -> None:
        """As a whole: others are reading."""
        new = self.folder / f".{name}.new"
        new.touch(mode=0o600)
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def way_to(host: Host) -> HostAddress:
    """Where a host is, with what it takes to get in, as the row is now. Raises CredentialsUnavailable."""
    fresh = Host.objects.get(pk=host.pk)
    if not fresh.sealed_password:
        return fresh.address
    try:
        return replace(fresh.address, password=Keys().open(fresh.sealed_password, context_of(fresh)))
    except Unavailable:
        raise CredentialsUnavailable(
            gettext_noop("The password of this host cannot be read: the key that it was kept with is not here.")
        ) from None


def way_to_source(source: SourceHost) -> SourceAddress:
    """Where another hypervisor is, with what it takes to get in. Raises CredentialsUnavailable."""
    address = source.address
    if not address.is_vmware:
        return address
    try:
        return replace(address, password=Keys().open(source.sealed_password, foreign.context_of(source.pk, address)))
    except Unavailable:
        raise CredentialsUnavailable(
            gettext_noop("The password for the other hypervisor is not kept any more: look there again.")
        ) from None


def change_keys() -> tuple[int, int]:
    """Seal all hosts' passwords to a new key, while everything runs; how many were, and how many could not be opened.

    The key before is kept, for a password that is entered at this very moment; older ones are deleted, unless
    something is still sealed to one of them.
    """
    keys = Keys()
    before = keys.current
    number = keys.change()
    done = lost = 0
    for pk in Host.objects.exclude(sealed_password="").values_list("pk", flat=True):
        with transaction.atomic():
            host = Host.objects.select_for_update().get(pk=pk)
            try:
                password = keys.open(host.sealed_password, context_of(host))
            except Unavailable:
                lost += 1
                continue
            host.sealed_password = Seal().close(password, context_of(host))
            host.save(update_fields=["sealed_password"])
            done += 1
    # Those of sources are not sealed anew: they are kept for a day.
    sealed = (model._default_manager.values_list("sealed_password", flat=True) for model in (Host, SourceHost))
    keys.forget({number, before} | {each.partition(".")[0] for rows in sealed for each in rows})
    return done, lost
