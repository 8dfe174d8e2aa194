"""Who may do what where: roles, projects, and the grants that give one on the other to a person or a group."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """Each role may all that the ones before it may; `Role.rank` gives the order."""

    VIEWER = "viewer", _("Viewer")
    OPERATOR = "operator", _("Operator")
    OWNER = "owner", _("Owner")
    ADMINISTRATOR = "administrator", _("Administrator")

    @property
    def rank(self) -> int:
        """1 for a viewer to 4 for an administrator; 0 is kept for nobody."""
        return list(Role).index(self) + 1


class CustomRole(models.Model):
    """A role that somebody put together: whoever holds it may exactly these verbs, and see what it is held on."""

    name = models.CharField(
        max_length=80, unique=True, error_messages={"unique": _("There is a role of this name already.")}
    )
    description = models.CharField(max_length=255, blank=True, default="")
    kinds = models.JSONField(default=list, blank=True)
    """Of the catalogue's verbs, such as `domain.start`; one that it does not have (any more) gives nothing."""

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ProjectQuerySet(models.QuerySet["Project"]):
    def open(self) -> ProjectQuerySet:
        """Those that nobody closed."""
        return self.filter(closed_at=None)


class Project(models.Model):
    """What a team works with: machines, volumes and networks of any hosts. Its members are grants on it.

    A closed one keeps its row and holds nothing any more.
    """

    name = models.CharField(max_length=80)
    description = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    # What its members may use to make something in it, without any role there; `services.allowances`.
    allowed_hosts = models.ManyToManyField("webvirt.Host", related_name="+", blank=True)
    allowed_pools = models.ManyToManyField("webvirt.Pool", related_name="+", blank=True)
    allowed_networks = models.ManyToManyField("webvirt.Network", related_name="+", blank=True)
    allowed_images = models.ManyToManyField("webvirt.Volume", related_name="+", blank=True)
    """Discs, and images that disks are made of."""
    allowed_cloud_images = models.ManyToManyField("webvirt.CloudImage", related_name="+", blank=True)
    """Of the catalogue: they are fetched into the project's pools."""
    allowed_flavours = models.ManyToManyField("webvirt.Flavour", related_name="+", blank=True)
    of_flavours_only = models.BooleanField(default=False)
    """Whether machines are made in the sizes of `allowed_flavours` alone."""

    # How much may be in it, with what is being made and what is in the recycle bin; None: no limit. `services.quotas`.
    most_machines = models.PositiveIntegerField(null=True, blank=True)
    most_vcpus = models.PositiveIntegerField(null=True, blank=True)
    most_memory_kib = models.BigIntegerField(null=True, blank=True)
    most_disk = models.BigIntegerField(null=True, blank=True)
    """Bytes, by the capacity of volumes."""

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                name="project_name_unique",
                fields=["name"],
                condition=models.Q(closed_at=None),
                violation_error_message=_("There is a project of this name already."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


SCOPES = ("project", "host", "pool", "network", "domain")
"""What a grant can be on, by the name of its column; where none is set, it is on everything."""


def set_alone(*names: str) -> models.Q:
    """Of the columns of scopes, these are set and no other."""
    return models.Q(**{f"{name}__isnull": name not in names for name in SCOPES})


class Grant(models.Model):
    """What a person, or everybody in a group, holds somewhere: a role or a custom role, on one thing with all that is
    in it, or on everything."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="grants"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    role = models.CharField(max_length=20, choices=Role, blank=True, default="")
    """Empty where a custom role is held."""
    custom_role = models.ForeignKey(CustomRole, on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    host = models.ForeignKey("webvirt.Host", on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    pool = models.ForeignKey("webvirt.Pool", on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    network = models.ForeignKey(
        "webvirt.Network", on_delete=models.CASCADE, null=True, blank=True, related_name="grants"
    )
    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_has_one_holder",
                condition=models.Q(user__isnull=False, group__isnull=True)
                | models.Q(user__isnull=True, group__isnull=False),
                violation_error_message=_("A grant is a person's or a group's."),
            ),
            models.CheckConstraint(
                name="grant_of_one_role",
                condition=~models.Q(role="") & models.Q(custom_role__isnull=True)
                | models.Q(role="", custom_role__isnull=False),
                violation_error_message=_("A grant gives one role."),
            ),
            models.CheckConstraint(
                name="grant_on_one_scope",
                condition=reduce(or_, (set_alone(name) for name in SCOPES), set_alone()),
                violation_error_message=_("A grant is on one thing alone."),
            ),
            models.CheckConstraint(
                name="administrator_of_everything_only",
                condition=~models.Q(role=Role.ADMINISTRATOR) | set_alone(),
                violation_error_message=_("An administrator is one everywhere, not on one thing."),
            ),
            models.UniqueConstraint(
                # Coalesce: SQLite takes two NULLs for different.
                *(Coalesce(name, 0) for name in ("user", "group", *SCOPES)),
                name="one_grant_per_holder_and_scope",
                violation_error_message=_("There is a role in this place already: change that one."),
            ),
        ]

    def __str__(self) -> str:
        holder = f"group {self.group_id}" if self.group_id else str(self.user_id)
        return f"{holder} is {self.role or self.custom_role_id} on {self.scope or 'everything'}"

    @property
    def scope(self) -> str:
        """What it is on, as in announcements (`project:3`); empty for everything."""
        return next((f"{name}:{pk}" for name in SCOPES if (pk := getattr(self, f"{name}_id"))), "")
