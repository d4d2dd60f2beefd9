"""The mirror: dirty messages → rows. Read, one bulk statement, commit, clean (law 5)."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from django_tasks.bridge import edges
from django_tasks.bridge.connections import usable
from django_tasks.bridge.database_errors import is_lost, is_one_lock, is_passing, is_refusal
from django_tasks.bridge.translate import (
    to_attempts,
    to_new_row,
    to_row,
    with_note,
)
from django_tasks.broker import Broker
from django_tasks.broker.snapshot import Snapshot
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import insert_missing, update_records, write_attempts
from django_tasks.states import FINAL, Recording, State

logger = logging.getLogger("django_tasks.mirror")

BATCH_ROWS = 500
BATCH_BYTES = 1_000_000
LOCK_TIMEOUT = 2  # seconds
TRIES = 3  # of a batch, while what fails is a deadlock or a connection that broke
SKIP_LOCKED_FOR = 30.0  # seconds after such a time-out: asking costs a query a batch

# What a value may do to a statement; also one nested too deep for Python, or too big a number.
REFUSALS = (DatabaseError, ValueError, TypeError, ArithmeticError, RecursionError)

STATES = frozenset(State.values)
_OUR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a third of UUID()'s time
ROWLESS = (Recording.AFTER.value, "unreadable")  # whose rows nobody wrote at the enqueue

# One line of a clean: id, verb, revision, word, fences of attempts that were copied.
Mark = tuple[str, str, int, str, Sequence[int]]

_skipping_until: dict[str, float] = {}  # by database, monotonic
_told: set[tuple[str, int, str]] = set()  # warnings that need no repeating


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row that was not written says."""

    status: str
    round: int
    revision: int
    fence: int
    error_class: str
    error_message: str
    metadata: dict[str, Any] | None


def mirror(broker: Broker, queue: str, database: str, skip: int = 0) -> int:
    """Copy one batch, behind the ``skip`` oldest marks; returns how many messages it is done with
    (0: nothing is dirty, or what is can't be written now).

    Raises ``BrokerError``; ``DatabaseError`` if the database itself is away: then nothing
    is cleaned, and nothing is lost."""
    ids = broker.dirty(queue, database, BATCH_ROWS, skip)
    if not ids:
        return 0
    snapshots = broker.snapshots(queue, ids)
    batch = _bounded(snapshots[one] for one in ids if one in snapshots)
    marks: list[Mark] = [(one, "later", 0, "", ()) for one in ids if one not in snapshots]
    # The row locks are taken in id order: two mirrors in different orders would deadlock.
    batch.sort(key=lambda snapshot: snapshot.id)
    marks += _write(queue, database, [one for one in batch if _is_record(one)])
    marks += [(one.id, "gone", 0, "", ()) for one in batch if not _is_record(one)]
    _clean(broker, queue, database, marks)
    return len(marks) - sum(1 for mark in marks if mark[1] == "later" and mark[0] in snapshots)


def copy(broker: Broker, queue: str, database: str, ids: Sequence[str]) -> None:
    """Bring these rows up to what the broker knows, now: for who acts on rows right after a
    result. Raises as ``mirror``."""
    for start in range(0, len(ids), BATCH_ROWS):
        snapshots = broker.snapshots(queue, ids[start : start + BATCH_ROWS])
        found = sorted(
            (one for one in snapshots.values() if _is_record(one)), key=lambda one: one.id
        )
        while found:
            batch = _bounded(found)
            _clean(broker, queue, database, _write(queue, database, batch))
            found = found[len(batch) :]


def _clean(broker: Broker, queue: str, database: str, marks: list[Mark]) -> None:
    told = []
    for mark in marks:
        record_id, verb, revision, word, fences = mark
        state, _, heir = word.partition(" replaced ")
        if heir:  # whoever waits for it in an older memory
            edges.hand_over_in_broker(broker, record_id, UUID(heir), database)
            mark = (record_id, verb, revision, state, fences)
        told.append(mark)
    broker.clean(queue, database, told)


