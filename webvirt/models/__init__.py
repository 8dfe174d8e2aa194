"""What we remember. Rows hold no rules of who may do what and never call a host."""

from webvirt.models.audit import AUDIT_START, AuditForward, AuditHead, AuditLine, AuditQuerySet, AuditResult
from webvirt.models.consoles import (
    ConsoleDevice,
    ConsoleMode,
    ConsoleSession,
    EndReason,
    GuestLink,
    Recording,
    RecordingEnd,
    ScreenConnection,
)
from webvirt.models.devices import DeviceList, DeviceUse
from webvirt.models.directories import DirectoryName, Identity, Source
from webvirt.models.domains import ACTIVE, Definition, Domain, DomainQuerySet, Screen, Status
from webvirt.models.flavours import Flavour
from webvirt.models.hosts import NOT_REACHED, TRANSPORT_LABELS, Host, HostQuerySet, HostState
from webvirt.models.images import CloudImage
from webvirt.models.networks import CardUse, Filter, Network, NetworkStatus
from webvirt.models.operations import (
    ACTIVE_STATES,
    ENDED_BADLY,
    AppendOnly,
    Operation,
    OperationQuerySet,
    OperationState,
    Origin,
)
from webvirt.models.people import ApiToken, ApiTokenQuerySet, Theme, User
from webvirt.models.processes import Process
from webvirt.models.quotas import Meter, MonthlyUse, Reservation
from webvirt.models.rights import SCOPES, CustomRole, Grant, Project, ProjectQuerySet, Role
from webvirt.models.secrets import Secret
from webvirt.models.seen import Seen, SeenQuerySet
from webvirt.models.sign_in import Guesses, LoginSession, PasswordLink
from webvirt.models.sources import SourceHost
from webvirt.models.storage import DiskUse, Pool, PoolStatus, Volume
from webvirt.models.uploads import Upload

__all__ = [
    "ACTIVE",
    "ACTIVE_STATES",
    "AUDIT_START",
    "ENDED_BADLY",
    "NOT_REACHED",
    "SCOPES",
    "TRANSPORT_LABELS",
    "ApiToken",
    "ApiTokenQuerySet",
    "AppendOnly",
    "AuditForward",
    "AuditHead",
    "AuditLine",
    "AuditQuerySet",
    "AuditResult",
    "CardUse",
    "CloudImage",
    "ConsoleDevice",
    "ConsoleMode",
    "ConsoleSession",
    "CustomRole",
    "Definition",
    "DeviceList",
    "DeviceUse",
    "DirectoryName",
    "DiskUse",
    "Domain",
    "DomainQuerySet",
    "EndReason",
    "Filter",
    "Flavour",
    "Grant",
    "Guesses",
    "GuestLink",
    "Host",
    "HostQuerySet",
    "HostState",
    "Identity",
    "LoginSession",
    "Meter",
    "MonthlyUse",
    "Network",
    "NetworkStatus",
    "Operation",
    "OperationQuerySet",
    "OperationState",
    "Origin",
    "PasswordLink",
    "Pool",
    "PoolStatus",
    "Process",
    "Project",
    "ProjectQuerySet",
    "Recording",
    "RecordingEnd",
    "Reservation",
    "Role",
    "Screen",
    "ScreenConnection",
    "Secret",
    "Seen",
    "SeenQuerySet",
    "Source",
    "SourceHost",
    "Status",
    "Theme",
    "Upload",
    "User",
    "Volume",
]
