"""What a machine may be made of, before libvirt is asked. Needs neither libvirt nor XML."""

from __future__ import annotations

import re
from collections.abc import Iterable

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.network_rules import INTERFACE, MAC
from webvirt.hypervisor.pool_rules import WORD, check_host, check_path, check_secret, host_parts, is_uuid
from webvirt.hypervisor.types import Bus, CardSpec, DiskSpec, DomainSpec, Firmware, Kernel, Source

X86 = ("x86_64", "i686")
MODES = ("host-passthrough", "host-model", "maximum")
"""Of a CPU; any other word is the name of a model."""
TYPES = ("kvm", "qemu")
X86_MACHINES = ("q35", "pc")
OTHER_MACHINES = ("virt",)
MACHINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
EMULATED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
"""The name of a CPU's, a card's or a screen's model. Which ones there are is the host's to say."""
SERIAL = re.compile(r"[A-Za-z0-9_.+-]{1,20}", re.ASCII)
"""A longer one would be cut off by some buses."""
IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*(/[A-Za-z0-9_][A-Za-z0-9._@+-]*)+", re.ASCII)
"""On a server: a pool or volume, and the image in it."""
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}", re.ASCII)
OS_URL = re.compile(r"https?://[!-;=?-~]{1,200}", re.ASCII)
PROTOCOLS = ("rbd", "gluster")
DEVICES = ("disk", "cdrom")
DISC_BUSES = (Bus.SCSI, Bus.SATA, Bus.IDE)
"""Of a drive that can be emptied: on USB, QEMU starts none without a disc."""
LUKS_FORMATS = ("raw", "qcow2")
PLACES = {Bus.IDE: 4}
"""How many drives a bus has room for, where it is few."""
MOST_VCPUS_X86 = 255
"""More take another controller of interrupts, and a guest that can work with it."""
KIB_OF_MIB = 1024
LEAST_KIB = 16 * KIB_OF_MIB
MOST_KIB = 2**33
LONGEST_NAME = 100
LONGEST_NAME_OF_A_THING = 255


def check_domain(spec: DomainSpec) -> None:
    """Raise InvalidSpec, with a sentence for the person, unless every part is what it should be."""
    check_domain_name(spec.name)
    if not is_uuid(spec.uuid):
        raise InvalidSpec("A machine is known by its UUID.")
    if "\n" in spec.title or "\r" in spec.title:
        raise InvalidSpec("A title is one line.")
    if spec.os_url and not OS_URL.fullmatch(spec.os_url):
        raise InvalidSpec("The system is named by an address such as http://debian.org/debian/12.")
    check_platform(spec)
    check_size(spec)
    check_firmware(spec)
    for disk in spec.disks:
        check_disk(disk)
    check_buses(spec)
    for card in spec.cards:
        check_card(card)
    if len({card.mac.lower() for card in spec.cards if card.mac}) < sum(bool(card.mac) for card in spec.cards):
        raise InvalidSpec("Each network card needs a MAC address of its own.")
    check_boot_order([*(disk.boot for disk in spec.disks), *(card.boot for card in spec.cards)])


def check_kernel(kernel: Kernel) -> None:
    for path in filter(None, (kernel.path, kernel.initrd)):
        check_path(path)
    if "\n" in kernel.arguments or "\r" in kernel.arguments:
        raise InvalidSpec("What the kernel is told is one line.")


def check_domain_name(name: str) -> None:
    """libvirt takes nearly anything; these names are also safe as file names, which libvirt makes of them."""
    plain = name.isprintable() and name == name.strip() and "/" not in name and not name.startswith((".", "-"))
    if not plain or not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidSpec(
            f"The name is 1 to {LONGEST_NAME} printable characters without '/', and does not begin with '.' or '-'."
        )


def is_q35(machine: str) -> bool:
    return "q35" in machine


def has_pcie(spec: DomainSpec) -> bool:
    """Whether its devices sit on PCI Express, where a port is needed for each that is plugged in."""
    return spec.arch not in X86 or is_q35(spec.machine)


def check_platform(spec: DomainSpec) -> None:
    """How it is run, on what, and as what."""
    if spec.type not in TYPES:
        raise InvalidSpec(f"A machine is run by one of these: {', '.join(TYPES)}.")
    if not EMULATED.fullmatch(spec.arch) or not MACHINE.fullmatch(spec.machine):
        raise InvalidSpec("Tell the architecture and the type of machine, such as x86_64 and q35.")
    known = X86_MACHINES if spec.arch in X86 else OTHER_MACHINES
    if not spec.machine.startswith(known):
        raise InvalidSpec(f"A machine of the architecture {spec.arch} is of one of these types: {', '.join(known)}.")
    if spec.emulator:
        check_path(spec.emulator)
    if spec.cpu and not EMULATED.fullmatch(spec.cpu):
        raise InvalidSpec("Name the CPU by its mode or model, such as host-model or EPYC.")
    if spec.cpu == "host-passthrough" and spec.type != "kvm":
        raise InvalidSpec("Only KVM hands the host's own CPU on: choose another for emulation.")
    if not EMULATED.fullmatch(spec.video):
        raise InvalidSpec("Name the model of the screen, such as virtio or vga.")
    if spec.hyperv and spec.arch not in X86:
        raise InvalidSpec(f"There are no settings for Windows on {spec.arch}.")


