"""The keys by which hosts are known, as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webvirt.hypervisor.addresses import fingerprint, kind_of


@dataclass(frozen=True)
class ShownKey:
    """`kind` as `ssh-keygen -l` has it, such as ED25519; `file` is where the host keeps the key."""

    kind: str
    fingerprint: str
    file: str


def shown_keys(keys: Sequence[str]) -> list[ShownKey]:
    return [
        ShownKey(kind_of(key).upper(), fingerprint(key), f"/etc/ssh/ssh_host_{kind_of(key)}_key.pub") for key in keys
    ]
