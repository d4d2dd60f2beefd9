"""Insert and update many rows at once, in each database's own form; the only raw SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models, transaction

from django_tasks.models.record import TaskAttempt, TaskRecord
from django_tasks.states import FINAL

# What the mirror copies; `id` finds the row, `round`, `status` and `revision` guard it.
MIRRORED = (
    "id status revision fence round attempt lost run_after started_at finished_at worker_id"
    " return_value error_class error_message traceback dead_letter"
).split()


def insert_records(records: Sequence[TaskRecord], using: str) -> None:
    """INSERT new rows: one statement (a few for thousands)."""
    if len(records) == 1:
        # save() of one row is a single query in autocommit; bulk_create would open a transaction.
        records[0].save_base(raw=True, force_insert=True, using=using)
    else:
        TaskRecord.objects.using(using).bulk_create(records)


def insert_missing_records(records: Sequence[TaskRecord], using: str) -> None:
    """INSERT … DO NOTHING: for ``record="after"``, whose rows the mirror writes."""
    TaskRecord.objects.using(using).bulk_create(records, ignore_conflicts=True)


def write_attempts(attempts: Sequence[TaskAttempt], using: str) -> None:
    """Insert runs that ended; one whose end was told anew (lost, then reported) is replaced."""
    told = (
        "number consumer claimed_at started_at finished_at outcome error_class error_message"
        " traceback"
    ).split()
    connection = connections[using]
    unique = (
        ["record", "fence"] if connection.features.supports_update_conflicts_with_target else None
    )
    TaskAttempt.objects.using(using).bulk_create(
        attempts, update_conflicts=True, update_fields=told, unique_fields=unique
    )


def update_records(rows: Sequence[Sequence[Any]], using: str) -> int:
    """UPDATE many records by one statement; returns how many rows were written.

    Each row has the values of ``MIRRORED``. Written where the row is of an older round, or of this
    round, not final and not of a newer revision: within a round the first final state stays
    (laws 5 and 7)."""
    if not rows:
        return 0
    connection = connections[using]
    fields: list[Any] = [TaskRecord._meta.get_field(name) for name in MIRRORED]
    columns = [
        [field.get_db_prep_save(row[i], connection) for row in rows]
        for i, field in enumerate(fields)
    ]
    build = _STATEMENTS.get(connection.vendor, _update_from_values)
    statement, parameters = build(connection, fields, columns)
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def _guard(connection: Any) -> str:
    quote = connection.ops.quote_name
    final = ", ".join(f"'{state.value}'" for state in sorted(FINAL))
    row = quote(TaskRecord._meta.db_table)
    return (
        f"{row}.{quote('id')} = v.{quote('id')} AND ({row}.{quote('round')} < v.{quote('round')}"
        f" OR ({row}.{quote('round')} = v.{quote('round')}"
        f" AND {row}.{quote('status')} NOT IN ({final})"
        f" AND {row}.{quote('revision')} <= v.{quote('revision')}))"
    )


def _assignments(connection: Any, fields: Iterable[Any], target: str = "") -> str:
    quote = connection.ops.quote_name
    return ", ".join(
        f"{target}{quote(field.column)} = v.{quote(field.column)}"
        for field in fields
        if field.column != "id"
    )


def _update_from_unnest(
    connection: Any, fields: Sequence[Any], columns: Sequence[list[Any]]
) -> tuple[str, list[Any]]:
    """PostgreSQL: one parameter per column, whatever the number of rows."""
    quote = connection.ops.quote_name
    arrays, selected, parameters = [], [], []
    for field, values in zip(fields, columns, strict=True):
        kind = field.db_type(connection)
        is_json = isinstance(field, models.JSONField)
        arrays.append("%s::text[]" if is_json else f"%s::{kind.partition('(')[0]}[]")
        cast = f"::{kind}" if is_json else ""
        selected.append(f"u.{quote(field.column)}{cast} AS {quote(field.column)}")
        parameters.append([_json_text(value) for value in values] if is_json else values)
    names = ", ".join(quote(field.column) for field in fields)
    source = f"SELECT {', '.join(selected)} FROM unnest({', '.join(arrays)}) AS u({names})"
    statement = (
        f"UPDATE {quote(TaskRecord._meta.db_table)} SET {_assignments(connection, fields)}"
        f" FROM ({source}) AS v WHERE {_guard(connection)}"
    )
    return statement, parameters


def _json_text(value: Any) -> str | None:
    # psycopg's wrapper of a JSON value, as Django hands it over.
    if value is None or isinstance(value, str):
        return value
    dumps = value.dumps
    return str(dumps(value.obj))


def _rows(columns: Sequence[list[Any]], row: str, separator: str) -> tuple[str, list[Any]]:
    parameters = [value for values in zip(*columns, strict=True) for value in values]
    return separator.join([row] * len(columns[0])), parameters


def _update_from_values(
    connection: Any, fields: Sequence[Any], columns: Sequence[list[Any]]
) -> tuple[str, list[Any]]:
    """SQLite (3.33 and later) and whatever speaks like it."""
    quote = connection.ops.quote_name
    named = ", ".join(
        f"column{i} AS {quote(field.column)}" for i, field in enumerate(fields, start=1)
    )
    values, parameters = _rows(columns, f"({', '.join(['%s'] * len(fields))})", ", ")
    return (
        # UPDATE is its first word: of a statement that begins with WITH, sqlite3 counts no rows.
        (
            f"UPDATE {quote(TaskRecord._meta.db_table)} SET {_assignments(connection, fields)}"
            f" FROM (SELECT {named} FROM (VALUES {values})) AS v WHERE {_guard(connection)}"
        ),
        parameters,
    )


def _update_join(
    connection: Any, fields: Sequence[Any], columns: Sequence[list[Any]]
) -> tuple[str, list[Any]]:
    """MariaDB and MySQL: no UPDATE … FROM, and VALUES is written differently by each."""
    quote = connection.ops.quote_name
    table = quote(TaskRecord._meta.db_table)
    named = ", ".join(f"%s AS {quote(field.column)}" for field in fields)
    rows, parameters = _rows(columns, f"SELECT {named}", " UNION ALL ")
    return (
        (
            f"UPDATE {table} JOIN ({rows}) AS v ON {table}.{quote('id')} = v.{quote('id')}"
            f" SET {_assignments(connection, fields, f'{table}.')} WHERE {_guard(connection)}"
        ),
        parameters,
    )


_STATEMENTS = {"postgresql": _update_from_unnest, "mysql": _update_join}
