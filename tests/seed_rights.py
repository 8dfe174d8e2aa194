"""People, groups, a custom role and projects in bulk, for looking at their pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from django.contrib.auth.models import Group
from django.utils import timezone

from webvirt.models import (
    ApiToken,
    CloudImage,
    CustomRole,
    DiskUse,
    Domain,
    Flavour,
    Grant,
    Host,
    MonthlyUse,
    Network,
    Project,
    Role,
    User,
    Volume,
)
from webvirt.services.catalogue import VERBS_FOR_MANY

PEOPLE = ("grace", "linus", "margaret", "edsger", "barbara", "a" * 60)
SERVICE = "deployer"
LONG = "the team that looks after everything which nobody else looks after, in three shifts, on two continents"


def add_quota(shop: Project) -> None:
    """Half used up, with one resource nearly and one above its quota; and what it used before."""
    Project.objects.filter(pk=shop.pk).update(most_machines=40, most_vcpus=64, most_memory_kib=60 * 2**20)
    here = Host.objects.order_by("pk").first()
    assert here is not None
    shop.allowed_hosts.set([here])
    for name, rows in (("pools", here.pools), ("networks", here.networks)):
        getattr(shop, f"allowed_{name}").set(rows.filter(missing_since=None)[:3])
    shop.allowed_images.set(Volume.objects.filter(pool__host=here, format="iso")[:4])
    shop.allowed_cloud_images.set(CloudImage.objects.all()[:3])
    shop.allowed_flavours.set(Flavour.objects.all()[:3])
    for number, month in enumerate((date(2025, 9, 1), date(2025, 10, 1), date(2025, 11, 1))):
        seconds = 30 * 86_400
        MonthlyUse.objects.create(
            project=shop,
            month=month,
            vcpu_seconds=(30 + number) * seconds,
            memory_mib_seconds=(50 + number) * 1024 * seconds,
            disk_mib_seconds=800 * 1024 * seconds,
            seconds=seconds,
            gap_seconds=number * 5000,
            partial_seconds=900 if number == 2 else 0,
        )


def add_service(shop: Project) -> None:
    """A program's account, with tokens of every kind: limited or not, used or not, expired, of the longest name."""
    robot = User.objects.create(username=SERVICE, password="!", is_service=True)
    Grant.objects.create(user=robot, role=Role.OPERATOR, project=shop)
    now, many = timezone.now(), [verb.kind for verb in VERBS_FOR_MANY["domain"].values()]
    made: list[tuple[str, list[str] | None, Project | None, int, timedelta | None]] = [
        ("Nightly builds", many, shop, 30, timedelta(minutes=4)),
        ("prod", [], None, 365, timedelta(days=3)),
        ("test", None, None, 7, None),
        (LONG[:100], ["domain.start"], shop, -1, timedelta(days=40)),
    ]
    for number, (name, kinds, project, days, used) in enumerate(made):
        ApiToken.objects.create(
            user=robot,
            name=name,
            digest=f"{number:064}",
            kinds=kinds,
            project=project,
            expires_at=now + timedelta(days=days),
            last_used_at=now - used if used else None,
        )


def add_rights(rows: Sequence[Domain]) -> None:
    """The first project has everything in it, the second the longest name and nothing."""
    shop = Project.objects.create(name="shop", description="What sells: front, stock and payment")
    Project.objects.create(name="customer-42-migration-of-the-old-warehouse-to-something-that-can-be-maintained")
    inside = [row.pk for row in rows[4:24]]
    Domain.objects.filter(pk__in=inside).update(project=shop)
    disks = DiskUse.objects.filter(domain__in=inside).values("path")
    Volume.objects.filter(path__in=disks).exclude(path="").update(project=shop)
    Network.objects.filter(pk__in=Network.objects.order_by("pk").values("pk")[:1]).update(project=shop)
    add_quota(shop)
    starter = CustomRole.objects.create(
        name="Night shift",
        description="Starts again what fell over",
        kinds=["domain.start", "domain.reset", "domain.view", "domain.console", "domain.levitate"],
    )
    team, night = Group.objects.create(name="web team"), Group.objects.create(name=LONG)
    people = User.objects.bulk_create(User(username=name, password="!") for name in PEOPLE)
    team.user_set.add(*people[:3])
    night.user_set.add(*people[2:])
    Grant.objects.create(group=team, role=Role.OWNER, project=shop)
    Grant.objects.create(group=night, custom_role=starter, host=rows[0].host)
    Grant.objects.create(group=night, custom_role=starter, project=shop)
    Grant.objects.create(user=people[3], role=Role.VIEWER, project=shop)
    for row in rows[:8]:
        Grant.objects.create(user=people[0], role=Role.OPERATOR, domain=row)
    add_service(shop)
