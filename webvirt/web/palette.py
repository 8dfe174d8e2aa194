"""What the Ctrl-K palette finds: pages, machines, hosts, and the verbs on what the page shows or the words name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from webvirt.models import Project, Status
from webvirt.services import recordings
from webvirt.services.access import Access
from webvirt.services.catalogue import VERBS
from webvirt.services.subjects import Subject, address_of, name_of
from webvirt.web.creation import may_create_anywhere
from webvirt.web.guards import signed_in
from webvirt.web.offers import as_json, offers

FOUND = 8
Entry = dict[str, Any]


@require_GET
@signed_in
def palette(request: HttpRequest, access: Access) -> JsonResponse:
    text = request.GET.get("q", "").strip()[:200]
    here = object_here(access, request.GET.get("on", ""))
    entries: list[Entry] = []
    if here is not None:
        entries += verb_entries(access, here, text)
    entries += named_verbs(access, text)
    entries += machine_entries(access, text)
    entries += host_entries(access, text)
    entries += thing_entries(access, text)
    entries += page_entries(access, text)
    return JsonResponse({"entries": entries})


def object_here(access: Access, name: str) -> Subject | None:
    """The object of the page that asks, from its live name (`domain:12`)."""
    match = re.fullmatch(r"([a-z]+):(\d{1,17})", name)
    return access.one(match[1], int(match[2])) if match else None


def verb_entries(access: Access, target: Subject, text: str) -> Iterable[Entry]:
    for found in offers(access, target):
        if matches(text, found.label):
            yield as_json(found) | {"section": target.name, "verb": True, "hint": found.reason, "target": target.name}


def named_verbs(access: Access, text: str) -> list[Entry]:
    """`start web` offers to start each machine whose name holds “web”."""
    first, _space, rest = text.partition(" ")
    name = rest.strip()
    kinds = {
        verb.name
        for verb in VERBS
        if verb.noun == "domain"
        and first
        and (matches_start(first, verb.name) or matches_start(first, str(verb.label)))
    }
    if not name or not kinds:
        return []
    found: list[Entry] = []
    for domain in access.domains().filter(name__icontains=name).order_by("name")[:FOUND]:
        found += [
            as_json(one)
            | {"section": _("Do"), "verb": True, "label": f"{one.label}: {domain.name}", "target": domain.name}
            for one in offers(access, domain)
            if one.name in kinds and not one.reason
        ]
    return found[:FOUND]


def machine_entries(access: Access, text: str) -> list[Entry]:
    if not text:
        return []
    found = access.domains().matching(text).defer("description").order_by("name")[:FOUND]
    return [
        {
            "section": _("Virtual machines"),
            "label": domain.name,
            "hint": f"{Status(domain.status).label} · {domain.host.name}",
            "icon": "device-desktop",
            "state": domain.status,
            "url": address_of(name_of(domain)),
        }
        for domain in found
    ]


def host_entries(access: Access, text: str) -> list[Entry]:
    if not text:
        return []
    found = access.hosts().filter(name__icontains=text).order_by("name")[:FOUND]
    return [
        {
            "section": _("Hosts"),
            "label": host.name,
            "hint": str(host.get_state_display()),
            "icon": "server-2",
            "url": address_of(name_of(host)),
        }
        for host in found
    ]


def thing_entries(access: Access, text: str) -> list[Entry]:
    """Projects, pools, volumes, networks, filters and secrets by name."""
    if not text:
        return []
    found: list[Entry] = []
    for section, rows, icon in (
        (_("Projects"), access.projects(), "folder"),
        (_("Storage"), access.pools(), "database"),
        (_("Volumes"), access.volumes(), "disc"),
        (_("Networks"), access.networks(), "network"),
        (_("Network filters"), access.filters(), "filter"),
        (_("Secrets"), access.secrets(), "key"),
    ):
        for row in rows.filter(name__icontains=text).order_by("name")[:FOUND]:
            if isinstance(row, Project):
                hint, url = row.description, address_of(f"project:{row.pk}")
            else:
                hint, url = row.host.name, address_of(name_of(row))
            found.append({"section": section, "label": row.name, "hint": hint, "icon": icon, "url": url})
    return found


def page_entries(access: Access, text: str) -> list[Entry]:
    pages = [
        (_("Overview"), "/", "layout-dashboard", "g o"),
        (_("Virtual machines"), "/vms/", "device-desktop", "g v"),
        (_("Running machines"), "/vms/?state=running", "device-desktop", ""),
        (_("Hosts"), "/hosts/", "server-2", "g h"),
        (_("Storage"), "/pools/", "database", "g s"),
        (_("Networks"), "/networks/", "network", "g n"),
        (_("Images"), "/images/", "disc", "g i"),
        (_("Operations"), "/operations/", "list-check", "g l"),
        (_("Open consoles"), "/consoles/", "screen-share", ""),
        (_("Failed operations"), "/operations/?state=failed", "list-check", ""),
        (_("Profile"), "/me/", "user-circle", "g m"),
    ]
    if access.knows_projects:
        pages.append((_("Projects"), "/projects/", "folder", "g j"))
    if recordings.may_any(access):
        pages.append((_("Recordings"), "/recordings/", "movie", ""))
    if may_create_anywhere(access):
        pages.append((_("Create a machine"), "/vms/create/", "plus", ""))
    if access.is_administrator:
        pages += [
            (_("Add a host"), "/hosts/add/", "plus", ""),
            (_("People"), "/people/", "users", "g p"),
            (_("Groups"), "/people/groups/", "users", ""),
            (_("Custom roles"), "/people/roles/", "users", ""),
            (_("Who may do what"), "/people/who/", "shield-check", ""),
            (_("Audit log"), "/audit/", "history", "g a"),
        ]
    return [
        {"section": _("Pages"), "label": label, "hint": keys, "icon": icon, "url": url}
        for label, url, icon, keys in pages
        if matches(text, label)
    ]


def matches(text: str, label: str) -> bool:
    return all(word in label.lower() for word in text.lower().split())


def matches_start(word: str, label: str) -> bool:
    return label.lower().startswith(word.lower())
