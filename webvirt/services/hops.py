"""The hops from a browser to a guest's display or serial line: which of them fails, and what to do about it.

A web process reaches no host. It looks at the first hops itself and hands the rest to the console proxy, which opens
the guest as for a console. The two meet over a one-use ticket in Redis, as they do for a console.
"""

from __future__ import annotations

import json
import secrets
import shlex
import socket
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from redis.exceptions import RedisError

from webvirt import bus
from webvirt.models import ConsoleDevice, ConsoleMode, ConsoleSession, Domain, Host
from webvirt.services import consoles
from webvirt.services.access import Access, access_of
from webvirt.services.catalogue.verb import shown_uri, virsh
from webvirt.services.consoles import Admission, Close, Refusal
from webvirt.services.disclosure import masked
from webvirt.services.health import beats
from webvirt.services.phrases import said
from webvirt.services.refusals import NotNow

TICKET_SECONDS = 30
BETWEEN_SECONDS = 1
"""Each look has processes of its own, so one person has one after the other."""
CONNECT_SECONDS = 1.0


class Hop(StrEnum):
    """In the order in which a console passes them; a serial line comes with the connection to libvirt, so it has no
    way of its own."""

    PAGE = "page"
    RIGHT = "right"
    TICKET = "ticket"
    PROXY = "proxy"
    HOST = "host"
    MACHINE = "machine"
    WAY = "way"
    GUEST = "guest"


class HopState(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True)
class Remedy:
    """What to do where a console ends with some code; `virsh` is the command that shows more, `on_host` one for the
    host's own shell."""

    hop: Hop
    words: Promise
    virsh: str = ""
    on_host: str = ""


REMEDIES: dict[Close, Remedy] = {
    Close.TOO_MANY: Remedy(Hop.RIGHT, gettext_lazy("Close a console that is not needed any more.")),
    Close.NO_REDIS: Remedy(
        Hop.TICKET, gettext_lazy("Start Redis again, and look at its log. Consoles that are open go on meanwhile.")
    ),
    Close.HOST: Remedy(
        Hop.HOST,
        gettext_lazy("See that the host is on and its libvirt runs: “Check” on the host's page tries each step."),
        virsh="version",
    ),
    Close.SIGN_IN: Remedy(
        Hop.HOST,
        gettext_lazy("“Check” on the host's page names the step that fails, such as a key that is not known there."),
        virsh="version",
    ),
    Close.UNKNOWN: Remedy(Hop.MACHINE, gettext_lazy("It is gone from its host: somebody removed it there.")),
    Close.NOT_NOW: Remedy(Hop.MACHINE, gettext_lazy("Start the machine."), virsh="start"),
    Close.NO_DISPLAY: Remedy(Hop.MACHINE, gettext_lazy("Add what is missing to its definition."), virsh="edit"),
    Close.NOT_VNC: Remedy(
        Hop.MACHINE, gettext_lazy("Convert it to VNC, or open it with remote-viewer."), virsh="domdisplay --all"
    ),
    Close.OUT_OF_REACH: Remedy(
        Hop.WAY,
        gettext_lazy("Add this host by SSH instead, or let the display listen on an address that this site can reach."),
        virsh="domdisplay --all",
    ),
    Close.FORWARDING: Remedy(
        Hop.WAY,
        gettext_lazy(
            "Let sshd there forward to unix sockets and ports (AllowStreamLocalForwarding, AllowTcpForwarding), for "
            "an account that may use the display's socket."
        ),
        on_host="sshd -T | grep -i -E 'forwarding|permitopen'",
    ),
    Close.CERTIFICATE: Remedy(
        Hop.WAY,
        gettext_lazy(
            "It must be signed by the authority that is trusted for hosts by TLS, and name the host as it is named "
            "here."
        ),
        on_host="openssl x509 -in /etc/pki/libvirt-vnc/server-cert.pem -noout -issuer -subject -ext subjectAltName",
    ),
    Close.DISPLAY: Remedy(
        Hop.GUEST,
        gettext_lazy("It is opened anew when the machine is shut down and started again."),
        virsh="domdisplay --all",
    ),
    Close.SILENT: Remedy(
        Hop.GUEST,
        gettext_lazy("Wait for it, or force it off: that works without its help."),
        virsh="domcontrol",
    ),
    Close.TAKEN: Remedy(Hop.GUEST, gettext_lazy("End that first, such as “virsh console” on the host.")),
    Close.MALFORMED: Remedy(Hop.GUEST, gettext_lazy("Something else listens in its place."), virsh="domdisplay --all"),
}


@dataclass(frozen=True)
class Look:
    """Who wants to know of which machine; `tells_all` for who may read where hosts are and how they are laid out."""

    domain: int
    host: int
    uuid: str
    device: str
    tells_all: bool
    language: str

    @property
    def admission(self) -> Admission:
        """What the display is opened with: there is no session, and nobody types."""
        return Admission(0, ConsoleMode.VIEW, self.device, "", "", self.host, self.uuid)


@dataclass(frozen=True)
class Trouble:
    """The hop at which a console ends."""

    hop: Hop
    words: str
    remedy: str
    command: str = ""


# --- from a web process


