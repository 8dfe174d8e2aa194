"""What the API says of things. Memory in KiB, rates in bytes per second, times in ISO 8601 with their zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Schema

from webvirt.hypervisor.addresses import fingerprint
from webvirt.models import ApiToken, ConsoleSession, Domain, Grant, Host, LoginSession, Operation
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, NoParameters, Verb, verbs_on, why_not
from webvirt.services.disclosure import error_for, masked, parameters_for, virsh_for
from webvirt.services.sessions import handle_of
from webvirt.services.subjects import Subject, noun_of


class Failure(Schema):
    """Any answer that is not a success."""

    error: str
    fields: dict[str, str] | None = None
    holder: dict[str, Any] | None = None


class HostName(Schema):
    id: int
    name: str
    state: str


class AddressOut(Schema):
    transport: str
    hostname: str
    port: int | None
    user: str


class HostOut(Schema):
    id: int
    name: str
    uuid: str
    state: str
    state_since: datetime
    state_reason: str
    seen_at: datetime | None
    info: dict[str, Any]
    cpu_percent: float | None
    memory_used_kib: int | None
    usage_at: datetime | None
    address: AddressOut | None
    """How we reach it; for administrators."""


class VerbNow(Schema):
    """A verb this person may use here, and why not at this moment (empty: now)."""

    verb: str
    why_not: str


class HostDetail(HostOut):
    checks: list[dict[str, Any]]
    """The capability check; for administrators."""
    trial: list[dict[str, Any]]
    """The last trial of the connection, step by step; for administrators."""
    keys: list[str]
    """Fingerprints of the keys that an SSH host is known by; for administrators."""
    offered: list[str]
    """Of those that it shows and nobody has confirmed: `trust` takes them; for administrators."""
    password_at: datetime | None
    """When its password was entered, which nobody can read again; for administrators."""
    verbs: list[VerbNow]


class DomainOut(Schema):
    id: int
    uuid: str
    name: str
    title: str
    description: str
    tags: list[str]
    status: str
    status_reason: str
    status_since: datetime | None
    missing_since: datetime | None
    not_responding_since: datetime | None
    host: HostName
    project: int | None
    """The id of the project that it is in."""
    stale: bool
    """The host does not answer: this is how it last was."""
    persistent: bool
    autostart: bool
    is_template: bool
    """Machines are made from it, and it is never started."""
    template_line: str
    template_version: int
    """Of a template that has versions, what these are called together and which of them it is; else empty and 0."""
    vcpus: int
    memory_kib: int
    cpu_percent: float | None
    memory_used_kib: int | None
    disk_read_rate: int | None
    disk_write_rate: int | None
    net_rx_rate: int | None
    net_tx_rate: int | None
    usage_at: datetime | None


class HardwareOut(Schema):
    """The definition at the next start, and of the running machine."""

    inactive: dict[str, Any]
    live: dict[str, Any] | None
    addresses: list[dict[str, Any]]
    read_at: datetime


class DomainDetail(DomainOut):
    role: str
    hardware: HardwareOut | None
    verbs: list[VerbNow]


class OperationOut(Schema):
    id: int
    kind: str
    label: str
    state: str
    host: int
    domain: int | None
    subject: str
    """What it is done to, by noun and id: `pool:12`."""
    target: str
    actor: str
    origin: str
    address: str | None
    token_name: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    phase: str
    done: int | None
    total: int | None
    percent: int | None
    cancellable: bool
    cancel_asked_at: datetime | None
    parameters: dict[str, Any]
    virsh: str
    result: dict[str, Any]
    error: str
    remedy: str


class SessionOut(Schema):
    """A console session; `address` for those who own the machine."""

    id: int
    user: str
    mode: str
    address: str | None
    created_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None
    end_reason: str
    bytes_to_browser: int
    bytes_to_guest: int


class TokenOut(Schema):
    id: int
    name: str
    kinds: list[str] | None
    """The verbs that it may, where its person may; none: it only reads. Null: all that its person may."""
    project: int | None
    """The id of the project in which alone it may anything; null: everywhere."""
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class NewToken(TokenOut):
    token: str
    """The secret itself, shown this once."""


class LoginSessionOut(Schema):
    id: str
    address: str | None
    browser: str
    """What the browser says of itself."""
    began_at: datetime | None
    last_used_at: datetime


class GrantOut(Schema):
    id: int
    role: str
    """Empty where it is a custom role."""
    custom_role: int | None
    on: str
    """What it is on, by noun and id (`project:3`); empty: everything."""
    person: int | None
    group: int | None


class Me(Schema):
    id: int
    username: str
    is_service: bool
    language: str
    theme: str
    is_administrator: bool
    grants: list[GrantOut]
    token: TokenOut | None
    """The token of this very request, and what it may of all that."""


class VerbOut(Schema):
    kind: str
    noun: str
    name: str
    label: str
    role: str
    states: list[str] | None
    """The machine's states in which it makes sense; null: any."""
    exclusive: bool
    cancellable: bool
    bulk: bool
    session: bool
    danger: str
    parameters: dict[str, Any] | None
    """The JSON schema of what it takes; null: nothing."""


class Domains(Schema):
    total: int
    items: list[DomainOut]


class Hosts(Schema):
    total: int
    items: list[HostOut]


class Operations(Schema):
    total: int
    items: list[OperationOut]


class Sessions(Schema):
    total: int
    items: list[SessionOut]


class BulkItem(Schema):
    """What became of one thing: `status` as if it had been asked alone."""

    id: int
    status: int
    operation: OperationOut | None = None
    error: str = ""


class BulkOut(Schema):
    items: list[BulkItem]


