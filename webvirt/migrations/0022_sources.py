import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0021_wall"),
    ]

    operations = [
        migrations.CreateModel(
            name="SourceHost",
            fields=[
                (
                    "operation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="source",
                        serialize=False,
                        to="webvirt.operation",
                    ),
                ),
                ("kind", models.CharField(max_length=8)),
                ("hostname", models.CharField(max_length=253)),
                ("port", models.PositiveIntegerField(null=True)),
                ("user", models.CharField(blank=True, default="", max_length=128)),
                ("path", models.CharField(blank=True, default="", max_length=400)),
                ("unverified", models.BooleanField(default=False)),
                ("sealed_password", models.TextField(blank=True, default="")),
                ("keys", models.JSONField(default=list)),
                ("offered", models.JSONField(default=list)),
                ("machines", models.JSONField(default=list)),
                ("more", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-pk"],
            },
        ),
    ]
