"""The secrets that a host's libvirt keeps. Their values go there and never come back."""

from __future__ import annotations

import builtins
from contextlib import suppress
from uuid import uuid4

import libvirt

from webvirt.hypervisor.calls import Handle, told
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import SecretInfo, SecretSpec
from webvirt.hypervisor.xml.secrets import build_secret, parse_secret


class SecretCalls:
    """The secrets of one host. Every method raises a HypervisorError of the kind that fits; no value is ever in it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def list(self) -> builtins.list[SecretInfo]:
        """Every secret of the host, without its value; one call, and one for each."""
        with self._handle.call() as raw:
            return told(raw.listAllSecrets(0), parse_secret)

    def create(self, spec: SecretSpec, value: bytes) -> str:
        """Make a secret and return its uuid; without its value it is not left behind. One for each thing it is for."""
        check_value(value)
        uuid = str(uuid4())
        with self._handle.call() as raw:
            secret = raw.secretDefineXML(build_secret(spec, uuid))
            try:
                secret.setValue(value, 0)
            except BaseException:
                with suppress(libvirt.libvirtError):
                    secret.undefine()
                raise
        return uuid

    def set_value(self, uuid: str, value: bytes) -> None:
        """Give it another value; what has it in use already goes on with the old one."""
        check_value(value)
        with self._handle.call() as raw:
            raw.secretLookupByUUIDString(uuid).setValue(value, 0)

    def undefine(self, uuid: str) -> None:
        """Delete it, whoever may need it."""
        with self._handle.call() as raw:
            raw.secretLookupByUUIDString(uuid).undefine()


def check_value(value: bytes) -> None:
    if not value:
        raise InvalidSpec("A secret needs a value: enter one.")