class NamedItem(Schema):
    """What became of one new machine: `status` as if it had been asked for alone, `fields` what is wrong with it."""

    name: str
    status: int
    operation: OperationOut | None = None
    error: str = ""
    fields: dict[str, str] | None = None


class NamedOut(Schema):
    items: list[NamedItem]


def host_fields(access: Access, host: Host) -> dict[str, Any]:
    whole = access.is_administrator
    address = AddressOut(transport=host.transport, hostname=host.hostname, port=host.port, user=host.user)
    plain = ("name", "uuid", "state", "state_since", "seen_at", "cpu_percent", "memory_used_kib", "usage_at")
    return {name: getattr(host, name) for name in plain} | {
        "id": host.pk,
        "info": {name: value for name, value in host.info.items() if whole or name != "hostname"},
        "state_reason": host.state_reason if whole else masked(host.state_reason, host),
        "address": address if whole else None,
    }


def host_name(host: Host) -> HostName:
    return HostName(id=host.pk, name=host.name, state=host.state)


def host_out(access: Access, host: Host) -> HostOut:
    return HostOut(**host_fields(access, host))


def host_detail(access: Access, host: Host) -> HostDetail:
    whole = access.is_administrator
    checks, trial = (host.checks, host.trial) if whole else ([], [])
    return HostDetail(
        **host_fields(access, host),
        checks=checks,
        trial=trial,
        keys=[fingerprint(key) for key in host.keys] if whole else [],
        offered=[fingerprint(key) for key in host.offered] if whole else [],
        password_at=host.password_at if whole else None,
        verbs=verbs_now(access, host),
    )


def verbs_now(access: Access, target: Subject) -> list[VerbNow]:
    """The verbs that this person may use on it."""
    allowed = [verb for verb in verbs_on(noun_of(target)) if access.may(verb, target)]
    return [VerbNow(verb=verb.name, why_not=str(why_not(verb, target))) for verb in allowed]


SAME_IN_DOMAIN = tuple(DomainOut.model_fields.keys() - {"id", "host", "project", "stale"})


def domain_fields(domain: Domain) -> dict[str, Any]:
    return {name: getattr(domain, name) for name in SAME_IN_DOMAIN} | {
        "id": domain.pk,
        "host": host_name(domain.host),
        "project": domain.project_id,
        "stale": domain.is_stale,
    }


def domain_out(domain: Domain) -> DomainOut:
    return DomainOut(**domain_fields(domain))


def domain_detail(access: Access, domain: Domain) -> DomainDetail:
    """Everything of one machine; its definition joined."""
    role = access.role_on(domain)
    kept = getattr(domain, "definition", None)
    hardware = None
    if kept is not None:
        hardware = HardwareOut(inactive=kept.inactive, live=kept.live, addresses=kept.addresses, read_at=kept.read_at)
    return DomainDetail(**domain_fields(domain), role=role or "", hardware=hardware, verbs=verbs_now(access, domain))


SAME_IN_OPERATION = tuple(
    OperationOut.model_fields.keys()
    - {"id", "label", "host", "domain", "address", "cancellable", "parameters", "virsh", "error"}
)


def operation_out(access: Access, operation: Operation) -> OperationOut:
    verb = BY_KIND[operation.kind]
    own = access.asked_for(operation)
    return OperationOut(
        **{name: getattr(operation, name) for name in SAME_IN_OPERATION},
        id=operation.pk,
        label=str(verb.label),
        host=operation.host_id,
        domain=operation.domain_id,
        address=operation.address if own or access.is_administrator else None,
        cancellable=operation.is_active and (verb.cancellable or operation.state == "queued"),
        parameters=parameters_for(access, operation),
        virsh=virsh_for(access, operation),
        error=error_for(access, operation),
    )


def session_out(session: ConsoleSession, shows_address: bool) -> SessionOut:
    same = SessionOut.model_fields.keys() - {"id", "user", "address"}
    return SessionOut(
        **{name: getattr(session, name) for name in same},
        id=session.pk,
        user=session.person,
        address=session.address if shows_address else None,
    )


def token_out(token: ApiToken) -> TokenOut:
    same = TokenOut.model_fields.keys() - {"id", "project"}
    return TokenOut(id=token.pk, project=token.project_id, **{name: getattr(token, name) for name in same})


def login_session_out(session: LoginSession) -> LoginSessionOut:
    same = LoginSessionOut.model_fields.keys() - {"id"}
    return LoginSessionOut(id=handle_of(session.session_key), **{name: getattr(session, name) for name in same})


def grant_out(grant: Grant) -> GrantOut:
    return GrantOut(
        id=grant.pk,
        role=grant.role,
        custom_role=grant.custom_role_id,
        on=grant.scope,
        person=grant.user_id,
        group=grant.group_id,
    )


def verb_out(verb: Verb) -> VerbOut:
    same = ("kind", "noun", "name", "role", "exclusive", "cancellable", "bulk", "session")
    return VerbOut(
        **{name: getattr(verb, name) for name in same},
        label=str(verb.label),
        states=None if verb.states is None else sorted(verb.states),
        danger=str(verb.danger or ""),
        parameters=None if verb.spec is NoParameters else parameters_schema(verb),
    )


def parameters_schema(verb: Verb) -> dict[str, Any]:
    """The JSON schema of a verb's parameters, references filled in."""
    schema = verb.spec.model_json_schema()
    defined = schema.pop("$defs", {})

    def filled(node: Any) -> Any:
        if isinstance(node, list):
            return [filled(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return filled(defined[node["$ref"].rpartition("/")[2]])
        return {key: filled(value) for key, value in node.items()}

    whole: dict[str, Any] = filled(schema)
    return whole
