"""What a person says of a machine that is to be made: the parameters of `domain.create` and `domain.clone`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from webvirt.hypervisor.types import Bus, Firmware
from webvirt.services.catalogue.specs import Spec, domain_name, one_line, printable
from webvirt.services.catalogue.volumes import Bytes, Format
from webvirt.services.seeds.logins import check_ssh_key

MOST_AT_ONCE = 50
MOST_DISKS = 16
MOST_CARDS = 8
MAC = r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"
"""One machine's, not a group's: the lowest bit of the first byte is 0."""

MachineName = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(domain_name)]
SystemId = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9.+-]*$")]
"""osinfo's short id, such as `debian12`."""
Vcpus = Annotated[int, Field(ge=1, le=1024)]
MemoryMib = Annotated[int, Field(ge=32, le=2**24)]
Line = Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)]

Title = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)]


class Begins(StrEnum):
    """What a machine begins with.

    DISC: the installer on a CD or DVD. IMAGE: a copy of a disk image, or a layer over it. VOLUME: a volume as it is.
    KERNEL: an installer's kernel, once. NETWORK: what the network boots it with. EMPTY: nothing.
    """

    DISC = "disc"
    IMAGE = "image"
    VOLUME = "volume"
    KERNEL = "kernel"
    NETWORK = "network"
    EMPTY = "empty"


WITH_VOLUME = (Begins.DISC, Begins.IMAGE, Begins.VOLUME)


def names_of(pattern: str) -> list[str]:
    """The names that a pattern stands for: `web-{01..10}` for ten, any other text for itself.

    Raises ValueError for more than MOST_AT_ONCE, and for a range that runs backwards.
    """
    parts = re.fullmatch(r"([^{}]*)\{(\d{1,4})\.\.(\d{1,4})\}([^{}]*)", pattern, re.ASCII)
    if not parts:
        return [pattern]
    before, first, last, after = parts.groups()
    if int(last) < int(first):
        raise ValueError("the range of numbers runs backwards")
    if int(last) - int(first) >= MOST_AT_ONCE:
        raise ValueError(f"at most {MOST_AT_ONCE} at once")
    width = len(first)
    return [f"{before}{number:0{width}d}{after}" for number in range(int(first), int(last) + 1)]


class DiskWish(Spec):
    """A new disk of `size` bytes in the pool of this id; the first may leave its size to the image it is made of."""

    pool: int
    size: Bytes | None = None
    format: Format = "qcow2"


class CardWish(Spec):
    """A card on the network of this id, or on a bridge of the host. The MAC address is ours to choose if left out."""

    network: int | None = None
    bridge: Annotated[str, StringConstraints(max_length=15, pattern=r"^[A-Za-z0-9_.:-]*$")] = ""
    mac: Annotated[str, StringConstraints(to_lower=True, pattern=MAC)] | None = None
    filter: Line = ""

    @model_validator(mode="after")
    def somewhere(self) -> Self:
        if (self.network is None) == (not self.bridge):
            raise ValueError("a card is on a network or on a bridge: name one of them")
        return self


class SetupWish(Spec):
    """What the guest is told at its first start: by cloud-init, or as answers to the installer of Windows.

    `address` is that of the first card with its prefix (`192.0.2.10/24`); without one all cards ask by DHCP.
    `user_data` is cloud-config of one's own, joined with what follows from the rest.
    """

    user: Annotated[str, StringConstraints(max_length=32, pattern=r"^([A-Za-z_][A-Za-z0-9_-]*)?$")] = ""
    ssh_keys: Annotated[list[Annotated[str, AfterValidator(check_ssh_key)]], Field(max_length=50)] = []
    hostname: Annotated[str, StringConstraints(max_length=253)] = ""
    address: Line = ""
    gateway: Line = ""
    dns: Annotated[list[Line], Field(max_length=10)] = []
    packages: Annotated[list[Line], Field(max_length=200)] = []
    agent: bool = True
    """Whether qemu-guest-agent is installed, by which the guest tells its addresses."""
    user_data: Annotated[str, StringConstraints(max_length=100_000), AfterValidator(printable)] = ""
    edition: Line = ""
    """Of Windows, as its disc names it (`Windows 11 Pro`); the first on the disc if left out."""
    product_key: Line = ""