def begin(access: Access, domain: Domain, device: ConsoleDevice) -> str | Trouble:
    """Look at the hops that a web process sees. Where they are in order, the address at which the front reaches who
    looks at the others. Raises NotNow."""
    look = Look(
        domain.pk, domain.host_id, domain.uuid, device, access.is_administrator, translation.get_language() or "en"
    )
    try:
        consoles.refuse_too_many(access.user, domain.pk, timezone.now())
    except Refusal as refusal:
        return trouble_of(look, refusal)
    ticket = secrets.token_urlsafe(32)
    try:
        if not bus.store().set(f"webvirt.looks.{access.user.pk}", 1, ex=BETWEEN_SECONDS, nx=True):
            raise NotNow(_("One look after the other: wait a second."))
        bus.store().set(key_of(ticket), json.dumps(asdict(look)), ex=TICKET_SECONDS)
    except RedisError as error:
        return trouble_of(look, Refusal(Close.NO_REDIS, str(error)))
    return without_proxy(look) or f"/hops/{ticket}"


def without_proxy(look: Look) -> Trouble | None:
    """What is told where no console proxy listens, or its keeper of leases is silent."""
    beat = beats()["consoleproxy"]
    if not beat["ok"] and beat["age"] is not None:
        words = _("It was last heard of %(seconds)s s ago.") % {"seconds": round(beat["age"])}
    elif why := why_not_heard():
        words = _("Nothing listens on its socket: %(why)s") % {"why": said(why) if look.tells_all else "…"}
    else:
        return None
    remedy = _("It is started again by itself within seconds, unless somebody stopped it: look at its log.")
    return Trouble(Hop.PROXY, words, remedy, "systemctl status webvirt@consoleproxy" if look.tells_all else "")


def why_not_heard() -> str:
    """What is said where the console proxy's socket is connected to; empty where it listens."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(CONNECT_SECONDS)
        try:
            end.connect(str(settings.WEBVIRT_HOME / "run" / "console.sock"))
        except OSError as error:
            return str(error)
    return ""


def key_of(ticket: str) -> str:
    return f"webvirt.look.{ticket}"


# --- from the console proxy


def taken(ticket: str) -> Look | None:
    """What is to be looked at, once. Raises RedisError."""
    kept: bytes | None = bus.store().getdel(key_of(ticket))  # type: ignore[assignment]
    return None if kept is None else Look(**json.loads(kept))


def words_for(admission: Admission, host: Host, words: str) -> str:
    """Why a console was not opened, as far as its person may read it; a look's are seen to where they are told."""
    session = ConsoleSession.objects.select_related("user").filter(pk=admission.session).first()
    return words if session is None or access_of(session.user).is_administrator else masked(words, host)


# --- from either


def trouble_of(look: Look, refusal: Refusal) -> Trouble:
    """What a refusal means to who looks, in their language."""
    domain = Domain.objects.select_related("host").get(pk=look.domain)
    # Masked first: what tells is found by its place among English words.
    words = said(str(refusal) if look.tells_all else masked(str(refusal), domain.host))
    found = REMEDIES.get(refusal.code)
    if found is None:
        return Trouble(Hop.PROXY, words, "")
    return Trouble(found.hop, words, str(found.words), command_of(found, domain) if look.tells_all else "")


def command_of(remedy: Remedy, domain: Domain) -> str:
    if remedy.on_host:
        return f"# on {domain.host.name}\n{remedy.on_host}"
    if not remedy.virsh:
        return ""
    if remedy.hop == Hop.HOST:
        return f"virsh -c {shlex.quote(shown_uri(domain))} {remedy.virsh}"
    return virsh(remedy.virsh)(domain, None)


def hops_of(device: str) -> dict[Hop, str]:
    """The hops to a display or a serial line, in order, and what each is called."""
    to_all = {
        Hop.PAGE: _("From your browser to this site"),
        Hop.RIGHT: _("Your sign-in and your right"),
        Hop.TICKET: _("The ticket, kept in Redis"),
        Hop.PROXY: _("The console proxy of this site"),
        Hop.HOST: _("From this site to the host and its libvirt"),
    }
    if device == ConsoleDevice.SERIAL:
        return to_all | {
            Hop.MACHINE: _("The machine runs and has a serial line"),
            Hop.GUEST: _("The serial line can be read"),
        }
    return to_all | {
        Hop.MACHINE: _("The machine runs and has a VNC display"),
        Hop.WAY: _("From this site to where the display listens"),
        Hop.GUEST: _("The display answers"),
    }


def told(device: str, trouble: Trouble | None) -> dict[str, Any]:
    """All hops, in order: those before the one that fails were passed, and those after it not reached."""
    hops: list[dict[str, str]] = []
    state = HopState.OK
    for hop, label in hops_of(device).items():
        fails = trouble is not None and trouble.hop == hop
        found = asdict(trouble) if trouble and fails else {"words": "", "remedy": "", "command": ""}
        hops.append(found | {"hop": hop.value, "label": label, "state": (HopState.FAILED if fails else state).value})
        state = HopState.NOT_REACHED if fails else state
    return {"ok": trouble is None, "hops": hops}
