"""The audit log, and the triggers with which the database itself keeps it: no line is altered or deleted."""

from __future__ import annotations

from datetime import timedelta

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

SENTENCE = "the audit log is append-only"

SQLITE = tuple(
    f"""CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON webvirt_auditline
    BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"""
    for verb in ("DELETE", "UPDATE")
)
POSTGRESQL = (
    f"""CREATE FUNCTION webvirt_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    """CREATE TRIGGER audit_no_rewrite BEFORE DELETE OR UPDATE OR TRUNCATE ON webvirt_auditline
    FOR EACH STATEMENT EXECUTE FUNCTION webvirt_audit_append_only()""",
)


def keep(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement, params=None)


def begin(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("AuditHead", "AuditForward"):
        apps.get_model("webvirt", name).objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [
        ("webvirt", "0014_sign_in"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditForward",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sent", models.BigIntegerField(default=0)),
                ("held_until", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.BigIntegerField(default=0)),
                (
                    "hash",
                    models.CharField(
                        default="0000000000000000000000000000000000000000000000000000000000000000", max_length=64
                    ),
                ),
                ("latest", models.DateTimeField(null=True)),
                ("back", models.DurationField(default=timedelta())),
            ],
        ),
        migrations.CreateModel(
            name="AuditLine",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("event", models.CharField(max_length=64)),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("asked", "requested"),
                            ("begun", "begun"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("denied", "denied"),
                            ("unknown", "unknown"),
                        ],
                        max_length=12,
                    ),
                ),
                ("person", models.BigIntegerField(null=True)),
                ("actor", models.CharField(blank=True, default="", max_length=150)),
                (
                    "origin",
                    models.CharField(
                        choices=[("page", "page"), ("api", "API"), ("command", "command line"), ("system", "system")],
                        max_length=10,
                    ),
                ),
                ("address", models.CharField(blank=True, default="", max_length=45)),
                ("token_name", models.CharField(blank=True, default="", max_length=150)),
                ("noun", models.CharField(blank=True, default="", max_length=20)),
                ("object_id", models.BigIntegerField(null=True)),
                ("name", models.CharField(blank=True, default="", max_length=255)),
                ("uuid", models.CharField(blank=True, default="", max_length=36)),
                ("operation", models.BigIntegerField(null=True)),
                ("details", models.TextField(default="{}")),
                ("previous", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["-number"],
                "indexes": [
                    models.Index(fields=["at"], name="audit_by_time"),
                    models.Index(fields=["event", "-number"], name="audit_by_event"),
                    models.Index(fields=["result", "-number"], name="audit_by_result"),
                    models.Index(fields=["actor", "-number"], name="audit_by_actor"),
                    models.Index(fields=["name", "-number"], name="audit_by_name"),
                    models.Index(fields=["noun", "object_id", "-number"], name="audit_by_object"),
                    models.Index(fields=["uuid", "-number"], name="audit_by_uuid"),
                    models.Index(fields=["address", "-number"], name="audit_by_address"),
                ],
            },
        ),
        migrations.RunPython(keep),
        migrations.RunPython(begin),
    ]
