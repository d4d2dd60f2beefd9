"""Which database a record goes to, and which may hold records.

The task's option, then the setting ``DATABASE``, then the routers. ``"same"`` is the alias whose
atomic block is open, so that row and data are committed or rolled back together."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_tasks.bridge.connections import open_transactions
from django_tasks.conf import DEFAULT_ALIAS, SAME_DATABASE, task_settings
from django_tasks.errors import InvalidSettings, InvalidTaskOptions
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL

logger = logging.getLogger("django_tasks.outbox")

_warned: set[tuple[str, str]] = set()  # row's alias, the other


def database_for(option: str, setting: str) -> str:
    """The alias that a new record goes to. Raises ``InvalidTaskOptions`` if several transactions
    are open and ``"same"`` can't choose."""
    wanted = option or setting
    if wanted and wanted != SAME_DATABASE:
        return wanted
    fallback = setting if setting != SAME_DATABASE else ""
    fallback = fallback or router.db_for_write(TaskRecord)
    if wanted != SAME_DATABASE:
        return fallback
    found = [alias for alias in open_transactions() if may_hold_records(alias)]
    if not found or fallback in found:
        return fallback
    if len(found) > 1 and DEFAULT_DB_ALIAS not in found:
        named = ", ".join(map(repr, sorted(found)))
        raise InvalidTaskOptions(
            f"database='same' can't choose: transactions are open on {named}, and none of them is"
            f" {fallback!r}. Name the one whose commit the task has to wait for:"
            f" @django_task(database={sorted(found)[0]!r})."
        )
    return found[0] if len(found) == 1 else DEFAULT_DB_ALIAS


def may_hold_records(alias: str) -> bool:
    """Whether its migrations include our tables, and it is no replica."""
    test = connections.settings[alias].get("TEST") or {}
    return not test.get("MIRROR") and bool(router.allow_migrate_model(alias, TaskRecord))


def record_databases(named: Iterable[str]) -> list[str]:
    """Every alias that may hold records: first the routers', then by name those that tasks
    (``named``) and settings name; all that have our tables if one says ``"same"``."""
    first = router.db_for_write(TaskRecord)
    others = {*named, *_in_settings()} - {""}
    if SAME_DATABASE in others:
        others.remove(SAME_DATABASE)
        others.update(alias for alias in connections if may_hold_records(alias))
    return [first, *sorted(others - {first})]


def _in_settings() -> set[str]:
    found = set()
    for alias in {DEFAULT_ALIAS, *(getattr(settings, "TASKS", None) or {})}:
        try:
            found.add(task_settings(alias).database)
        except InvalidSettings:
            pass  # of another package's backend; of ours `manage.py check` says it
    return found


def read_record(record_id: UUID, database: str) -> TaskRecord | None:
    """The row as it is now, also inside a transaction that sees the past only."""
    rows = TaskRecord.objects.using(database).filter(id=record_id)
    record = rows.first()
    connection = connections[database]
    if record is None or record.status in FINAL or not _sees_the_past(connection):
        return record
    # Only another connection sees what was committed since; where it sees no such row, it is this
    # very transaction that made it.
    other = connections.create_connection(database)
    connections[database] = other
    try:
        return rows.all().first() or record
    finally:
        connections[database] = connection
        other.close()


def _sees_the_past(connection: Any) -> bool:
    """Whether its open transaction reads as of its beginning (REPEATABLE READ)."""
    if not connection.in_atomic_block:
        return False
    if connection.vendor == "mysql":
        return connection.isolation_level not in ("read committed", "read uncommitted")
    return connection.vendor == "postgresql" and int(connection.isolation_level) > 2


def warn_of_other_transaction(database: str) -> None:
    """Once for each pair: the row is not part of the transaction that is open."""
    found = open_transactions()
    if not found or database in found:
        return
    other = found[0]
    if (database, other) in _warned:
        return
    _warned.add((database, other))
    if may_hold_records(other):
        cure = "set database='same' (at the task, or DJANGO_TASKS['DATABASE'] for all)"
    else:
        cure = f"enqueue in transaction.on_commit(…, using={other!r})"
    logger.warning(
        "A task was enqueued in a transaction on %r, but its record goes to %r, where none is open:"
        " it starts before that commit, and also if that is rolled back. To avoid it, %s.",
        other,
        database,
        cure,
    )
