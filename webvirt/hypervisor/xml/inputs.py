"""What a console is used with: a tablet, which has the pointer where the person's is, and the clipboard's channel."""

from __future__ import annotations

from lxml import etree

from webvirt.hypervisor.errors import WrongState
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.parse import DESKTOP_CHANNEL, has_clipboard, has_tablet, root_of


def tablet_for(xml: str) -> str:
    """A tablet for a domain, for libvirt to plug in: on USB, which every system knows, unless it is to have none.

    Empty where it has one.
    """
    domain = root_of(xml, "domain")
    if has_tablet(domain):
        return ""
    controllers = [one.get("model") for one in domain.iterfind("devices/controller[@type='usb']")]
    is_usb = "none" not in controllers and domain.find("os/type[@arch='s390x']") is None
    return as_text(etree.Element("input", type="tablet", bus="usb" if is_usb else "virtio"))


def clipboard_for(xml: str) -> str:
    """A clipboard channel for a domain; empty where it has one.

    <channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='server'/></source>
    <target type='virtio' name='com.redhat.spice.0'/></channel>

    Its pointer stays the machine's: the agent's own would take it away from guests that have no agent.

    Raises WrongState where something else has its place.
    """
    domain = root_of(xml, "domain")
    if has_clipboard(domain):
        return ""
    if domain.find(f"devices/channel/target[@name='{DESKTOP_CHANNEL}']") is not None:
        raise WrongState("Its channel of that name is SPICE's, or does not copy: take that one out first.")
    channel = etree.Element("channel", type="qemu-vdagent")
    source = etree.SubElement(channel, "source")
    etree.SubElement(source, "clipboard", copypaste="yes")
    etree.SubElement(source, "mouse", mode="server")
    etree.SubElement(channel, "target", type="virtio", name=DESKTOP_CHANNEL)
    return as_text(channel)