def _bounded(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    batch: list[Snapshot] = []
    size = 0
    for snapshot in snapshots:
        size += snapshot.size
        if batch and size > BATCH_BYTES:
            break
        batch.append(snapshot)
    return batch


def _is_record(snapshot: Snapshot) -> bool:
    if not _OUR_ID.fullmatch(snapshot.id):
        try:
            UUID(snapshot.id)
        except ValueError:
            return False
    return snapshot.state in STATES


def _write(queue: str, database: str, batch: list[Snapshot], tries: int = 1) -> list[Mark]:
    """Write a batch; on an error halve it until the culprit is alone."""
    if not batch:
        return []
    try:
        return _write_at_once(queue, database, batch)
    except (OperationalError, InterfaceError) as error:
        _require_database(database)
        if is_one_lock(error):
            raise  # each half would wait for it anew
        if is_passing(error) and tries < TRIES:
            return _write(queue, database, batch, tries + 1)
        # A statement over max_allowed_packet may end as a connection that is lost.
        refused = is_refusal(error) or (is_lost(error) and batch[0].size > BATCH_BYTES)
        if refused and len(batch) == 1:
            return _write_without_values(queue, database, batch[0], error)
        if not refused and not is_passing(error) and _begin_to_skip_locked(database):
            return _write(queue, database, batch)
        if len(batch) == 1:
            _warn(queue, batch[0], "can't be written now and is tried again later", error)
            return [(batch[0].id, "later", 0, "", ())]
    except REFUSALS as error:
        if len(batch) == 1:
            return _write_without_values(queue, database, batch[0], error)
    middle = len(batch) // 2
    return [
        *_write(queue, database, batch[:middle]),
        *_write(queue, database, batch[middle:]),
    ]


def _write_without_values(
    queue: str, database: str, snapshot: Snapshot, error: Exception
) -> list[Mark]:
    note = f"The database refused what the task gave: {error}"
    _warn(queue, snapshot, "is written without its values", error)
    try:
        return _write_at_once(queue, database, [with_note(snapshot, note[:1000])])
    except REFUSALS:
        _require_database(database)
        return [(snapshot.id, "later", 0, "", ())]


def _warn(queue: str, snapshot: Snapshot, what: str, error: Exception | str) -> None:
    """Once for each revision of a message, though it is tried ten times a second."""
    key = (snapshot.id, snapshot.revision, what)
    if key in _told:
        return
    if len(_told) > 1000:
        _told.clear()
    _told.add(key)
    logger.warning(
        "The row of %s %s: %s",
        snapshot.id,
        what,
        error,
        extra={"message_id": snapshot.id, "queue": queue},
    )


def _require_database(database: str) -> None:
    """Raises ``DatabaseError`` if it is the database that is away, not a row that is locked."""
    with usable(database).cursor() as cursor:
        cursor.execute("SELECT 1")


def _write_at_once(queue: str, database: str, batch: list[Snapshot]) -> list[Mark]:
    connection = connections[database]
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(using=database):
        _bound_lock_waits(connection, is_outermost)
        locked = _locked(database, batch) if _skips_locked(database) else frozenset()
        for snapshot in batch:
            if snapshot.id in locked:
                _warn(queue, snapshot, "can't be written now and is tried again later", "row lock")
        batch = [snapshot for snapshot in batch if snapshot.id not in locked]
        whole = _insert_missing(queue, database, batch)
        rest = [to_row(snapshot) for snapshot in batch if snapshot.id not in whole]
        written = len(whole) + update_records(rest, using=database)
        rows = None if written == len(batch) else _rows(database, batch)
        attempts = [
            attempt
            for snapshot in batch
            if rows is None or snapshot.id in rows
            for attempt in to_attempts(snapshot)
        ]
        if attempts:
            write_attempts(attempts, using=database)
    return [
        *(_mark(snapshot, rows) for snapshot in batch),
        *((one, "later", 0, "", ()) for one in locked),
    ]


def _bound_lock_waits(connection: Any, is_outermost: bool) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
        elif connection.vendor == "mysql":
            # No SET LOCAL there; rows and, for who alters the table, its definition.
            cursor.execute(
                f"SET SESSION innodb_lock_wait_timeout = {LOCK_TIMEOUT},"
                f" lock_wait_timeout = {LOCK_TIMEOUT}"
            )
            # What a row says that was not written is asked after the UPDATE: a snapshot from
            # before it would not know who wrote it meanwhile. Django's own default.
            if is_outermost and connection.isolation_level != "read committed":
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _skips_locked(database: str) -> bool:
    return time.monotonic() < _skipping_until.get(database, 0.0)


def _begin_to_skip_locked(database: str) -> bool:
    """After a row was waited for in vain: for a while none is waited for. False if it was so."""
    can = connections[database].features.has_select_for_update_skip_locked
    if not can or _skips_locked(database):
        return False
    _skipping_until[database] = time.monotonic() + SKIP_LOCKED_FOR
    return True


def _locked(database: str, batch: list[Snapshot]) -> frozenset[str]:
    """Ids of rows that someone else has locked; the others are ours until the commit."""
    rows = TaskRecord.objects.using(database).order_by("id")
    ids = [snapshot.id for snapshot in batch]
    free = rows.filter(id__in=ids).select_for_update(skip_locked=True).values_list("id", flat=True)
    others = set(ids) - {str(one) for one in free}
    there = rows.filter(id__in=others).values_list("id", flat=True) if others else ()
    return frozenset(str(one) for one in there)


def _insert_missing(queue: str, database: str, batch: list[Snapshot]) -> Collection[str]:
    """``record="after"``: the mirror writes the row; and dead letters that never had one. Returns
    the ids of rows that need nothing more."""
    missing = [one for one in batch if one.fields.get("record") in ROWLESS and not one.is_recorded]
    rows = [to_new_row(one, queue) for one in missing]
    return {one.id for one in missing} if rows and insert_missing(rows, using=database) else ()


def _rows(database: str, batch: list[Snapshot]) -> dict[str, _Row]:
    values: Any = (
        TaskRecord.objects.using(database)
        .filter(id__in=[snapshot.id for snapshot in batch])
        .values_list("id", *(field.name for field in fields(_Row)))
    )
    return {str(record_id): _Row(*rest) for record_id, *rest in values}


def _mark(snapshot: Snapshot, rows: dict[str, _Row] | None) -> Mark:
    """What clean has to do about one message, now that the transaction is committed."""
    fences = snapshot.noted if snapshot.notes else ()
    verb = "again" if snapshot.is_recorded else "written"
    written: Mark = (snapshot.id, verb, snapshot.revision, snapshot.state, fences)
    if rows is None:
        return written
    row = rows.get(snapshot.id)
    if row is None:
        return (snapshot.id, "gone", 0, "", fences)
    if row.round > snapshot.round:
        # Made to run again by a person; the push of that round starts a final message anew.
        if snapshot.state in FINAL:
            return written
        return (snapshot.id, "settled", row.revision, State.CANCELLED, fences)
    if row.status in FINAL:
        if row.status == snapshot.state:
            return written
        how = edges.how_of(row.status, row.error_class, row.error_message, snapshot.id)
        heir = (row.metadata or {}).get("replaced_by")
        if heir:
            how = ("replaced", heir)  # _clean() hands over first
        return (snapshot.id, "settled", row.revision, " ".join((row.status, *how)), fences)
    if row.revision > snapshot.revision:
        return (snapshot.id, "ahead", row.revision, str(row.fence), fences)
    return written
