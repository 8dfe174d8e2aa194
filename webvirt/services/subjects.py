"""What verbs are done to: of each noun its rows, the address of its pages, and its name in announcements."""

from __future__ import annotations

from dataclasses import dataclass

from webvirt.models import Domain, Filter, Host, Network, Pool, Secret, Volume

Subject = Domain | Host | Pool | Volume | Network | Filter | Secret


@dataclass(frozen=True)
class Noun:
    """One kind of object. `path` is the first part of its pages' addresses."""

    name: str
    model: type[Subject]
    path: str


NOUNS = {
    noun.name: noun
    for noun in (
        Noun("domain", Domain, "vms"),
        Noun("host", Host, "hosts"),
        Noun("pool", Pool, "pools"),
        Noun("volume", Volume, "volumes"),
        Noun("network", Network, "networks"),
        Noun("filter", Filter, "filters"),
        Noun("secret", Secret, "secrets"),
    )
}


def noun_of(subject: Subject) -> str:
    """`pool` of a pool."""
    return next(noun.name for noun in NOUNS.values() if isinstance(subject, noun.model))


def name_of(subject: Subject) -> str:
    """Its name in announcements and on operations: `pool:12`."""
    return f"{noun_of(subject)}:{subject.pk}"


def host_of(subject: Subject) -> Host:
    """The host that it is, or is on."""
    return subject if isinstance(subject, Host) else subject.host


def address_of(name: str) -> str:
    """The address of an object's page, from its name in announcements."""
    noun, _, pk = name.partition(":")
    return f"/{NOUNS[noun].path}/{pk}/"


def found(name: str) -> Subject | None:
    """The row of this name, with its host; None when it is not there (any more)."""
    noun, _, pk = name.partition(":")
    model = NOUNS[noun].model
    joined = {Host: [], Volume: ["pool__host"]}.get(model, ["host"])
    return model._default_manager.select_related(*joined).filter(pk=int(pk)).first()
