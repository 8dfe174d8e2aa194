"""The flavours that new machines are offered in, and what administrators keep of each."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from pydantic import AfterValidator, Field, StringConstraints

from webvirt import bus
from webvirt.models import Flavour
from webvirt.services import audit
from webvirt.services.catalogue.specs import Spec, one_line
from webvirt.services.catalogue.volumes import MOST_BYTES
from webvirt.services.catalogue.wishes import MemoryMib, Vcpus
from webvirt.services.operations import Invalid, parsed

MOST_POSITION = 32_767


class FlavourSpec(Spec):
    """What administrators keep of a flavour. `disk` is in bytes, 0 where it says nothing of the first disk."""

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40), AfterValidator(one_line)
    ]
    vcpus: Vcpus
    memory_mib: MemoryMib
    disk: Annotated[int, Field(ge=0, le=MOST_BYTES)] = 0
    position: Annotated[int, Field(ge=0, le=MOST_POSITION)] = 0


def flavours(text: str = "") -> QuerySet[Flavour]:
    """All of them in their order, with a text in the name."""
    return Flavour.objects.filter(name__icontains=text)


def add(parameters: dict[str, Any]) -> Flavour:
    """Add a flavour. Raises Invalid with a sentence for each wrong field."""
    return change(Flavour(), parameters)


def change(flavour: Flavour, parameters: dict[str, Any]) -> Flavour:
    """Make of a flavour what is said of it, all of it; machines that were made in it stay as they are. Raises
    Invalid."""
    spec = parsed(FlavourSpec, parameters)
    with audit.writing():
        if Flavour.objects.filter(name=spec.name).exclude(pk=flavour.pk).exists():
            raise Invalid({"name": _("There is a flavour of this name already.")})
        for name, value in spec.model_dump().items():
            setattr(flavour, name, value)
        flavour.save()
        audit.note("flavour.keep", flavour, details=spec.model_dump(exclude={"name"}))
        bus.announce(["flavours"])
    return flavour


def remove(flavour: Flavour) -> None:
    """Offer it no longer; machines that were made in it stay as they are."""
    with audit.writing():
        audit.note("flavour.remove", flavour)
        flavour.delete()
        bus.announce(["flavours"])
