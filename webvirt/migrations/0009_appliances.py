from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0008_templates"),
    ]

    operations = [
        migrations.AddField(
            model_name="volume",
            name="appliance",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
