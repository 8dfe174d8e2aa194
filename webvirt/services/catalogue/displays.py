"""The verbs of machines whose display is SPICE."""

from __future__ import annotations

import shlex
from typing import Literal

from django.utils.translation import gettext_lazy as _

from webvirt.models import Definition, Domain, Role, Status
from webvirt.services.catalogue.building import supports_of, video_for
from webvirt.services.catalogue.specs import Spec
from webvirt.services.catalogue.verb import Group, Queue, Verb, shown_uri, virsh
from webvirt.services.spice import not_for_viewer, not_for_vnc
from webvirt.services.subjects import Subject
from webvirt.services.systems import short_id_of, traits_of

S = Status


class ToVncSpec(Spec):
    """`video` takes the place of a QXL card: `auto` is what a new machine with its system would have."""

    video: Literal["auto", "virtio", "vga"] = "auto"


def video_for_vnc(domain: Domain, spec: ToVncSpec) -> str:
    if spec.video != "auto":
        return spec.video
    definition = Definition.objects.filter(domain=domain).only("inactive").first()
    info = definition.inactive if definition else {}
    traits = traits_of(short_id_of(info.get("os_id", "")))
    fitting = [one for one in supports_of(domain.host) if one.arch == info.get("arch")]
    return video_for(traits, fitting[0]) if fitting else "vga"


def virsh_to_vnc(target: Subject, spec: ToVncSpec) -> str:
    file = shlex.quote(f"{target.name}.xml")
    dump = virsh("dumpxml --inactive --security-info")(target, spec)
    return f"{dump} > {file}\nvirsh -c {shlex.quote(shown_uri(target))} define --validate {file}"


VERBS = (
    Verb(
        "domain.viewer_file",
        _("Open with remote-viewer"),
        Role.OPERATOR,
        virsh("domdisplay --type spice"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN}),
        exclusive=False,
        queue=Queue.BYTES,
        icon="external-link",
        forbids=not_for_viewer,
    ),
    Verb(
        "domain.to_vnc",
        _("Convert to VNC"),
        Role.OWNER,
        virsh_to_vnc,
        spec=ToVncSpec,
        group=Group.CHANGE,
        icon="transfer",
        forbids=not_for_vnc,
    ),
)
