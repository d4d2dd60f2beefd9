"""``@django_task(atomic=True)``: the body and its SUCCESSFUL in one transaction (law 7).

Nobody else may have made the row final: then what the body wrote is rolled back, and the row is
right. So a run that is repeated, for whatever reason, has its effects once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections, transaction

from django_tasks.bridge.connections import usable
from django_tasks.bridge.database_errors import is_lost
from django_tasks.broker.message import Message
from django_tasks.framework import to_django
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import write_attempts
from django_tasks.states import FINAL, Result, State

logger = logging.getLogger("django_tasks.worker")

RERUNS = 5  # after a deadlock or a lost connection: not the task's fault, no attempt is counted
LATER = 1.0  # seconds until somebody finds out what became of a commit
# Deadlock, serialization failure: PostgreSQL's SQLSTATE, and the numbers of MariaDB and MySQL
# (1020: the row changed since the snapshot; 1205: a lock was waited for too long).
_STATES = frozenset(("40001", "40P01"))
_NUMBERS = frozenset((1020, 1205, 1213))


class RowDecides(Exception):
    """The run does not count: ``word`` is what its message is acknowledged with ("settled": the row
    is final, "dropped": it was deleted)."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class CommitUnknown(Exception):
    """The connection was lost while the transaction was being committed: the message is given back,
    and who runs it next finds out."""


def run_atomically(message: Message, worker: str, body: Callable[[], Any]) -> Any:
    """What ``body`` returns, committed together with the row's SUCCESSFUL.

    Raises ``RowDecides``, ``CommitUnknown``, and what the body raises."""
    for rerun in range(RERUNS + 1):
        try:
            return _run_once(message, worker, body)
        except (OperationalError, InterfaceError) as error:
            # Lost before the COMMIT was sent: nothing of it is there.
            if rerun == RERUNS or not (_is_conflict(error) or is_lost(error)):
                raise
            logger.info("%s is run anew: %s", message.id, error)
            threading.Event().wait(0.01 * 2**rerun)
            usable(message.database)
    raise AssertionError("the last rerun returns or raises")


def _run_once(message: Message, worker: str, body: Callable[[], Any]) -> Any:
    started, is_complete = time.time(), False
    try:
        with transaction.atomic(using=message.database):
            value = body()
            _write_success(message, worker, started, value)
            is_complete = True
        return value
    except (OperationalError, InterfaceError) as error:
        if not is_complete or _is_conflict(error):
            raise
        raise _what_became_of_it(message) from error


def _write_success(message: Message, worker: str, started: float, value: Any) -> None:
    rows = TaskRecord.objects.using(message.database).filter(id=message.id, round=message.round)
    now = time.time()
    # No lock on the row before this: held through a long body, it would stop the mirror's batch.
    written = rows.exclude(status__in=FINAL).update(
        status=State.SUCCESSFUL,
        return_value=value,
        attempt=message.attempt,
        fence=message.fence,
        worker_id=worker,
        started_at=to_django(datetime.fromtimestamp(started, UTC)),
        finished_at=to_django(datetime.fromtimestamp(now, UTC)),
        error_class="",
        error_message="",
        traceback="",
    )
    if written != 1:
        raise RowDecides(_word(message))
    claimed, began, ended = (
        to_django(datetime.fromtimestamp(at, UTC)) for at in (message.fence / 1e6, started, now)
    )
    told = (message.id, message.fence, message.attempt + 1, worker, claimed, began, ended)
    write_attempts([(*told, Result.SUCCEEDED.value, "", "", "", None)], using=message.database)


def _word(message: Message) -> str:
    row = TaskRecord.objects.using(message.database).filter(id=message.id)
    return "settled" if row.exists() else "dropped"


def _what_became_of_it(message: Message) -> Exception:
    """By another connection. Not final may still mean that the commit is on its way."""
    connection = connections[message.database]
    try:
        if not connection.in_atomic_block:
            connection.close()
        rows = TaskRecord.objects.using(message.database).filter(id=message.id)
        status = rows.values_list("status", flat=True).first()
    except DatabaseError:
        return CommitUnknown(message.id)
    if status is None:
        return RowDecides("dropped")
    return RowDecides("settled") if status in FINAL else CommitUnknown(message.id)


def _is_conflict(error: Exception) -> bool:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    number = error.args[0] if error.args else None
    return state in _STATES or number in _NUMBERS or "database is locked" in str(error)
