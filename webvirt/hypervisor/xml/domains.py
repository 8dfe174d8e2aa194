"""Domains: the definition of a machine, made from what a person asks for."""

from __future__ import annotations

from lxml import etree

from webvirt.hypervisor.domain_rules import MODES, X86, check_domain, check_kernel, has_pcie
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import Bus, CardSpec, Clock, DomainSpec, Firmware, Kernel
from webvirt.hypervisor.xml.build import as_text, check_text, one_line_end
from webvirt.hypervisor.xml.disks import add_disks
from webvirt.hypervisor.xml.parse import AGENT_CHANNEL, OSINFO_URI, Element, tree_of

SPARE_PORTS = 8
"""How many devices can be plugged in later: a machine with PCI Express needs a port for each from the beginning."""
MEMORY_SLOTS = 16
HYPERV = ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies", "tlbflush", "ipi")
"""What of Hyper-V a Windows guest runs better with, and KVM has on every CPU."""
SPINLOCK_RETRIES = 8191


def build_domain(spec: DomainSpec) -> str:
    """The definition of a machine, checked.

    <domain type='kvm'><name>web</name><uuid>…</uuid><title>…</title><description>…</description>
      <metadata><libosinfo:libosinfo><libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>
      <maxMemory slots='16' unit='KiB'>…</maxMemory><memory unit='KiB'>…</memory><vcpu current='2'>8</vcpu>
      <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>
        <firmware><feature enabled='yes' name='secure-boot'/>…</firmware><loader secure='yes'/></os>
      <features><acpi/><apic/><hyperv mode='custom'>…</hyperv><vmport state='off'/><smm state='on'/></features>
      <cpu mode='host-passthrough' check='none' migratable='on'><topology sockets='1' cores='8' threads='1'/>
        <numa><cell id='0' cpus='0-7' memory='…' unit='KiB'/></numa></cpu>
      <clock offset='utc'>…</clock><on_poweroff>destroy</on_poweroff>…<pm>…</pm>
      <devices>…</devices></domain>

    A spare port, a seat for memory and a processor that is not there yet cost nothing until they are used.
    Raises InvalidSpec.
    """
    check_domain(spec)
    domain = etree.Element("domain", type=spec.type)
    add_names(domain, spec)
    add_size(domain, spec)
    add_boot(domain, spec)
    add_features(domain, spec)
    add_cpu(domain, spec)
    add_clock(domain, spec)
    for what, then in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        etree.SubElement(domain, what).text = then
    if spec.arch in X86:
        # A guest that sleeps looks dead from here, and some never wake up.
        power = etree.SubElement(domain, "pm")
        etree.SubElement(power, "suspend-to-mem", enabled="no")
        etree.SubElement(power, "suspend-to-disk", enabled="no")
    add_devices(etree.SubElement(domain, "devices"), spec)
    return etree.tostring(domain, encoding="unicode")


def preview_of(spec: DomainSpec) -> str:
    """The definition for a person to read before it is made: without what is only chosen then. Raises InvalidSpec."""
    domain = tree_of(build_domain(spec))
    for parent, tag in ((domain, "uuid"), *((card, "mac") for card in domain.iterfind("devices/interface"))):
        for chosen in parent.findall(tag):
            parent.remove(chosen)
    etree.indent(domain)
    return as_text(domain)


def with_kernel(xml: str, kernel: Kernel) -> str:
    """A definition for one start with a kernel, as an installer's: it goes off where the guest would restart.

    The rest of the definition stays as it is. Raises InvalidSpec.
    """
    check_kernel(kernel)
    domain = tree_of(xml)
    system = domain.find("os")
    if system is None:
        raise InvalidSpec("This is no definition of a machine.")
    add_kernel(system, kernel)
    for event in domain.iterfind("on_reboot"):
        event.text = "destroy"
    return as_text(domain)


