"""Shared by all tests: the cast of people, and a database that can be emptied between tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
from django.core.management.commands import flush
from django.db import connection

from tests import noshell
from tests.home import HOME
from tests.people import Cast, make_cast
from tests.stack import lay_database, stack
from webvirt.services.unsealing import Keys

__all__ = ["stack"]

append_only = [import_module(f"webvirt.migrations.{name}") for name in ("0002_append_only", "0015_audit")]
TRIGGERS = ("operation_no_delete", "operation_no_rewrite", "audit_no_delete", "audit_no_update")


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None) -> None:
    """The tests' database is the file of their home, so that the processes which they start share it."""
    lay_database(HOME / "webvirt.sqlite3")


@pytest.fixture(autouse=True, scope="session")
def keys() -> None:
    """What `deploy/run` makes, to keep secrets with."""
    Keys().make()


@pytest.fixture(autouse=True, scope="session")
def no_shell() -> Iterator[None]:
    yield
    assert noshell.started == []


@pytest.fixture
def cast(db: None) -> Cast:
    """An owner, an operator and a viewer of one domain, a stranger, an administrator, and what they share."""
    return make_cast()


@pytest.fixture(autouse=True, scope="session")
def flush_despite_triggers() -> None:
    """Tests with real transactions end by emptying all tables, which the audit log's triggers rightly refuse."""
    original: Callable[..., list[str]] = connection.ops.sql_flush

    def sql_flush(*args: object, **kwargs: object) -> list[str]:
        statements = original(*args, **kwargs)
        if not any("webvirt_operation" in statement for statement in statements):
            return statements
        drop = [f"DROP TRIGGER {name}" for name in TRIGGERS]
        return [*drop, *statements, *(statement for module in append_only for statement in module.SQLITE)]

    connection.ops.sql_flush = sql_flush  # type: ignore[method-assign]
    # It would make Django's own permissions again each time, which nothing of ours asks for.
    flush.emit_post_migrate_signal = lambda *args, **options: None  # type: ignore[attr-defined]