def check_size(spec: DomainSpec) -> None:
    """Processors and memory, now and at most."""
    if spec.vcpus < 1:
        raise InvalidSpec("A machine needs a processor.")
    if spec.vcpus_max and spec.vcpus_max < spec.vcpus:
        raise InvalidSpec("It cannot have more processors than it may have at most.")
    if spec.arch in X86 and max(spec.vcpus, spec.vcpus_max) > MOST_VCPUS_X86:
        raise InvalidSpec(f"A machine has {MOST_VCPUS_X86} processors at most.")
    if spec.memory_max_kib and spec.memory_max_kib < spec.memory_kib:
        raise InvalidSpec("It cannot have more memory than it may have at most.")
    for kib in (spec.memory_kib, spec.memory_max_kib or spec.memory_kib):
        if not LEAST_KIB <= kib <= MOST_KIB:
            raise InvalidSpec("A machine has between 16 MiB and 8 TiB of memory.")
        if kib % KIB_OF_MIB:
            raise InvalidSpec("Memory comes in whole MiB.")


def check_firmware(spec: DomainSpec) -> None:
    if spec.firmware == Firmware.SECURE and not (spec.arch == "x86_64" and is_q35(spec.machine)):
        raise InvalidSpec("Secure boot needs a machine of type q35: choose that, or UEFI without it.")
    if spec.firmware == Firmware.BIOS and spec.arch == "aarch64":
        raise InvalidSpec("A machine of the architecture aarch64 has no BIOS: choose UEFI.")


# --- disks


def check_disk(disk: DiskSpec) -> None:
    if disk.device not in DEVICES:
        raise InvalidSpec(f"A drive is one of these: {', '.join(DEVICES)}.")
    if disk.device == "cdrom" and disk.bus not in DISC_BUSES:
        raise InvalidSpec(f"A drive for discs is on one of these buses: {', '.join(DISC_BUSES)}.")
    if disk.serial and not SERIAL.fullmatch(disk.serial):
        raise InvalidSpec("A serial number is 1 to 20 letters, digits, '_', '.', '+' and '-'.")
    if disk.source is None:
        if disk.device == "disk":
            raise InvalidSpec("A disk needs something to keep its bytes in: only a drive for discs can be empty.")
        if disk.luks:
            raise InvalidSpec("An empty drive has nothing that is encrypted.")
        return
    check_source(disk.source)
    check_format(disk.format)
    if disk.luks:
        check_secret(disk.luks)
        if disk.format not in LUKS_FORMATS:
            raise InvalidSpec(f"Only these formats can be encrypted: {', '.join(LUKS_FORMATS)}.")


def check_format(disk_format: str) -> None:
    if not WORD.fullmatch(disk_format):
        raise InvalidSpec("Tell the format of the disk, such as qcow2 or raw.")


def check_source(source: Source) -> None:
    """A path alone, or an image on a server alone."""
    if source.protocol:
        check_image(source)
        return
    if source != Source(source.path, source.is_block):
        raise InvalidSpec("An image on a server is told with its protocol.")
    check_path(source.path)


def check_image(source: Source) -> None:
    if source.protocol not in PROTOCOLS:
        raise InvalidSpec(f"An image on a server is reached by one of these: {', '.join(PROTOCOLS)}.")
    if source.path or source.is_block:
        raise InvalidSpec("A disk is either a path or an image on a server.")
    if not IMAGE.fullmatch(source.name):
        raise InvalidSpec("An image on a server is named by its pool and its name, such as images/web.")
    if not source.hosts:
        raise InvalidSpec("An image on a server needs a host.")
    for host in source.hosts:
        check_host(*host_parts(host))
    if bool(source.user) != bool(source.secret):
        raise InvalidSpec("To sign in takes both a user and a secret.")
    if source.user:
        if source.protocol != "rbd" or not USER.fullmatch(source.user):
            raise InvalidSpec("Only Ceph takes a user, of letters, digits, '.', '_', '@' and '-'.")
        check_secret(source.secret)


def check_buses(spec: DomainSpec) -> None:
    """Raise InvalidSpec for a bus that the machine has not, or that is full."""
    buses = [disk.bus for disk in spec.disks]
    if Bus.IDE in buses and (spec.arch not in X86 or is_q35(spec.machine)):
        raise InvalidSpec("Only machines of type pc have IDE: choose SATA.")
    for bus, places in PLACES.items():
        if buses.count(bus) > places:
            raise InvalidSpec(f"There is room for {places} drives on {bus}: put others on another bus.")


# --- cards and order


def check_card(card: CardSpec) -> None:
    if bool(card.network) == bool(card.bridge):
        raise InvalidSpec("A network card is on a network or on a bridge: name one.")
    if card.bridge and not INTERFACE.fullmatch(card.bridge):
        raise InvalidSpec("A bridge's name is 1 to 15 letters, digits, '_', '.' or '-', such as virbr1.")
    for name in (card.network, card.filter):
        if not name.isprintable() or len(name) > LONGEST_NAME_OF_A_THING:
            raise InvalidSpec("A network or filter is named in printable characters.")
    if card.mac and not MAC.fullmatch(card.mac.lower()):
        raise InvalidSpec(
            "A MAC address is six pairs of hexadecimal digits, the first even, such as 52:54:00:12:34:56."
        )
    if not EMULATED.fullmatch(card.model):
        raise InvalidSpec("Name the model of the network card, such as virtio or e1000e.")


def check_boot_order(places: Iterable[int]) -> None:
    taken = [place for place in places if place]
    if any(place < 0 for place in taken) or len(set(taken)) < len(taken):
        raise InvalidSpec("Each place in the order of boot is one device's.")
