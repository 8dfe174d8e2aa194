"""What is known here alone: in which project a machine, a volume or a network is, and whether one is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from webvirt import bus
from webvirt.models import Domain, Network, Project, Volume
from webvirt.services.subjects import name_of


def put_in_project(things: Sequence[Domain | Volume | Network], project: Project | None) -> None:
    """They are in this project from now on, or in none."""
    names = {"domains", "networks", "pools", "projects"}
    with transaction.atomic():
        for thing in things:
            type(thing)._default_manager.filter(pk=thing.pk).update(project=project)
            names |= {name_of(thing)} | {f"project:{pk}" for pk in (thing.project_id, project and project.pk) if pk}
        bus.announce(names)


def be_recorded(domain: Domain, *, is_recorded: bool) -> None:
    """Each console of the machine is recorded from now on, or none by itself."""
    with transaction.atomic():
        Domain.objects.filter(pk=domain.pk).update(is_recorded=is_recorded)
        bus.announce({name_of(domain)})
