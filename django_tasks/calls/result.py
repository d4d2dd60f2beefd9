"""TaskResult: what became of a call. Read from the broker while it is fresh, from the row after."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError

from django_tasks import framework
from django_tasks.calls import registry
from django_tasks.conf import task_settings
from django_tasks.errors import (
    BrokerError,
    ResultInsideTransaction,
    ResultNotFound,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from django_tasks.framework import TaskError, to_django
from django_tasks.states import FINAL, Result, State, django_status

if TYPE_CHECKING:
    from django_tasks.broker.snapshot import Attempt, Snapshot
    from django_tasks.models import TaskAttempt, TaskRecord

    # django-stubs has it not frozen, and without what is private.
    FrameworkTaskResult: Any
else:
    FrameworkTaskResult = framework.TaskResult

REFRESHED = (
    "status errors _return_value finished_at started_at last_attempted_at enqueued_at worker_ids"
    " state error_class error_message traceback"
).split()
_ENDINGS = {State.CANCELLED: TaskCancelled, State.EXPIRED: TaskExpired}


LOOK = 0.15  # seconds of one wait for the broker's word; below a producer's time-out
AWAY_LOOK = 0.05  # seconds between looks at the row while the broker is away


@dataclass(frozen=True, kw_only=True)
class TaskResult(FrameworkTaskResult):  # type: ignore[misc, unused-ignore]
    """Django's ``TaskResult``, and ``get``; ``state`` is the word of docs/states.md, of which
    ``status`` is Django's coarser one. ``database``: alias of its row, "" if it has none."""

    state: str = State.PENDING
    database: str = "default"
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not settings.USE_TZ:
            for name in ("enqueued_at", "started_at", "finished_at", "last_attempted_at"):
                object.__setattr__(self, name, to_django(getattr(self, name)))

    def get(self, timeout: float | None = None) -> Any:
        """Wait until the task is final, at most ``timeout`` seconds (None: for ever); return what
        it returned.

        Raises ``TaskFailed`` (``TaskCancelled``, ``TaskExpired``), ``ResultTimeout``."""
        for wait in _waits(timeout):
            self._look()
            if self.state in FINAL:
                return self._outcome()
            if wait is None:
                self._give_up(timeout)
            self._wait(wait)
        return None  # _waits ends with None only

    async def aget(self, timeout: float | None = None) -> Any:
        """``get`` for asyncio."""
        for wait in _waits(timeout):
            await self._alook()
            if self.state in FINAL:
                return self._outcome()
            if wait is None:
                self._give_up(timeout)
            await sync_to_async(self._wait, thread_sensitive=False)(wait)
        return None

    def _wait(self, seconds: float) -> None:
        """Until the broker says that it is final, or it is time to look again: at the row, if the
        broker is away or does not know it yet."""
        from django_tasks.broker import get_broker

        began = time.monotonic()
        try:
            get_broker(self.task.backend).watch(self.task.queue_name, self.id, seconds)
        except BrokerError:
            time.sleep(max(0.0, min(seconds, AWAY_LOOK) - (time.monotonic() - began)))

    def refresh(self) -> None:
        """Read again where the task is. Raises ``ResultNotFound``."""
        fresh = load(self.id, self.task.backend, self.task.queue_name, self.database, self)
        for name in REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))

    async def arefresh(self) -> None:
        """``refresh`` for asyncio."""
        await sync_to_async(self.refresh)()

    def _look(self) -> None:
        # First a look: a burst inside the transaction of a test may have run it.
        try:
            self.refresh()
        except ResultNotFound:
            self._require_progress()
            raise
        if self.state not in FINAL:
            self._require_progress()

    async def _alook(self) -> None:
        try:
            await self.arefresh()
        except ResultNotFound:
            await sync_to_async(self._require_progress)()
            raise
        if self.state not in FINAL:
            await sync_to_async(self._require_progress)()

    def _outcome(self) -> Any:
        if self.state == State.SUCCESSFUL:
            return self._return_value
        ending = _ENDINGS.get(State(self.state), TaskFailed)
        raise ending(self.id, self.error_class, self.error_message, self.traceback)

    def _give_up(self, timeout: float | None) -> NoReturn:
        raise ResultTimeout(
            f"Task {self.id} is {self.state} after {timeout:g} s of waiting. It goes on; ask again"
            " with get(), or see whether a worker serves the queue"
            f" {self.task.queue_name!r} (python manage.py runworker)."
        )

    def _require_progress(self) -> None:
        """Raises ``ResultTimeout`` at once where no waiting helps."""
        from django_tasks.bridge import outbox

        if outbox.is_open(self.id):
            raise ResultInsideTransaction(
                f"Task {self.id} was enqueued in the transaction that is still open here, and"
                " starts after its commit: get() would wait for ever. Call get() after the"
                " `atomic` block, or in another request."
            )


