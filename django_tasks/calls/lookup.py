"""What is known of a call: by the broker while it is fresh, by its row afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError

from django_tasks import framework
from django_tasks.calls import registry
from django_tasks.calls.progress import Progress, read_report
from django_tasks.conf import task_settings
from django_tasks.errors import BrokerError, ResultNotFound
from django_tasks.framework import TaskError, to_django
from django_tasks.states import Result, State, django_status

MANY = 500  # messages of one round trip

if TYPE_CHECKING:
    from django_tasks.broker.snapshot import Attempt, Snapshot
    from django_tasks.models import TaskAttempt, TaskRecord


def find(
    record_id: str,
    alias: str,
    queue: str | None = None,
    database: str | None = None,
    known: Any = None,
) -> dict[str, Any]:
    """What a ``TaskResult`` with this id says. ``queue``, ``database``: where the caller knows it
    to be; ``known``: a result of it, whose task and arguments stay as they are.

    Raises ``ResultNotFound``."""
    from django_tasks.bridge.databases import read_record

    checked = _checked_id(record_id)
    record = None
    if database is None or queue is None:
        record, database = _find_row(checked)
        if record is not None:
            queue, alias = record.queue_name, _enqueued_by(record, alias)
    snapshot, found_in = _snapshot(str(checked), alias, queue)
    if snapshot is not None and not snapshot.is_stub and not snapshot.is_settled:
        if known is None:
            if record is None:  # its row, if it will have one, is where the message says
                record = _record_of(snapshot, found_in)
                database = snapshot.fields.get("database", "")
            known = SimpleNamespace(**_from_record(record, alias, database))
        return from_snapshot(snapshot, known)
    if record is None and database:
        record = read_record(checked, database)
    if record is None:
        _require_committed(str(checked))
        raise ResultNotFound(
            f"No task result has the id {record_id!r}: its record was deleted, or its time to live"
            f" is over (RESULT_TTL, {task_settings(alias).result_ttl} s, where there is no record)."
        )
    return _from_record(record, alias, database)


def find_all(known: Sequence[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What there is to say of many results, of each its values as ``find`` has them: a round trip
    for each 500 of a queue, and a few queries where the broker has forgotten some. Those that
    nobody knows are left out."""
    from django_tasks.broker import get_broker

    groups: dict[tuple[str, str, str], list[Any]] = {}
    for one in known:
        groups.setdefault((one.task.backend, one.task.queue_name, one.database), []).append(one)
    for (alias, queue, database), group in groups.items():
        for start in range(0, len(group), MANY):
            part = {one.id: one for one in group[start : start + MANY]}
            try:
                snapshots = get_broker(alias).snapshots(queue, list(part))
            except BrokerError:
                snapshots = {}
            for record_id, snapshot in snapshots.items():
                if not snapshot.is_stub and not snapshot.is_settled:
                    one = part.pop(record_id)
                    yield one, from_snapshot(snapshot, one)
            if part and database:
                yield from _from_rows(part, alias, database)


def _from_rows(
    known: dict[str, Any], alias: str, database: str
) -> Iterator[tuple[Any, dict[str, Any]]]:
    from django_tasks.models import TaskRecord

    rows = TaskRecord.objects.using(database).filter(pk__in=list(known))
    for record in rows.prefetch_related("attempts"):
        yield known[str(record.id)], _from_record(record, alias, database)


def _require_committed(record_id: str) -> None:
    from django_tasks.bridge import outbox

    if outbox.is_open(record_id):
        raise ResultNotFound(
            f"The task {record_id} was enqueued in the transaction that is still open here. It is"
            " not committed yet, and with record='after' or 'never' there is nothing of it before"
            " the commit."
        )


def _find_row(record_id: UUID) -> tuple[TaskRecord | None, str]:
    """The row and the alias of its database; where there is none, the alias it would have."""
    from django_tasks.bridge.databases import read_record

    databases = registry.databases()
    away: DatabaseError | None = None
    for database in databases:
        try:
            record = read_record(record_id, database)
        except DatabaseError as error:
            away = error  # it may be in another
            continue
        if record is not None:
            return record, database
    if away is not None:
        raise away
    return None, databases[0]


def _enqueued_by(record: TaskRecord, asked: str) -> str:
    """The alias of ``TASKS`` whose broker has the message; ``asked`` if there is none such now."""
    from django_tasks.bridge.translate import alias_of

    alias = alias_of(record)
    return alias if alias in framework.task_backends else asked


def _checked_id(record_id: Any) -> UUID:
    try:
        return record_id if isinstance(record_id, UUID) else UUID(str(record_id))
    except ValueError:
        raise ResultNotFound(f"{record_id!r} is not the id of a task result (a UUID).") from None


def _snapshot(record_id: str, alias: str, queue: str | None) -> tuple[Snapshot | None, str]:
    """The message and its queue, if the broker answers and knows it."""
    from django_tasks.broker import get_broker

    broker = get_broker(alias)
    try:
        queues = broker.queue_names() if queue is None else {queue}
        for name in queues:
            found = broker.snapshots(name, [record_id])
            if found:
                return found[record_id], name
    except BrokerError:
        pass  # the row knows, a little later
    return None, ""


