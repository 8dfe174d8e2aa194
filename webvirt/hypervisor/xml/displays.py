"""A machine's SPICE display: what would be lost without it, its definition with VNC instead, and its password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from webvirt.hypervisor.errors import NoDisplay
from webvirt.hypervisor.xml.build import as_text, check_text
from webvirt.hypervisor.xml.parse import Element, attribute, root_of

SPICE = "devices/graphics[@type='spice']"
BY_SPICE = ("spicevmc", "spiceport")
"""Ends of devices that nothing but a SPICE client takes up."""
WITH_AN_END = ("serial", "parallel", "console")
"""Devices that the guest may need, whatever is at their other end."""
AGENT = "com.redhat.spice.0"
FOLDERS = "org.spice-space.webdav.0"


@dataclass(frozen=True)
class SpiceDisplay:
    """Where a running guest's SPICE display listens: `port` and `tls_port` are None where it has none."""

    listen: str
    port: int | None
    tls_port: int | None
    socket: str
    has_password: bool


def spice_of(xml: str) -> SpiceDisplay | None:
    """A machine's SPICE display; None where it has none. Raises InvalidSpec."""
    graphics = root_of(xml, "domain").find(SPICE)
    if graphics is None:
        return None
    return SpiceDisplay(
        listen=graphics.get("listen") or attribute(graphics, "listen", "address"),
        port=port_of(graphics, "port"),
        tls_port=port_of(graphics, "tlsPort"),
        socket=attribute(graphics, "listen", "socket"),
        has_password=graphics.get("passwd") is not None,
    )


def port_of(graphics: Element, name: str) -> int | None:
    port = graphics.get(name, "")
    return int(port) if port.isdecimal() else None


def lost_without_spice(xml: str) -> tuple[str, ...]:
    """What a machine's people will miss when its display is VNC, of `clipboard`, `folders`, `usb`, `audio`,
    `smartcard`, `monitors`, `acceleration` and `password`. Raises InvalidSpec."""
    domain = root_of(xml, "domain")
    devices = [each for each in domain.iterfind("devices/*") if each.get("type") in BY_SPICE]
    names = {attribute(each, "target", "name") for each in devices if each.tag == "channel"}
    found = {
        "clipboard": AGENT in names,
        "folders": FOLDERS in names,
        "usb": any(each.tag == "redirdev" for each in devices),
        "audio": domain.find("devices/audio[@type='spice']") is not None and domain.find("devices/sound") is not None,
        "smartcard": any(each.tag == "smartcard" for each in devices),
        "monitors": monitors(domain) > 1,
        "acceleration": loses_acceleration(domain),
        "password": domain.find(f"{SPICE}[@passwd]") is not None,
    }
    return tuple(name for name, is_lost in found.items() if is_lost)


def monitors(domain: Element) -> int:
    models = domain.findall("devices/video/model")
    return sum(int(heads) if (heads := model.get("heads", "1")).isdecimal() else 1 for model in models)


def loses_acceleration(domain: Element) -> bool:
    """Whether its graphics card draws by the host's, whose pictures VNC cannot show by itself."""
    drawn = domain.find("devices/graphics[@type='egl-headless']")
    return drawn is None and domain.find("devices/video/model/acceleration[@accel3d='yes']") is not None


def with_vnc(xml: str, video: str) -> str:
    """A machine's definition with a VNC display, which only its host reaches, in the place of SPICE; `video` takes the
    place of its QXL card. All else stays as it is. Raises NoDisplay where it has no SPICE display, and InvalidSpec."""
    domain = root_of(xml, "domain")
    check_text(video)
    devices = domain.find("devices")
    found = domain.findall(SPICE)
    if devices is None or not found:
        raise NoDisplay("The machine has no SPICE display.")
    if domain.find("devices/graphics[@type='vnc']") is None:
        vnc = etree.Element("graphics", type="vnc")
        etree.SubElement(vnc, "listen", type="socket")
        found[0].addprevious(vnc)
    for graphics in found:
        devices.remove(graphics)
    for device in ends_of_spice(devices):
        let_go_of_spice(device)
    if devices.find("redirdev") is None:
        for each in devices.findall("redirfilter"):
            devices.remove(each)
    for audio in devices.iterfind("audio[@type='spice']"):
        # Its sound card stays, which names it.
        identity = audio.get("id", "1")
        audio.clear()
        audio.attrib.update({"id": identity, "type": "none"})
    change_video(devices, video)
    if loses_acceleration(domain):
        for acceleration in devices.iterfind("video/model/acceleration"):
            acceleration.set("accel3d", "no")
    add_tablet(devices)
    return as_text(domain)


def ends_of_spice(devices: Element) -> Iterator[Element]:
    yield from [each for each in devices if each.get("type") in BY_SPICE]


def let_go_of_spice(device: Element) -> None:
    """A port that the guest knows gets another end; what is for a SPICE client alone goes."""
    if device.tag in WITH_AN_END:
        device.set("type", "pty")
        for source in device.findall("source"):
            device.remove(source)
    else:
        parent = device.getparent()
        assert parent is not None
        parent.remove(device)


def change_video(devices: Element, video: str) -> None:
    """One card in place of all that are QXL: further ones are for further monitors of a SPICE client."""
    cards = [card for card in devices.findall("video") if attribute(card, "model", "type") == "qxl"]
    for number, card in enumerate(cards):
        if number or attribute(card, "model", "primary") == "no":
            devices.remove(card)
            continue
        for model in card.findall("model"):
            model.attrib.clear()
            model.set("type", video)
        for driver in card.findall("driver"):
            card.remove(driver)
    for model in devices.iterfind("video/model"):
        model.attrib.pop("heads", "")


def add_tablet(devices: Element) -> None:
    """A pointer whose place is the browser's: with SPICE, its agent saw to that."""
    has_no_usb = devices.find("controller[@type='usb'][@model='none']") is not None
    if not has_no_usb and devices.find("input[@type='tablet']") is None:
        etree.SubElement(devices, "input", type="tablet", bus="usb")


def with_password(xml: str, password: str, until: datetime) -> str:
    """A running guest's SPICE display with another password, good until then, as a device of its own.

    Raises NoDisplay where there is none, and InvalidSpec.
    """
    graphics = root_of(xml, "domain").find(SPICE)
    if graphics is None:
        raise NoDisplay("The machine has no SPICE display.")
    check_text(password)
    graphics.set("passwd", password)
    graphics.set("passwdValidTo", until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return as_text(graphics)