def _waits(timeout: float | None) -> Iterator[float | None]:
    """How long to wait between looks, in seconds; None once the time is over."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LOOK if end is None else end - time.monotonic()
        if left <= 0:
            yield None
            return
        yield max(min(left, LOOK), 0.001)


def load(
    record_id: str,
    alias: str,
    queue: str | None = None,
    database: str | None = None,
    known: TaskResult | None = None,
) -> TaskResult:
    """The result with this id. ``queue``, ``database``, ``known``: what the caller knows of it.

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
            known = _from_record(record, alias, database)
        return _from_snapshot(snapshot, known)
    if record is None and database:
        record = read_record(checked, database)
    if record is None:
        _require_committed(str(checked))
        raise ResultNotFound(
            f"No task result has the id {record_id!r}: its record was deleted, or its time to live"
            f" is over (RESULT_TTL, {task_settings(alias).result_ttl} s, where there is no record)."
        )
    return _from_record(record, alias, database)


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


def _from_record(record: TaskRecord, alias: str, database: str) -> TaskResult:
    attempts: list[TaskAttempt | Attempt] = []
    if not record._state.adding:
        attempts += record.attempts.all()
    return _result(
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
    )


def _from_snapshot(snapshot: Snapshot, known: TaskResult) -> TaskResult:
    return _result(
        task=known.task,
        record_id=snapshot.id,
        state=snapshot.state,
        times=(known.enqueued_at, snapshot.started_at, snapshot.finished_at),
        arguments=(known.args, known.kwargs),
        alias=known.backend,
        database=known.database,
        runs=_runs_of(snapshot, known.database),
        worker=snapshot.worker_id,
        error=(
            snapshot.error_class,
            snapshot.error_message or snapshot.dead_letter,
            snapshot.traceback,
        ),
        value=json.loads(snapshot.return_value) if snapshot.return_value else None,
    )


def _runs_of(snapshot: Snapshot, database: str) -> list[TaskAttempt | Attempt]:
    """The runs that ended, by fence. The mirror takes those it copied out of the message."""
    from django_tasks.models import TaskAttempt

    runs: dict[int, TaskAttempt | Attempt] = {run.fence: run for run in snapshot.attempts}
    ended = snapshot.attempt + snapshot.lost + (snapshot.state == State.SUCCESSFUL)
    counted = sum(run.outcome not in (Result.SNOOZED, Result.STOPPED) for run in runs.values())
    if database and snapshot.is_recorded and counted < ended:
        copied = TaskAttempt.objects.using(database).filter(record_id=UUID(snapshot.id))
        runs = {**{run.fence: run for run in copied}, **runs}
    return [runs[fence] for fence in sorted(runs)]


def _result(
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
) -> TaskResult:
    last_started = [run.started_at for run in runs if run.started_at]
    runs = [run for run in runs if run.outcome != Result.SNOOZED]  # neither an attempt nor an error
    workers = [run.consumer for run in runs]
    if state == State.RUNNING and worker:
        workers.append(worker)
    result = TaskResult(
        task=task,
        id=record_id,
        status=django_status(state),
        enqueued_at=times[0],
        started_at=times[1],
        finished_at=times[2],
        last_attempted_at=last_started[-1] if last_started else times[1],
        args=arguments[0],
        kwargs=arguments[1],
        backend=alias,
        errors=[
            TaskError(exception_class_path=run.error_class, traceback=run.traceback)
            for run in runs
            if run.error_class
        ],
        worker_ids=workers,
        state=State(state).value,
        database=database,
        error_class=error[0],
        error_message=error[1],
        traceback=error[2],
    )
    object.__setattr__(result, "_return_value", value)
    return result


def of_new(record: TaskRecord, task: Any, alias: str, database: str) -> TaskResult:
    """The result of a call that was just enqueued."""
    return _result(
        task=task,
        record_id=str(record.id),
        state=State.PENDING,
        times=(record.enqueued_at, None, None),
        arguments=(record.args, record.kwargs),
        alias=alias,
        database=database,
        runs=[],
        worker="",
        error=("", "", ""),
        value=None,
    )