def _record_of(snapshot: Snapshot, queue: str) -> TaskRecord:
    """An unsaved row for a message without one (record="never", or "after" and not yet copied)."""
    from django_tasks.bridge.translate import to_record

    return to_record(snapshot, queue)


def _from_record(record: TaskRecord, alias: str, database: str) -> dict[str, Any]:
    attempts: list[TaskAttempt | Attempt] = []
    if not record._state.adding:
        attempts += record.attempts.all()
    return _values(
        task=registry.task_of(record, alias),
        record_id=str(record.id),
        state=record.status,
        times=(record.enqueued_at, record.started_at, record.finished_at),
        arguments=(record.args, record.kwargs),
        alias=alias,
        database=database,
        runs=attempts,
        worker=record.worker_id,
        error=(
            record.error_class,
            record.error_message or record.dead_letter,
            record.traceback,
        ),
        value=record.return_value,
        progress=progress_of(record.status, attempts),
        replaced_by=(record.metadata or {}).get("replaced_by", ""),
    )


def from_snapshot(snapshot: Snapshot, known: Any) -> dict[str, Any]:
    """What a message says of the call ``known``."""
    runs = _runs_of(snapshot, known.database)
    return _values(
        task=known.task,
        record_id=snapshot.id,
        state=snapshot.state,
        times=(known.enqueued_at, snapshot.started_at, snapshot.finished_at),
        arguments=(known.args, known.kwargs),
        alias=known.backend,
        database=known.database,
        runs=runs,
        worker=snapshot.worker_id,
        error=(
            snapshot.error_class,
            snapshot.error_message or snapshot.dead_letter,
            snapshot.traceback,
        ),
        value=json.loads(snapshot.return_value) if snapshot.return_value else None,
        progress=progress_of(snapshot.state, runs, snapshot),
        replaced_by=snapshot.fields.get("replaced_by", ""),
    )


def progress_of(
    state: str, runs: Sequence[TaskAttempt | Attempt], snapshot: Snapshot | None = None
) -> Progress | None:
    """What the run that goes on told, and while none does, the last one. ``runs``: those that
    ended, by fence. None where it told nothing, whatever those before it did."""
    if state == State.RUNNING:
        report: Any = snapshot.report_of(snapshot.fence) if snapshot is not None else None
        return read_report(report)
    last, report = (runs[-1].fence, runs[-1].report) if runs else (0, None)
    if snapshot is not None and snapshot.reported >= max(last, snapshot.us("acked")):
        report = snapshot.fields.get("report")
    elif snapshot is not None and last < snapshot.us("acked"):
        report = None  # a snooze that told nothing: its row is not asked for
    return read_report(report)


def _runs_of(snapshot: Snapshot, database: str) -> list[TaskAttempt | Attempt]:
    """The runs that ended, by fence. The mirror takes those it copied out of the message."""
    runs: dict[int, TaskAttempt | Attempt] = {run.fence: run for run in snapshot.attempts}
    ended = snapshot.attempt + snapshot.lost + (snapshot.state == State.SUCCESSFUL)
    counted = sum(run.outcome not in (Result.SNOOZED, Result.STOPPED) for run in runs.values())
    if database and snapshot.is_recorded and counted < ended:
        from django_tasks.models import TaskAttempt

        copied = TaskAttempt.objects.using(database).filter(record_id=UUID(snapshot.id))
        runs = {**{run.fence: run for run in copied}, **runs}
    return [runs[fence] for fence in sorted(runs)]


def _values(
    *,
    task: Any,
    record_id: str,
    state: str,
    times: tuple[datetime | None, datetime | None, datetime | None],
    arguments: tuple[list[Any], dict[str, Any]],
    alias: str,
    database: str,
    runs: Sequence[TaskAttempt | Attempt],
    worker: str,
    error: tuple[str, str, str],
    value: Any,
    progress: Progress | None,
    replaced_by: str,
) -> dict[str, Any]:
    last_started = [run.started_at for run in runs if run.started_at]
    runs = [run for run in runs if run.outcome != Result.SNOOZED]  # neither an attempt nor an error
    workers = [run.consumer for run in runs]
    if state == State.RUNNING and worker:
        workers.append(worker)
    return {
        "task": task,
        "id": record_id,
        "status": django_status(state),
        "enqueued_at": to_django(times[0]),
        "started_at": to_django(times[1]),
        "finished_at": to_django(times[2]),
        "last_attempted_at": to_django(last_started[-1] if last_started else times[1]),
        "args": arguments[0],
        "kwargs": arguments[1],
        "backend": alias,
        "errors": [
            TaskError(exception_class_path=run.error_class, traceback=run.traceback)
            for run in runs
            if run.error_class
        ],
        "worker_ids": workers,
        "state": str(state),
        "database": database,
        "error_class": error[0],
        "error_message": error[1],
        "traceback": error[2],
        "_return_value": value,
        "progress": progress,
        "replaced_by": replaced_by,
    }
