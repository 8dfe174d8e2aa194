"""What we remember. Rows hold no rules of who may do what and never call a host."""

from webvirt.models.consoles import ConsoleMode, ConsoleSession, EndReason
from webvirt.models.domains import ACTIVE, Definition, Domain, DomainQuerySet, Screen, Status
from webvirt.models.hosts import TRANSPORT_LABELS, Host, HostQuerySet, HostState
from webvirt.models.operations import (
    ACTIVE_STATES,
    AppendOnly,
    Operation,
    OperationQuerySet,
    OperationState,
    Origin,
)
from webvirt.models.people import ApiToken, Grant, Role, Theme, User
from webvirt.models.processes import Process

__all__ = [
    "ACTIVE",
    "ACTIVE_STATES",
    "TRANSPORT_LABELS",
    "ApiToken",
    "AppendOnly",
    "ConsoleMode",
    "ConsoleSession",
    "Definition",
    "Domain",
    "DomainQuerySet",
    "EndReason",
    "Grant",
    "Host",
    "HostQuerySet",
    "HostState",
    "Operation",
    "OperationQuerySet",
    "OperationState",
    "Origin",
    "Process",
    "Role",
    "Screen",
    "Status",
    "Theme",
    "User",
]
