"""Insert and update many rows at once, in each database's own form; the only raw SQL."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, models, transaction

from django_tasks.models import bulk_postgresql
from django_tasks.models.bulk_postgresql import JsonText
from django_tasks.models.record import USUAL, TaskAttempt, TaskRecord
from django_tasks.models.workflow import TaskDependency
from django_tasks.states import FINAL

# What the mirror copies; `id` finds the row, `round`, `status` and `revision` guard it.
MIRRORED = (
    "id status revision fence round attempt lost run_after started_at finished_at worker_id"
    " return_value error_class error_message traceback dead_letter"
).split()


# What is told of a run; `record` and `fence` find it.
TOLD = (
    "record fence number consumer claimed_at started_at finished_at outcome error_class"
    " error_message traceback report"
).split()
CHUNK = 5000  # rows of one statement
PACKET_ROWS, PACKET_BYTES = 500, 1_000_000  # of one where the server bounds it; bytes: about

_FIELDS: Sequence[Any] = TaskRecord._meta.concrete_fields
_VALUES = operator.attrgetter(*(field.attname for field in _FIELDS))
# What an enqueue's row mostly has; an id is never the usual one.
_USUAL: Sequence[Any] = list({**USUAL, "id": ..., "kwargs": {}, "metadata": {}}.values())


def insert_records(records: Sequence[TaskRecord], using: str) -> None:
    """INSERT new rows: one statement (a few for thousands)."""
    if len(records) == 1:
        _insert_one(records[0], using)
    else:
        _insert_rows([values_of(record) for record in records], using)
    for record in records:
        record._state.adding, record._state.db = False, using


def insert_missing(rows: Sequence[Sequence[Any]], using: str) -> bool:
    """INSERT … DO NOTHING: for ``record="after"``, whose rows the mirror writes. Each row has the
    values of all columns; JSON may be given as ``JsonText``. True if all of them are written; else
    some were there, or (MySQL) may have been."""
    # Not INSERT IGNORE or OR IGNORE: they also pass over a row with a value that is refused.
    ending = "ON CONFLICT DO NOTHING"
    is_mysql = connections[using].vendor == "mysql"
    if is_mysql:  # the primary key is the only one that is unique; the count tells nothing
        key = connections[using].ops.quote_name("id")
        ending = f"ON DUPLICATE KEY UPDATE {key} = {key}"
    return _insert_rows(rows, using, ending) == len(rows) and not is_mysql


def insert_edges(rows: Sequence[tuple[UUID, UUID, str, int | None]], using: str) -> None:
    """INSERT (parent, child, policy, position) each: one statement for thousands."""
    names = ("parent_id", "child_id", "policy", "position")
    if connections[using].vendor == "postgresql":
        fields: list[Any] = [
            TaskDependency._meta.get_field(name.removesuffix("_id")) for name in names
        ]
        for start in range(0, len(rows), CHUNK):
            _insert(TaskDependency, fields, rows[start : start + CHUNK], using, "")
        return
    edges = [TaskDependency(**dict(zip(names, row, strict=True))) for row in rows]
    TaskDependency.objects.using(using).bulk_create(edges, batch_size=5000)


def values_of(record: TaskRecord) -> list[Any]:
    """The values of all columns."""
    return list(_VALUES(record))


def write_attempts(rows: Sequence[Sequence[Any]], using: str) -> None:
    """Insert runs that ended, rows with the values of ``TOLD``; one whose end was told anew (lost,
    then reported) is replaced."""
    connection = connections[using]
    fields: list[Any] = [TaskAttempt._meta.get_field(name) for name in TOLD]
    if connection.vendor == "postgresql":
        told = ", ".join(f"{name} = EXCLUDED.{name}" for name in TOLD[2:])
        ending = f"ON CONFLICT (record_id, fence) DO UPDATE SET {told}"
        _insert(TaskAttempt, fields, rows, using, ending)
        return
    # On MySQL this is ON DUPLICATE KEY UPDATE, which heeds every unique key; the other one is the
    # id, which the database gives.
    names = [field.attname for field in fields]
    attempts = [TaskAttempt(**dict(zip(names, row, strict=True))) for row in rows]
    for attempt in attempts:
        if isinstance(attempt.report, JsonText):
            attempt.report = json.loads(attempt.report)
    unique = (
        ["record", "fence"] if connection.features.supports_update_conflicts_with_target else None
    )
    TaskAttempt.objects.using(using).bulk_create(
        attempts, update_conflicts=True, update_fields=TOLD[2:], unique_fields=unique
    )


def _insert_one(record: TaskRecord, using: str) -> None:
    """One query. What is as usual stands in its text, which is made once for each choice of
    columns: Django's making of it, and of each value, and the signals of save() would cost half as
    much as the database."""
    connection = connections[using]
    values = values_of(record)
    places = "".join(
        "u" if value == usual and type(value) is type(usual) else "%"
        for value, usual in zip(values, _USUAL, strict=True)
    )
    statement = _insert_statement(connection, places)
    parameters = [
        field.get_db_prep_save(value, connection)
        for field, value, place in zip(_FIELDS, values, places, strict=True)
        if place == "%"
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _insert_rows(rows: Sequence[Sequence[Any]], using: str, ending: str = "") -> int:
    """INSERT whole rows; returns how many were written."""
    connection = connections[using]
    written = 0
    with transaction.atomic(using=using, savepoint=False):
        if connection.vendor == "postgresql":
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                written += _insert(TaskRecord, _FIELDS, chunk, using, ending)
            return written
        statement = _insert_statement(connection, "%" * len(_FIELDS))
        insert, _, places = statement.rpartition(" VALUES ")
        with connection.cursor() as cursor:
            for chunk in _packets(rows):
                text, parameters = _prepared(connection, _FIELDS, chunk, places, ", ")
                cursor.execute(f"{insert} VALUES {text} {ending}", parameters)
                written += int(cursor.rowcount)
    return written


def _insert_statement(connection: Any, places: str) -> str:
    """``places``: for each column "%", a parameter, or "u", what it usually has."""
    statement = _insert_statements.get((connection.vendor, places))
    if statement is None:
        quote = connection.ops.quote_name
        columns = ", ".join(quote(field.column) for field in _FIELDS)
        values = ", ".join(
            "%s" if place == "%" else _literal(usual)
            for place, usual in zip(places, _USUAL, strict=True)
        )
        statement = f"INSERT INTO {quote(TaskRecord._meta.db_table)} ({columns}) VALUES ({values})"
        _insert_statements[connection.vendor, places] = statement
    return statement


_insert_statements: dict[tuple[str, str], str] = {}  # by vendor and places


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"  # {} is JSON as it is


def _packets(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    """In chunks that are far below ``max_allowed_packet``, also where each character is escaped,
    and below the number of parameters that SQLite takes."""
    start = size = 0
    for i, row in enumerate(rows):
        added = 500 + sum(len(value) for value in row if isinstance(value, str))
        added += sum(len(repr(value)) for value in row if isinstance(value, list | dict) and value)
        if i - start >= PACKET_ROWS or (size and size + added > PACKET_BYTES):
            yield rows[start:i]
            start, size = i, 0
        size += added
    yield rows[start:]


def _insert(
    model: type[models.Model],
    fields: Sequence[Any],
    rows: Sequence[Sequence[Any]],
    using: str,
    ending: str,
) -> int:
    """PostgreSQL: one INSERT … SELECT FROM unnest; how many rows it wrote."""
    connection = connections[using]
    quote = connection.ops.quote_name
    selected, parameters = bulk_postgresql.source(connection, fields, rows)
    columns = ", ".join(quote(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(model._meta.db_table)} ({columns})"
            f" SELECT {columns} FROM ({selected}) AS v {ending}",
            parameters,
        )
        return int(cursor.rowcount)


def update_records(rows: Sequence[Sequence[Any]], using: str) -> int:
    """UPDATE many records by one statement; returns how many rows were written.

    Each row has the values of ``MIRRORED``; JSON may be given as ``JsonText``. Written where the
    row is of an older round, or of this round, not final and not of a newer revision: within a
    round the first final state stays (laws 5 and 7)."""
    if not rows:
        return 0
    connection = connections[using]
    fields: list[Any] = [TaskRecord._meta.get_field(name) for name in MIRRORED]
    build = _STATEMENTS.get(connection.vendor, _update_from_values)
    statement, parameters = build(connection, fields, rows)
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def _guard(connection: Any) -> str:
    quote = connection.ops.quote_name
    final = ", ".join(f"'{state.value}'" for state in sorted(FINAL))
    row = quote(TaskRecord._meta.db_table)
    return (
        f"({row}.{quote('round')} < v.{quote('round')}"
        f" OR ({row}.{quote('round')} = v.{quote('round')}"
        f" AND {row}.{quote('status')} NOT IN ({final})"
        f" AND {row}.{quote('revision')} <= v.{quote('revision')}))"
    )


def _same_id(connection: Any) -> str:
    quote = connection.ops.quote_name
    return f"{quote(TaskRecord._meta.db_table)}.{quote('id')} = v.{quote('id')}"


def _assignments(connection: Any, fields: Iterable[Any], target: str = "") -> str:
    quote = connection.ops.quote_name
    return ", ".join(
        f"{target}{quote(field.column)} = v.{quote(field.column)}"
        for field in fields
        if field.column != "id"
    )


def _update_from_unnest(
    connection: Any, fields: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    """PostgreSQL: one parameter per column, whatever the number of rows."""
    selected, parameters = bulk_postgresql.source(connection, fields, rows)
    table = connection.ops.quote_name(TaskRecord._meta.db_table)
    statement = (
        f"UPDATE {table} SET {_assignments(connection, fields)}"
        f" FROM ({selected}) AS v WHERE {_same_id(connection)} AND {_guard(connection)}"
    )
    return statement, parameters


def _prepared(
    connection: Any, fields: Sequence[Any], rows: Sequence[Sequence[Any]], row: str, separator: str
) -> tuple[str, list[Any]]:
    """``row`` once for each, and the values as Django prepares them."""
    parameters = [
        field.get_db_prep_save(
            json.loads(value) if isinstance(value, JsonText) else value, connection
        )
        for values in rows
        for field, value in zip(fields, values, strict=True)
    ]
    return separator.join([row] * len(rows)), parameters


def _update_from_values(
    connection: Any, fields: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    """SQLite (3.33 and later) and whatever speaks like it."""
    quote = connection.ops.quote_name
    named = ", ".join(
        f"column{i} AS {quote(field.column)}" for i, field in enumerate(fields, start=1)
    )
    row = f"({', '.join(['%s'] * len(fields))})"
    values, parameters = _prepared(connection, fields, rows, row, ", ")
    return (
        # UPDATE is its first word: of a statement that begins with WITH, sqlite3 counts no rows.
        (
            f"UPDATE {quote(TaskRecord._meta.db_table)} SET {_assignments(connection, fields)}"
            f" FROM (SELECT {named} FROM (VALUES {values})) AS v"
            f" WHERE {_same_id(connection)} AND {_guard(connection)}"
        ),
        parameters,
    )


def _update_join(
    connection: Any, fields: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    """MariaDB and MySQL: no UPDATE … FROM, and VALUES is written differently by each."""
    quote = connection.ops.quote_name
    table = quote(TaskRecord._meta.db_table)
    named = ", ".join(f"%s AS {quote(field.column)}" for field in fields)
    selects, parameters = _prepared(connection, fields, rows, f"SELECT {named}", " UNION ALL ")
    return (
        # STRAIGHT_JOIN: the given rows are walked and each finds its own by the primary key, so no
        # other is read or locked.
        (
            f"UPDATE ({selects}) AS v STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY)"
            f" ON {_same_id(connection)}"
            f" SET {_assignments(connection, fields, f'{table}.')} WHERE {_guard(connection)}"
        ),
        parameters,
    )


_STATEMENTS = {"postgresql": _update_from_unnest, "mysql": _update_join}
