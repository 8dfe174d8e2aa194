import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0015_audit"),
    ]

    operations = [
        migrations.CreateModel(
            name="Meter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("read_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_cloud_images",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.cloudimage"),
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_flavours",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.flavour"),
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_hosts",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.host"),
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_images",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.volume"),
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_networks",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.network"),
        ),
        migrations.AddField(
            model_name="project",
            name="allowed_pools",
            field=models.ManyToManyField(blank=True, related_name="+", to="webvirt.pool"),
        ),
        migrations.AddField(
            model_name="project",
            name="most_disk",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="most_machines",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="most_memory_kib",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="most_vcpus",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="of_flavours_only",
            field=models.BooleanField(default=False),
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                (
                    "operation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="reservation",
                        serialize=False,
                        to="webvirt.operation",
                    ),
                ),
                ("machines", models.PositiveIntegerField(default=0)),
                ("vcpus", models.PositiveIntegerField(default=0)),
                ("memory_kib", models.BigIntegerField(default=0)),
                ("disk", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reservations", to="webvirt.project"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="MonthlyUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField()),
                ("vcpu_seconds", models.BigIntegerField(default=0)),
                ("memory_mib_seconds", models.BigIntegerField(default=0)),
                ("disk_mib_seconds", models.BigIntegerField(default=0)),
                ("seconds", models.BigIntegerField(default=0)),
                ("gap_seconds", models.BigIntegerField(default=0)),
                ("partial_seconds", models.BigIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="monthly_uses", to="webvirt.project"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("project", "month"), name="one_use_per_project_and_month")
                ],
            },
        ),
    ]