def add_names(domain: Element, spec: DomainSpec) -> None:
    etree.SubElement(domain, "name").text = spec.name
    etree.SubElement(domain, "uuid").text = spec.uuid
    for tag, text in (("title", spec.title), ("description", one_line_end(spec.description))):
        check_text(text)
        if text:
            etree.SubElement(domain, tag).text = text
    if spec.os_url:
        metadata = etree.SubElement(domain, "metadata")
        osinfo = etree.SubElement(metadata, f"{{{OSINFO_URI}}}libosinfo", nsmap={"libosinfo": OSINFO_URI})
        etree.SubElement(osinfo, f"{{{OSINFO_URI}}}os", id=spec.os_url)


def vcpus_max(spec: DomainSpec) -> int:
    return spec.vcpus_max or spec.vcpus


def can_grow(spec: DomainSpec) -> bool:
    """Whether it can be given more memory than it has, while it runs."""
    return spec.memory_max_kib > spec.memory_kib


def add_size(domain: Element, spec: DomainSpec) -> None:
    if can_grow(spec):
        most = etree.SubElement(domain, "maxMemory", slots=str(MEMORY_SLOTS), unit="KiB")
        most.text = str(spec.memory_max_kib)
    etree.SubElement(domain, "memory", unit="KiB").text = str(spec.memory_kib)
    vcpu = etree.SubElement(domain, "vcpu", placement="static")
    vcpu.text = str(vcpus_max(spec))
    if vcpus_max(spec) > spec.vcpus:
        vcpu.set("current", str(spec.vcpus))


def add_boot(domain: Element, spec: DomainSpec) -> None:
    """What it starts with. Which file is the firmware is the host's to choose, by what it must be able to do."""
    system = etree.SubElement(domain, "os")
    etree.SubElement(system, "type", arch=spec.arch, machine=spec.machine).text = "hvm"
    if spec.firmware != Firmware.BIOS:
        is_secure = spec.firmware == Firmware.SECURE
        system.set("firmware", "efi")
        firmware = etree.SubElement(system, "firmware")
        for feature in ("secure-boot", "enrolled-keys"):
            etree.SubElement(firmware, "feature", enabled="yes" if is_secure else "no", name=feature)
        if is_secure:
            etree.SubElement(system, "loader", secure="yes")


def add_kernel(system: Element, kernel: Kernel) -> None:
    check_text(kernel.arguments)
    for tag, text in (("kernel", kernel.path), ("initrd", kernel.initrd), ("cmdline", kernel.arguments)):
        if text:
            etree.SubElement(system, tag).text = text


def is_windows(spec: DomainSpec) -> bool:
    """Whether it is told what Windows needs; emulation cannot."""
    return spec.hyperv and spec.type == "kvm"


def add_features(domain: Element, spec: DomainSpec) -> None:
    features = etree.SubElement(domain, "features")
    if spec.arch in X86 or spec.firmware != Firmware.BIOS:
        # Elsewhere it is UEFI that tells a guest of ACPI.
        etree.SubElement(features, "acpi")
    if spec.arch not in X86:
        return
    etree.SubElement(features, "apic")
    if is_windows(spec):
        hyperv = etree.SubElement(features, "hyperv", mode="custom")
        for name in HYPERV:
            etree.SubElement(hyperv, name, state="on")
        etree.SubElement(hyperv, "spinlocks", state="on", retries=str(SPINLOCK_RETRIES))
    etree.SubElement(features, "vmport", state="off")
    if spec.firmware == Firmware.SECURE:
        # Only what is in this mode may write the variables that say what may start.
        etree.SubElement(features, "smm", state="on")


def add_cpu(domain: Element, spec: DomainSpec) -> None:
    """One socket with many cores: some editions of Windows use no more than one or two sockets."""
    cpu = etree.SubElement(domain, "cpu")
    if spec.cpu in ("host-passthrough", "maximum"):
        cpu.attrib.update({"mode": spec.cpu, "check": "none"})
        if spec.arch in X86:
            # Without what would keep it from moving to another host of its kind.
            cpu.set("migratable", "on")
    elif spec.cpu in MODES:
        cpu.attrib.update({"mode": spec.cpu, "check": "partial"})
    elif spec.cpu:
        cpu.attrib.update({"mode": "custom", "match": "exact", "check": "partial"})
        etree.SubElement(cpu, "model", fallback="forbid").text = spec.cpu
    etree.SubElement(cpu, "topology", sockets="1", cores=str(vcpus_max(spec)), threads="1")
    if can_grow(spec):
        # Memory can only be plugged into a cell.
        cpus = f"0-{vcpus_max(spec) - 1}" if vcpus_max(spec) > 1 else "0"
        numa = etree.SubElement(cpu, "numa")
        etree.SubElement(numa, "cell", id="0", cpus=cpus, memory=str(spec.memory_kib), unit="KiB")


