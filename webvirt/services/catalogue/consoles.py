"""What may be done with the consoles of a domain: watched, used, shared with guests, recorded."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from webvirt.models import Role, Status
from webvirt.services.catalogue.specs import RecordSpec
from webvirt.services.catalogue.verb import Group, Verb, nothing_on_the_host, virsh

S = Status

VERBS = (
    Verb(
        "domain.view",
        _("Watch the console"),
        Role.VIEWER,
        virsh("domdisplay"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN}),
        exclusive=False,
        session=True,
        icon="eye",
    ),
    Verb(
        "domain.console",
        _("Use the console"),
        Role.OPERATOR,
        virsh("domdisplay"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN}),
        exclusive=False,
        session=True,
        icon="device-desktop",
    ),
    Verb(
        "domain.invite",
        _("Invite guests to the console"),
        Role.OWNER,
        nothing_on_the_host,
        exclusive=False,
        session=True,
        needs_host=False,
        icon="user-plus",
    ),
    Verb(
        "domain.record",
        _("Record its consoles"),
        Role.OWNER,
        nothing_on_the_host,
        spec=RecordSpec,
        exclusive=False,
        needs_host=False,
        group=Group.CHANGE,
        icon="player-record",
    ),
    Verb(
        "domain.recordings",
        _("Watch recordings of its consoles"),
        Role.OWNER,
        nothing_on_the_host,
        exclusive=False,
        session=True,
        needs_host=False,
        icon="movie",
    ),
    Verb(
        "domain.delete_recordings",
        _("Delete recordings of its consoles"),
        Role.OWNER,
        nothing_on_the_host,
        exclusive=False,
        session=True,
        needs_host=False,
        icon="trash",
    ),
)
