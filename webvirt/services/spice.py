"""Machines whose display is SPICE: from where it can be reached, and the file by which remote-viewer does."""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass

from django.utils.translation import gettext as _

from webvirt.hypervisor.types import Transport
from webvirt.hypervisor.xml.displays import SpiceDisplay, lost_without_spice, spice_of
from webvirt.models import Definition, Domain, Host

CHANNELS = "main;display;inputs;cursor;playback;record;smartcard;usbredir"
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Spice:
    """Whether a machine has a SPICE display now, and at its next start; and whether a VNC one now."""

    now: bool = False
    later: bool = False
    vnc_now: bool = False


def displays_of(domain: Domain) -> Spice:
    graphics = Definition.objects.filter(domain=domain).values_list("inactive__graphics", "live__graphics").first()
    later, now = ([one.get("type") for one in each or ()] for each in graphics or ((), ()))
    shown = now if domain.is_active else later
    return Spice("spice" in now, "spice" in later, "vnc" in shown)


def now_of(domain: Domain) -> SpiceDisplay | None:
    """The SPICE display that a machine runs with, as it was last read."""
    definition = Definition.objects.filter(domain=domain).only("live_xml").first()
    return spice_of(definition.live_xml) if definition and definition.live_xml else None


def address_of(host: Host, listen: str) -> str:
    """Where a display that listens there is reached from elsewhere; empty where only its host reaches it."""
    if listen in EVERYWHERE:
        return host.hostname or str(host.info.get("hostname", ""))
    try:
        return "" if ipaddress.ip_address(listen).is_loopback else listen
    except ValueError:
        return "" if listen in ("", "localhost") else listen


# --- remote-viewer


def not_for_viewer(domain: Domain) -> str:
    """Why remote-viewer cannot open it from elsewhere, in a part of a sentence."""
    display = now_of(domain)
    if display is None:
        return str(_("it does not run with a SPICE display"))
    return "" if address_of(domain.host, display.listen) else str(_("its display listens on its host alone"))


def tunnel_to(domain: Domain) -> str:
    """The commands by which somebody who may sign in on the host reaches a display that listens there alone."""
    display = now_of(domain)
    if display is None or address_of(domain.host, display.listen):
        return ""
    host = domain.host
    user = f"{host.user}@" if host.user else ""
    port = f"-p {host.port} " if host.transport == Transport.SSH and host.port else ""
    there = shlex.quote(f"{user}{host.hostname or host.info.get('hostname', 'localhost')}")
    if display.socket:
        here = f"/tmp/{re.sub(r'[^A-Za-z0-9_.-]', '_', domain.name)}.spice"  # noqa: S108
        way = f"ssh {port}-fN -L {here}:{shlex.quote(display.socket)} {there}"
        return f"{way}\nremote-viewer spice+unix://{here}"
    number = display.port or display.tls_port
    where = "port" if display.port else "tls-port"
    listens = f"[{display.listen}]" if ":" in display.listen else display.listen or "127.0.0.1"
    way = f"ssh {port}-fN -L {number}:{listens}:{number} {there}"
    return f'{way}\nremote-viewer "spice://127.0.0.1?{where}={number}"'


@dataclass(frozen=True)
class Viewing:
    """What remote-viewer is told: `password` is empty where none is asked for, `authority` and `subject` where nobody
    here knows who signs the display's certificate."""

    title: str
    address: str
    display: SpiceDisplay
    password: str = ""
    authority: str = ""
    subject: str = ""


def viewer_file(viewing: Viewing) -> bytes:
    """The file that remote-viewer opens, and deletes as it does."""
    display = viewing.display
    told = {
        "type": "spice",
        "title": f"{viewing.title} - webvirt",
        "host": viewing.address,
        "port": str(display.port or ""),
        "tls-port": str(display.tls_port or ""),
        "password": viewing.password,
        "ca": viewing.authority,
        "host-subject": viewing.subject,
        # What can go by TLS does, the password first.
        "secure-channels": CHANNELS if display.tls_port else "",
        "delete-this-file": "1",
    }
    lines = [f"{name}={escaped(value)}" for name, value in told.items() if value]
    return "\n".join(["[virt-viewer]", *lines, ""]).encode()


def escaped(value: str) -> str:
    """A value as GLib's key files have it."""
    for letter, name in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(letter, name)
    return f"\\s{value[1:]}" if value.startswith(" ") else value


# --- VNC in its place


def not_for_vnc(domain: Domain) -> str:
    """Why it cannot have VNC in the place of SPICE, in a part of a sentence."""
    return "" if displays_of(domain).later else str(_("it starts without SPICE"))


def lost_by_vnc(domain: Domain) -> list[str]:
    """What its people will miss, a sentence each."""
    definition = Definition.objects.filter(domain=domain).only("inactive_xml").first()
    if definition is None or not definition.inactive_xml:
        return []
    sentences = {
        "clipboard": _("The clipboard that the guest shares with you, and a screen that follows your window."),
        "folders": _("The folder that you share with the guest."),
        "usb": _("USB devices of your own computer in the guest."),
        "audio": _("Sound: the guest keeps its sound card, and nobody hears it."),
        "smartcard": _("Your smart card in the guest."),
        "monitors": _("All monitors but one."),
        "acceleration": _("Drawing in three dimensions by the host's graphics card."),
        "password": _("The display's password: the new one is reached by its host alone, and through here."),
    }
    return [sentences[name] for name in lost_without_spice(definition.inactive_xml)]
