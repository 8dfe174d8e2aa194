"""Console sessions: who watched or typed at which guest, when and from where; recordings of some; and the links of
those who have no account."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ConsoleMode(models.TextChoices):
    VIEW = "view", _("view only")
    CONTROL = "control", _("control")


class ConsoleDevice(models.TextChoices):
    SCREEN = "screen", _("screen")
    SERIAL = "serial", _("serial line")


class EndReason(models.TextChoices):
    """Why a console came to its end."""

    CLOSED = "closed", _("closed by the person")
    REPLACED = "replaced", _("opened again by the same page")
    GUEST = "guest", _("the guest's display went away")
    OFF = "off", _("the machine stopped")
    MISSING = "missing", _("the machine is gone")
    MOVED = "moved", _("the machine moved to another host")
    LOGOUT = "logout", _("signed out")
    PASSWORD = "password", _("the password was changed")
    DEACTIVATED = "deactivated", _("the account was deactivated")
    RIGHT = "right", _("the right was withdrawn")
    LEASE = "lease", _("the page went away")
    SILENT = "silent", _("the browser fell silent")
    MALFORMED = "malformed", _("the browser sent what no console understands")
    UNOPENED = "unopened", _("never connected")
    FAILED = "failed", _("the guest's display could not be reached")
    RECORD = "record", _("opened again, to be recorded")
    PROXY = "proxy", _("the console proxy stopped")
    ENDED = "ended", _("ended by somebody else")
    LINK = "link", _("the guest's link was withdrawn or ran out")


class GuestLink(models.Model):
    """Lets somebody without an account open one machine's console, for a time; it is kept as a digest."""

    domain = models.ForeignKey("webvirt.Domain", on_delete=models.PROTECT, related_name="guest_links")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="guest_links")
    name = models.CharField(max_length=60)
    """What the guest is called."""
    mode = models.CharField(max_length=10, choices=ConsoleMode)
    """The most that the guest may."""
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    uses = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True)
    last_address = models.GenericIPAddressField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.called

    @property
    def called(self) -> str:
        """The guest's name where those of people stand: nobody's account can be called so."""
        return f"guest: {self.name}"

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at


class ConsoleSession(models.Model):
    """One opened console. The row is the lease: the proxy closes the bytes when it ends or runs out.

    `leased_until` is pushed on by the browser's own socket; `ended_at` with `end_reason` closes it for good. `mode` is
    what it does now: of one machine's one device, one session at most is in control.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="console_sessions")
    domain = models.ForeignKey("webvirt.Domain", on_delete=models.PROTECT, related_name="console_sessions")
    link = models.ForeignKey(GuestLink, on_delete=models.PROTECT, null=True, related_name="sessions")
    """That of a guest; `user` is who made it then."""
    mode = models.CharField(max_length=10, choices=ConsoleMode)
    told_mode = models.CharField(max_length=10, choices=ConsoleMode, blank=True, default="")
    """Which mode the console proxy was told last; empty before it is connected."""
    may_type = models.BooleanField(default=False)
    """Whether it came with the right to type and did not choose to watch only: it may ask for control."""
    wants_control_at = models.DateTimeField(null=True)
    """When it asked who types for control; empty when that was answered."""
    device = models.CharField(max_length=10, choices=ConsoleDevice, default=ConsoleDevice.SCREEN)
    address = models.GenericIPAddressField(null=True)
    login_key = models.CharField(max_length=40)
    """A keyed hash of the login session it belongs to: when that is gone, so is this."""
    created_at = models.DateTimeField(auto_now_add=True)
    opened_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=16, choices=EndReason, blank=True, default="")
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="ended_sessions"
    )
    bytes_to_browser = models.BigIntegerField(default=0)
    bytes_to_guest = models.BigIntegerField(default=0)
    is_recorded = models.BooleanField(default=False)
    """Whether what the guest says to it is to be kept."""

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(name="console_open", fields=["domain"], condition=models.Q(ended_at=None))]
        constraints = [
            models.UniqueConstraint(
                name="one_types", fields=["domain", "device"], condition=models.Q(ended_at=None, mode="control")
            )
        ]

    def __str__(self) -> str:
        return f"{self.mode} of {self.domain_id} by {self.user_id}"

    @property
    def person(self) -> str:
        """Whose it is, by name."""
        return self.link.called if self.link else self.user.get_username()


class ScreenConnection(models.Model):
    """A connection to a machine's screen, ours or not, of which its host has told that it is there."""

    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, related_name="screen_connections")
    address = models.CharField(max_length=64)
    """Where from; empty for a socket of the host itself, which has none. So is `port`."""
    port = models.CharField(max_length=10)
    auth = models.CharField(max_length=40)
    """How the display asked who they are, in libvirt's word."""
    may_be_ours = models.BooleanField()
    """Whether it comes from where those of our consoles come from."""
    since = models.DateTimeField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.address}:{self.port} at {self.domain_id}"


class RecordingEnd(models.TextChoices):
    """Why a recording goes no further."""

    CLOSED = "closed", _("its console was closed")
    SIZE = "size", _("it was as large as a recording may be")
    FULL = "full", _("the disk was full")
    FAILED = "failed", _("it could not be written")
    CUT = "cut", _("the console proxy was ended")


class Recording(models.Model):
    """What a guest said to one console, in a file (`services.recordingfile`). The row is there before the file is.

    It outlives its machine, and names it and the person as they were called then.
    """

    session = models.OneToOneField(ConsoleSession, on_delete=models.PROTECT, related_name="recording")
    domain = models.ForeignKey("webvirt.Domain", on_delete=models.PROTECT, related_name="recordings")
    name = models.CharField(max_length=255)
    person = models.CharField(max_length=150)
    device = models.CharField(max_length=10, choices=ConsoleDevice)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=10, choices=RecordingEnd, blank=True, default="")
    size = models.BigIntegerField(default=0)
    """Bytes of the file, as of its end."""
    milliseconds = models.BigIntegerField(default=0)
    """From its beginning to the last that the guest said."""
    kept_until = models.DateTimeField(null=True)
    """When it is deleted by itself; None while it is written, or for ever."""

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(name="recording_by_person", fields=["person", "-id"]),
            models.Index(name="recording_until", fields=["kept_until"]),
            models.Index(name="recording_open", fields=["id"], condition=models.Q(ended_at=None)),
        ]

    def __str__(self) -> str:
        return f"recording of {self.name} by {self.person}"
