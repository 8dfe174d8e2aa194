"""The audit log: `note` writes a line, in the same transaction as what it tells.

The lines are a chain: each holds the hash of the one before and its own, the SHA-256 of its canonical form, so whoever
alters, deletes or inserts one has to write all later ones anew, and the hash of the last one is another then. All
writers, of whatever process, take turns at the row that holds the end of the chain. Nothing is ever purged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from math import isfinite
from typing import Any

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pydantic import SecretStr

from webvirt import bus
from webvirt.models import AuditHead, AuditLine, AuditResult, Operation, Origin, User
from webvirt.services.actors import Actor, current
from webvirt.services.subjects import NOUNS

EVENTS: dict[str, Promise] = {
    "person.sign_in": _("Sign in"),
    "person.sign_out": _("Sign out"),
    "person.guess": _("Guess beyond the limit"),
    "person.create": _("Create an account"),
    "person.activate": _("Activate an account"),
    "person.deactivate": _("Deactivate an account"),
    "person.password": _("Set a password"),
    "person.ssh_keys": _("Change SSH keys"),
    "person.link": _("Make a link to choose a password"),
    "person.link_withdrawn": _("Withdraw a link to choose a password"),
    "person.local": _("Keep an account of a directory here"),
    "person.factor": _("Add a second factor"),
    "person.factor_removed": _("Remove a second factor"),
    "person.sessions": _("End sessions"),
    "group.keep": _("Make or rename a group"),
    "group.directory": _("Change what a group is called in the directory"),
    "group.remove": _("Remove a group"),
    "group.put_in": _("Put somebody into a group"),
    "group.take_out": _("Take somebody out of a group"),
    "role.keep": _("Make or change a custom role"),
    "role.remove": _("Remove a custom role"),
    "project.keep": _("Make or change a project"),
    "project.quota": _("Change the quota of a project"),
    "project.allow": _("Change what a project may use"),
    "project.close": _("Close a project"),
    "flavour.keep": _("Add or change a flavour"),
    "flavour.remove": _("Remove a flavour"),
    "grant.give": _("Give a role"),
    "grant.withdraw": _("Withdraw a role"),
    "token.make": _("Make an API token"),
    "token.revoke": _("Revoke an API token"),
    "token.refused": _("Use an API token that is not good"),
    "host.identity": _("Connect to a host that shows another identity"),
    "cloud_image.add": _("Add a cloud image"),
    "cloud_image.change": _("Change a cloud image"),
    "cloud_image.remove": _("Remove a cloud image"),
    "console.control": _("Control of a console goes to somebody"),
    "console.end": _("End somebody's console"),
    "console.foreign": _("Somebody at a screen who did not come by this site"),
    "guest_link.make": _("Make a guest link"),
    "guest_link.use": _("Use a guest link"),
    "guest_link.revoke": _("Withdraw a guest link"),
    "operation.cancel": _("Cancel an operation"),
    "recording.watch": _("Watch a recording"),
    "recording.delete": _("Delete a recording"),
    "audit.export": _("Export the audit log"),
}
"""What is noted besides the verbs of the catalogue, as people read it."""

HIDDEN = "**********"
TELLING = (
    (re.compile(r"(?<=://)[^\s/?#@'\"]*@"), f"{HIDDEN}@"),
    (re.compile(r"(://[^\s?#'\"]+)\?[^\s'\"]*"), rf"\1?{HIDDEN}"),
)
"""Of addresses, who signs in how, and what follows a question mark: often it is a signature that lets anybody in."""
ANY_TIME = timedelta(days=365_000)
"""So far at the most lines are taken to be out of the order of their times."""
MOST_TEXT = 500
MOST_ITEMS = 50
MOST_DEPTH = 6
MOST_DETAILS = 4000
"""Characters of a line's details. What is longer is in the operation, and here only how long it was and its hash."""


@dataclass(frozen=True)
class Thing:
    """What a line is about, as of now: by noun and id, name and uuid, as far as it has them."""

    noun: str
    pk: int | None = None
    name: str = ""
    uuid: str = ""


def thing_of(row: Model) -> Thing:
    """Any row of ours. Its noun is the name of its model; a row without a name says what it is."""
    noun = row._meta.model_name or ""
    return Thing(noun, row.pk, str(getattr(row, "name", row)), str(getattr(row, "uuid", "")))


def account_named(name: str) -> Thing:
    """The account that somebody typed the name of; where nobody has it, the name alone."""
    account = User.objects.filter(username=name).first()
    return thing_of(account) if account else Thing("user", name=name)


# --- writing