def add_clock(domain: Element, spec: DomainSpec) -> None:
    clock = etree.SubElement(domain, "clock", offset="localtime" if spec.clock == Clock.LOCALTIME else "utc")
    if spec.arch not in X86:
        return
    etree.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    etree.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    etree.SubElement(clock, "timer", name="hpet", present="no")
    if is_windows(spec):
        etree.SubElement(clock, "timer", name="hypervclock", present="yes")


# --- devices


def add_devices(devices: Element, spec: DomainSpec) -> None:
    if spec.emulator:
        etree.SubElement(devices, "emulator").text = spec.emulator
    add_disks(devices, spec.disks)
    if any(disk.bus == Bus.SCSI for disk in spec.disks):
        etree.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    etree.SubElement(devices, "controller", type="usb", model="qemu-xhci", ports="15")
    if has_pcie(spec):
        etree.SubElement(devices, "controller", type="pci", model="pcie-root")
        for _ in range(ports_needed(spec)):
            etree.SubElement(devices, "controller", type="pci", model="pcie-root-port")
    for card in spec.cards:
        add_card(devices, card)
    add_screen(devices, spec)
    for tag in ("serial", "console"):
        etree.SubElement(devices, tag, type="pty")
    if spec.virtio_devices:
        channel = etree.SubElement(devices, "channel", type="unix")
        etree.SubElement(channel, "target", type="virtio", name=AGENT_CHANNEL)
        random = etree.SubElement(devices, "rng", model="virtio")
        etree.SubElement(random, "backend", model="random").text = "/dev/urandom"
    balloon = etree.SubElement(devices, "memballoon", model="virtio" if spec.virtio_devices else "none")
    if spec.virtio_devices:
        # Seconds between two looks at what the guest uses of its memory.
        etree.SubElement(balloon, "stats", period="10")
    if spec.tpm:
        tpm = etree.SubElement(devices, "tpm", model="tpm-crb" if spec.arch in X86 else "tpm-tis")
        etree.SubElement(tpm, "backend", type="emulator", version="2.0")


def ports_needed(spec: DomainSpec) -> int:
    """How many ports its devices take, and those to spare."""
    disks = [disk.bus for disk in spec.disks]
    controllers = 1 + (Bus.SCSI in disks)
    others = 3 if spec.virtio_devices else 0
    return disks.count(Bus.VIRTIO) + len(spec.cards) + controllers + others + SPARE_PORTS


def add_card(devices: Element, card: CardSpec) -> None:
    """<interface type='network'><mac address='…'/><source network='default'/><model type='virtio'/>
    <filterref filter='clean-traffic'/><boot order='2'/></interface>
    """
    kind = "network" if card.network else "bridge"
    interface = etree.SubElement(devices, "interface", type=kind)
    if card.mac:
        etree.SubElement(interface, "mac", address=card.mac.lower())
    for name in (card.network, card.bridge, card.filter):
        check_text(name)
    etree.SubElement(interface, "source", {kind: card.network or card.bridge})
    etree.SubElement(interface, "model", type=card.model)
    if card.filter:
        etree.SubElement(interface, "filterref", filter=card.filter)
    if card.boot:
        etree.SubElement(interface, "boot", order=str(card.boot))


def add_screen(devices: Element, spec: DomainSpec) -> None:
    """A display that only the host reaches, and a pointer whose place is the browser's."""
    graphics = etree.SubElement(devices, "graphics", type="vnc")
    etree.SubElement(graphics, "listen", type="socket")
    etree.SubElement(etree.SubElement(devices, "video"), "model", type=spec.video)
    etree.SubElement(devices, "input", type="tablet", bus="usb")
    if spec.arch not in X86:
        # There, no keyboard comes with the machine.
        etree.SubElement(devices, "input", type="keyboard", bus="usb")
