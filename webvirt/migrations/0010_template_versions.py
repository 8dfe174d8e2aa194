import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0009_appliances"),
    ]

    operations = [
        migrations.AddField(
            model_name="domain",
            name="stilled_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="webvirt.operation"
            ),
        ),
        migrations.AddField(
            model_name="domain",
            name="template_line",
            field=models.CharField(blank=True, default="", max_length=255),
        ),
        migrations.AddField(
            model_name="domain",
            name="template_version",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name="domain",
            constraint=models.UniqueConstraint(
                condition=models.Q(("template_line", ""), _negated=True),
                fields=("host", "template_line", "template_version"),
                name="domain_template_version",
            ),
        ),
    ]
