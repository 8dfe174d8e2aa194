"""Keep with which secret a volume is encrypted."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webvirt", "0003_images")]
    operations = [
        migrations.AddField("volume", "secret", models.CharField(blank=True, default="", max_length=36)),
    ]
