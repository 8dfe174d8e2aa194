from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webvirt", "0020_recordings")]

    operations = [
        migrations.AddField(model_name="screen", name="small", field=models.BinaryField(default=b"")),
        migrations.AddField(model_name="screen", name="digest", field=models.CharField(default="", max_length=16)),
    ]