class CreateDomainSpec(Spec):
    """A machine that is to be made. Ids are of things on the host it is made on; memory in MiB, disks in bytes.

    What is `auto` or left out is chosen as fits the operating system (`os`, osinfo's short id) and the host.
    """

    name: MachineName
    title: Title = ""
    os: SystemId = ""
    vcpus: Vcpus = 1
    memory_mib: MemoryMib = 1024
    begins: Begins = Begins.EMPTY
    volume: int | None = None
    """The disc, the image or the volume that it begins with."""
    linked: bool = False
    """Of an image: a layer over it that holds what differs, instead of a copy."""
    kernel: int | None = None
    initrd: int | None = None
    """Volumes with an installer's kernel and what that loads."""
    arguments: Line = ""
    disks: Annotated[list[DiskWish], Field(max_length=MOST_DISKS)] = []
    cards: Annotated[list[CardWish], Field(max_length=MOST_CARDS)] = []
    setup: SetupWish | None = None
    password: SecretStr = SecretStr("")
    """Of the user of `setup`; kept nowhere, and on the disc as a hash, which Windows alone does not take."""
    drivers: int | None = None
    """A second disc, such as the one with the virtio drivers for Windows."""
    firmware: Firmware | Literal["auto"] = "auto"
    machine: Literal["auto", "q35", "pc", "virt"] = "auto"
    type: Literal["auto", "kvm", "qemu"] = "auto"
    cpu: Literal["auto", "host-passthrough", "host-model", "maximum"] = "auto"
    bus: Bus | Literal["auto"] = "auto"
    tpm: bool | None = None
    start: bool = True
    autostart: bool = False

    @model_validator(mode="after")
    def complete(self) -> Self:
        if self.begins in WITH_VOLUME and self.volume is None:
            raise ValueError("say which volume it begins with")
        if self.begins == Begins.KERNEL and self.kernel is None:
            raise ValueError("say which kernel it begins with")
        if self.begins == Begins.NETWORK and not self.cards:
            raise ValueError("to boot from the network it needs a card")
        if self.begins == Begins.IMAGE and not self.disks:
            raise ValueError("say in which pool the disk that is made of the image goes")
        if any(disk.size is None for disk in self.disks[self.begins == Begins.IMAGE :]):
            raise ValueError("say how large the disk is")
        demand_user(self.password, self.setup)
        return self


def demand_user(password: SecretStr, setup: SetupWish | None) -> None:
    if password.get_secret_value() and not setup:
        raise ValueError("a password is for the user of the settings at the first start")


class Way(StrEnum):
    """What becomes of a disk when its machine is cloned.

    COPY: a copy of all of it. LINK: a layer over it that holds what differs. SHARE: both have the very same, which only
    what is never written can be. LEAVE: the clone has no such disk, or an empty drive.
    """

    COPY = "copy"
    LINK = "link"
    SHARE = "share"
    LEAVE = "leave"


class DiskChoice(Spec):
    """What becomes of the disk or disc of this `target`. A copy or layer goes to its own pool unless one is named."""

    target: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}[0-9]{0,3}$")]
    way: Way
    pool: int | None = None


class CloneDomainSpec(Spec):
    """A machine that is to be made like another, on the same host. What of its disks is not named goes as fits.

    The firmware's variables and the TPM begin anew. Without a `title` it has the other's. `setup` is what the clone is
    told at its first start by cloud-init.
    """

    name: MachineName
    title: Title | None = None
    disks: Annotated[list[DiskChoice], Field(max_length=100)] = []
    setup: SetupWish | None = None
    password: SecretStr = SecretStr("")
    start: bool = False

    @model_validator(mode="after")
    def complete(self) -> Self:
        if len({disk.target for disk in self.disks}) < len(self.disks):
            raise ValueError("say once what becomes of each disk")
        demand_user(self.password, self.setup)
        return self