def note(
    event: str,
    about: Model | Thing | None = None,
    *,
    result: AuditResult = AuditResult.DONE,
    actor: Actor | None = None,
    operation: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write a line. `actor` is who asks at the moment (`actors.current`), unless it is said.

    In the transaction that is open: the line is there if what it tells is. It holds the end of the chain until that
    transaction ends, so it should be its last step, or the transaction be one of `writing`. What is in `details` is
    bounded, and a `SecretStr` is asterisks.
    """
    thing = about if isinstance(about, Thing) or about is None else thing_of(about)
    who = actor or current()
    line = AuditLine(
        event=event,
        result=result,
        person=who.user.pk if who.user else None,
        actor=plain(who.name, 150),
        origin=who.origin,
        address=who.address or "",
        token_name=plain(who.token_name, 150),
        operation=operation,
        details=details_text(details or {}),
    )
    if thing is not None:
        line.noun, line.object_id = thing.noun, thing.pk
        line.name, line.uuid = plain(thing.name, 255), plain(thing.uuid, 36)
    with transaction.atomic():
        append(line)
        bus.announce(["audit"])


def note_operation(operation: Operation, outcome: AuditResult, *, actor: Actor | None = None, **details: Any) -> None:
    """Write a line of an operation, in the name of who asked for it; details that are empty are left out."""
    by = actor or Actor(
        operation.user, Origin(operation.origin), operation.address, operation.token_name, called=operation.actor
    )
    noun, _colon, pk = operation.subject.partition(":")
    uuid = operation.domain.uuid if operation.domain else uuid_of(noun, int(pk))
    about = Thing(noun, int(pk), operation.target, uuid)
    told = {name: value for name, value in details.items() if value}
    note(operation.kind, about, result=outcome, actor=by, operation=operation.pk, details=told)


def uuid_of(noun: str, pk: int) -> str:
    """The uuid of an object; empty where it has none, or is not there any more."""
    return str(getattr(NOUNS[noun].model._default_manager.filter(pk=pk).first(), "uuid", ""))


def append(line: AuditLine) -> None:
    """Make a line the last of the chain."""
    head = held_head()
    line.at = timezone.now()
    line.number, line.previous = head.number + 1, head.hash
    line.hash = hash_of(line)
    line.save(force_insert=True)
    head.latest = max(head.latest or line.at, line.at)
    head.back = max(head.back, head.latest - line.at)
    head.number, head.hash = line.number, line.hash
    head.save(force_update=True)


def held_head() -> AuditHead:
    """The end of the chain, held until the transaction ends."""
    head = AuditHead.objects.select_for_update().filter(pk=1).first()
    if head is None:
        # Somebody emptied the table: the log goes on where it ends. What the times are like is not known any more.
        last = AuditLine.objects.first()
        known = {"number": last.number, "hash": last.hash, "back": ANY_TIME} if last else {}
        AuditHead.objects.get_or_create(pk=1, defaults=known)
        head = AuditHead.objects.select_for_update().get(pk=1)
    return head


@contextmanager
def writing() -> Iterator[None]:
    """A transaction in which lines are written.

    It takes the end of the chain before any other lock, so that no two such transactions wait for each other.
    """
    with transaction.atomic():
        # SQLite has one lock for everything, and every transaction of ours begins by taking it.
        if connection.features.has_select_for_update:
            held_head()
        yield


# --- the form of a line


def plain(text: str, most: int) -> str:
    """A name on one line, whatever it holds: what cannot be printed is escaped, and it is cut at `most` characters."""
    return "".join(map(plain_character, text[:most]))[:most]


def plain_character(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode("ascii")


def details_text(details: Mapping[str, Any]) -> str:
    """JSON in ASCII and on one line."""
    text = compact(bounded(details, 0))
    if len(text) > MOST_DETAILS:
        text = compact({"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})
    return text


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def bounded(value: Any, depth: int) -> Any:
    """The same, as JSON knows it and not longer than anybody reads."""
    if isinstance(value, SecretStr):
        return HIDDEN if value else ""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if depth == MOST_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(key)[:MOST_TEXT]: bounded(part, depth + 1) for key, part in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [bounded(part, depth + 1) for part in list(value)[:MOST_ITEMS]]
    text = str(value)
    for pattern, mask in TELLING:
        text = pattern.sub(mask, text)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def canonical(line: AuditLine) -> str:
    """A line as its hash is of it: a JSON object in ASCII, without spaces, in this order."""
    told = {
        "number": line.number,
        "at": line.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": line.event,
        "result": str(line.result),
        "person": line.person,
        "actor": line.actor,
        "origin": str(line.origin),
        "address": line.address,
        "token": line.token_name,
        "noun": line.noun,
        "object": line.object_id,
        "name": line.name,
        "uuid": line.uuid,
        "operation": line.operation,
        "previous": line.previous,
    }
    return f'{compact(told)[:-1]},"details":{line.details}}}'


def hash_of(line: AuditLine) -> str:
    return hashlib.sha256(canonical(line).encode()).hexdigest()


def exported(line: AuditLine) -> str:
    """A line as files and syslog have it: the canonical form, and its hash as a last member more.

    Whoever takes that off again has what the hash is of.
    """
    return f'{canonical(line)[:-1]},"hash":"{line.hash}"}}'
