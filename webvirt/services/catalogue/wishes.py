"""What a person says of a machine that is to be made: the parameters of `domain.create` and `domain.clone`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from webvirt.hypervisor.types import Bus, Firmware
from webvirt.models import Flavour
from webvirt.services.catalogue.specs import InProject, Spec, domain_name, one_line, printable
from webvirt.services.catalogue.volumes import Bytes, Format, WebAddress
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

FlavourName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Title = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)]


class Begins(StrEnum):
    """What a machine begins with.

    DISC: the installer on a CD or DVD. IMAGE: a copy of a disk image, or a layer over it. VOLUME: a volume as it is.
    TREE: an installer's kernel that is fetched from the web, once. KERNEL: one in volumes, once. NETWORK: what the
    network boots it with. EMPTY: nothing.
    """

    DISC = "disc"
    IMAGE = "image"
    VOLUME = "volume"
    TREE = "tree"
    KERNEL = "kernel"
    NETWORK = "network"
    EMPTY = "empty"


WITH_VOLUME = (Begins.DISC, Begins.IMAGE, Begins.VOLUME)
WITH_KERNEL = (Begins.TREE, Begins.KERNEL)
"""Those that begin with an installer's kernel, which is for the first start alone."""


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


class CreateDomainSpec(InProject):
    """A machine that is to be made. Ids are of things on the host it is made on; memory in MiB, disks in bytes.

    What is `auto` or left out is chosen as fits the operating system (`os`, osinfo's short id) and the host.
    """

    name: MachineName
    title: Title = ""
    os: SystemId = ""
    flavour: FlavourName | None = None
    """The name of a flavour, which says how many processors, how much memory and how large a first disk it has where
    nothing else does. What comes of it is kept, and not the name."""
    vcpus: Vcpus = 1
    memory_mib: MemoryMib = 1024
    begins: Begins = Begins.EMPTY
    volume: int | None = None
    """The disc, the image or the volume that it begins with."""
    cloud_image: int | None = None
    """An image of the catalogue in the place of a volume: fetched first where no pool of the host has it."""
    linked: bool = False
    """Of an image: a layer over it that holds what differs, instead of a copy."""
    kernel: int | None = None
    initrd: int | None = None
    """Volumes with an installer's kernel and what that loads."""
    tree: WebAddress = ""
    """The address of a system's tree, where its installer's kernel is found; or those of the kernel and its initrd:"""
    kernel_url: WebAddress = ""
    initrd_url: WebAddress = ""
    arguments: Annotated[str, StringConstraints(max_length=2000), AfterValidator(one_line)] | None = None
    """What the kernel is told; of a tree, if left out, what its system's installer needs to find it."""
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
        is_of_catalogue = self.begins == Begins.IMAGE and self.cloud_image is not None
        if is_of_catalogue and self.volume is not None:
            raise ValueError("it begins with a volume or with an image of the catalogue: name one of them")
        if self.begins in WITH_VOLUME and self.volume is None and not is_of_catalogue:
            raise ValueError("say which volume it begins with")
        if self.begins == Begins.TREE and (not self.tree) == (not self.kernel_url):
            raise ValueError("give the address of the tree, or that of the kernel")
        if self.begins == Begins.TREE and not self.disks:
            raise ValueError("say in which pool the disk is that it is installed on")
        if self.begins in WITH_KERNEL and not self.start:
            raise ValueError("the installer's kernel is for the first start alone: have it started at once")
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

    @model_validator(mode="before")
    @classmethod
    def sized(cls, given: Any) -> Any:
        name = given.get("flavour") if isinstance(given, dict) else None
        return in_flavour(given, name) if name and isinstance(name, str) else given


def in_flavour(given: dict[str, Any], name: str) -> dict[str, Any]:
    """What was said of a machine, with what its flavour says besides. ValueError where there is no such flavour."""
    flavour = Flavour.objects.filter(name=one_line(name)).first()
    if flavour is None:
        raise ValueError("there is no flavour of this name")
    found = {"vcpus": flavour.vcpus, "memory_mib": flavour.memory_mib} | given | {"flavour": None}
    first, *others = given.get("disks") or [None]
    if flavour.disk and isinstance(first, dict) and first.get("size") is None:
        found["disks"] = [first | {"size": flavour.disk}, *others]
    return found


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


class CloneDomainSpec(InProject):
    """A machine that is to be made like another. What of its disks is not named goes as fits.

    `host` is the id of the host that it is made on, its own if left out. On another its disks go to pools of that one,
    and `cards` say where each card is there, in their order, null for one that the clone has not; left out, they are on
    the networks and bridges of the same names. The firmware's variables and the TPM begin anew. Without a `title` it
    has the other's, and without a `project` it is in the other's, if one may make something there. `setup` is what the
    clone is told at its first start by cloud-init.
    """

    name: MachineName
    title: Title | None = None
    host: int | None = None
    disks: Annotated[list[DiskChoice], Field(max_length=100)] = []
    cards: Annotated[list[CardWish | None], Field(max_length=100)] | None = None
    setup: SetupWish | None = None
    password: SecretStr = SecretStr("")
    start: bool = False

    @model_validator(mode="after")
    def complete(self) -> Self:
        if len({disk.target for disk in self.disks}) < len(self.disks):
            raise ValueError("say once what becomes of each disk")
        if self.cards is not None and self.host is None:
            raise ValueError("where its cards are is said for another host: name that")
        demand_user(self.password, self.setup)
        return self


class ToTemplateSpec(Spec):
    """`succeeds` is the id of the template that this is the next version of; left out, it is one of its own."""

    succeeds: int | None = None
