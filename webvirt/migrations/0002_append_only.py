"""Let the database itself keep the audit log: no operation is deleted, none that has ended is altered."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

ENDED = "('succeeded', 'failed', 'cancelled', 'denied')"
SENTENCE = "operations are append-only"

SQLITE = (
    f"""CREATE TRIGGER operation_no_delete BEFORE DELETE ON webvirt_operation
    BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END""",
    f"""CREATE TRIGGER operation_no_rewrite BEFORE UPDATE ON webvirt_operation WHEN OLD.state IN {ENDED}
    BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END""",
)
POSTGRESQL = (
    f"""CREATE FUNCTION webvirt_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    """CREATE TRIGGER operation_no_delete BEFORE DELETE ON webvirt_operation
    FOR EACH ROW EXECUTE FUNCTION webvirt_append_only()""",
    f"""CREATE TRIGGER operation_no_rewrite BEFORE UPDATE ON webvirt_operation
    FOR EACH ROW WHEN (OLD.state IN {ENDED}) EXECUTE FUNCTION webvirt_append_only()""",
)


def forwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("webvirt", "0001_initial")]
    operations = [migrations.RunPython(forwards)]
