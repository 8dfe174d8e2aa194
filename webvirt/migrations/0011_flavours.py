from typing import Any

import django.db.models.deletion
from django.db import migrations, models

GIB = 2**30
FLAVOURS = (("XS", 1, 1), ("S", 2, 2), ("M", 2, 4), ("L", 4, 8), ("XL", 8, 16))
"""Names, processors and GiB of memory."""


def seed(apps: Any, schema_editor: Any) -> None:
    model = apps.get_model("webvirt", "Flavour")
    for position, (name, vcpus, gib) in enumerate(FLAVOURS):
        model.objects.create(name=name, vcpus=vcpus, memory_mib=gib * 1024, disk=20 * GIB, position=position)


def remember_systems(apps: Any, schema_editor: Any) -> None:
    """What stands in the definitions that are known already, which are read again only when they change."""
    domains = apps.get_model("webvirt", "Domain").objects
    for pk, inactive in apps.get_model("webvirt", "Definition").objects.values_list("pk", "inactive").iterator():
        if system := inactive.get("os_id"):
            domains.filter(pk=pk).update(os=system[:255])


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0010_template_versions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Flavour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("vcpus", models.PositiveIntegerField()),
                ("memory_mib", models.PositiveIntegerField()),
                ("disk", models.BigIntegerField(default=0)),
                ("position", models.PositiveIntegerField(default=0)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["position", "name", "pk"],
            },
        ),
        migrations.AddConstraint(
            model_name="flavour",
            constraint=models.UniqueConstraint(fields=("name",), name="flavour_unique"),
        ),
        migrations.AddField(
            model_name="domain",
            name="os",
            field=models.CharField(blank=True, default="", max_length=255),
        ),
        migrations.AddField(
            model_name="volume",
            name="starts",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="webvirt.domain"
            ),
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
        migrations.RunPython(remember_systems, migrations.RunPython.noop),
    ]
