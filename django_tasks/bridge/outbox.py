"""The outbox: drafts → rows in the caller's transaction → messages after its commit (law 2).

What is committed and not pushed stays a PENDING row, which delivery finds (deliver.py)."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError

from django_tasks.bridge import edges
from django_tasks.bridge.databases import warn_of_other_transaction
from django_tasks.bridge.edges import Edge
from django_tasks.bridge.translate import alias_of, to_message
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Message
from django_tasks.conf import TaskSettings, task_settings
from django_tasks.errors import BrokerError, BrokerUnavailable
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import insert_missing, insert_records, values_of
from django_tasks.states import Recording

logger = logging.getLogger("django_tasks.outbox")

CIRCUIT = 2.0  # seconds for which a broker that failed is not asked again
CHUNK = 100  # messages in one call of push
CALL = 1000  # in one pipeline: it must be answered within a producer's time-out
PUSHED_BYTES = 1_000_000  # of arguments in one call, unless one row alone has more
_closed_until: dict[TaskSettings, float] = {}
laid_down: set[str] = set()  # what `with workflow()` blocks that are open will write at their end


@dataclass(slots=True)
class Draft:
    """The unsaved row of one enqueue. ``alias``: of TASKS; ``database``: where its row goes;
    ``edges``: those to its parents."""

    record: TaskRecord
    recording: str
    alias: str
    database: str
    edges: list[Edge] = field(default_factory=list)


def enqueue(drafts: Sequence[Draft]) -> None:
    """Write the rows now, push when the transaction commits; order is kept."""
    by_database: dict[str, list[Draft]] = {}
    for draft in drafts:
        by_database.setdefault(draft.database, []).append(draft)
    for database, group in by_database.items():
        if len(connections.settings) > 1:
            warn_of_other_transaction(database)
        rows = [draft.record for draft in group if draft.recording == Recording.FIRST]
        if rows:
            insert_records(rows, using=database)
        joined = [edge for draft in group for edge in draft.edges]
        if joined:
            edges.insert(joined, using=database)
        _push_after_commit(group, database)


class Push:
    """The hook of one run of enqueues in the same savepoint: pushes all of them, in order."""

    def __init__(self, drafts: Iterable[Draft], database: str) -> None:
        self.drafts = list(drafts)
        self.database = database
        self.is_done = False  # inside a TestCase hooks stay in the list when they were run
        self.__qualname__ = type(self).__qualname__  # what Django logs if a robust hook raises

    def __call__(self) -> None:
        self.is_done = True
        by_alias: dict[str, list[Draft]] = {}
        for draft in self.drafts:
            by_alias.setdefault(draft.alias, []).append(draft)
        for alias, drafts in by_alias.items():
            try:
                self._push(alias, drafts)
            except (BrokerError, DatabaseError) as error:
                _keep(drafts, self.database, error)

    def _push(self, alias: str, drafts: list[Draft]) -> None:
        joined = [edge for draft in drafts for edge in draft.edges]
        has_rows = all(draft.recording == Recording.FIRST for draft in drafts)
        # A child is known before its parents can end: those that wait come first.
        down: dict[UUID, list[Edge]] = {}
        for edge in joined:
            down.setdefault(edge.parent, []).append(edge)
        ordered = [
            *(draft for draft in reversed(drafts) if draft.edges),
            *(draft for draft in drafts if not draft.edges),
        ]
        for start in range(0, len(ordered), CALL):  # the next are made while these are pushed
            part = ordered[start : start + CALL]
            push(alias, [_message_of(draft, down) for draft in part], waits=not has_rows)
        if not joined:
            return
        own = {draft.record.id for draft in drafts}
        earlier = [edge for edge in joined if edge.parent not in own]
        if earlier:
            edges.settle(get_broker(alias), earlier, self.database)


def _push_after_commit(drafts: list[Draft], database: str) -> None:
    connection = connections[database]
    hooks = connection.run_on_commit
    # Django prunes the hooks of a savepoint that rolls back; so what is appended to a hook must
    # have been enqueued in the very same savepoints (TRAPS: one hook per transaction is wrong).
    last = hooks[-1][1] if hooks else None
    if (
        isinstance(last, Push)
        and not last.is_done
        and hooks[-1][0] == set(connection.savepoint_ids)
    ):
        last.drafts.extend(drafts)
        return
    try:
        transaction.on_commit(Push(drafts, database), using=database, robust=True)
    except TransactionManagementError:
        # Manual transaction mode: nobody will tell us of the commit. Delivery pushes the rows.
        others = [draft for draft in drafts if draft.recording != Recording.FIRST]
        if others:
            insert_records([draft.record for draft in others], using=database)


def is_open(record_id: str) -> bool:
    """Whether a transaction that is open in this thread enqueued the call: it can't have run."""
    return record_id in laid_down or any(
        isinstance(hook[1], Push)
        and not hook[1].is_done
        and any(str(draft.record.id) == record_id for draft in hook[1].drafts)
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
        for hook in connection.run_on_commit
    )


def withdraw(record_ids: Collection[str]) -> set[str]:
    """Of calls that a transaction which is open in this thread enqueued: they are not pushed at its
    commit. Returns which of them."""
    withdrawn: set[str] = set()
    for connection in connections.all(initialized_only=True):
        for hook in connection.run_on_commit if connection.in_atomic_block else ():
            push = hook[1]
            if isinstance(push, Push) and not push.is_done:
                found = {str(draft.record.id) for draft in push.drafts} & set(record_ids)
                push.drafts = [one for one in push.drafts if str(one.record.id) not in found]
                withdrawn |= found
    return withdrawn


def push(alias: str, messages: Sequence[Message], *, waits: bool = True) -> None:
    """Push at once, in chunks, each queue's order kept. Raises ``BrokerError``, without asking if
    the broker failed within the last two seconds.

    ``waits``: for the answer. What has a row needs none: if it is an error, it is heard at the next
    call, and the row waits for delivery all the same."""
    settings = task_settings(alias)
    by_queue: dict[str, list[Message]] = {}
    for message in messages:
        by_queue.setdefault(message.queue, []).append(message)
    batches = [
        (queue, line[start : start + CHUNK])
        for queue, line in by_queue.items()
        for start in range(0, len(line), CHUNK)
    ]
    for start in range(0, len(batches), CALL // CHUNK):
        chunk = batches[start : start + CALL // CHUNK]
        broker = get_broker(alias)
        broker.settle()  # it tells what became of the last one
        if time.monotonic() < _closed_until.get(settings, 0):
            raise BrokerUnavailable("The broker did not answer a moment ago; not asked again yet.")
        try:
            if waits:
                broker.push_all(chunk)
            else:
                broker.post_all(chunk, partial(_note_failure, alias, settings))
        except BrokerError as error:
            _note_failure(alias, settings, error)
            raise


def bounded(records: Iterable[TaskRecord], database: str) -> Iterator[list[Message]]:
    """Their messages, as many at a time as one call should carry."""
    messages: list[Message] = []
    size = 0
    found = list(records)
    up, down = edges.around([record.id for record in found], database)
    for record in found:
        message = to_message(
            record,
            task_settings(alias_of(record)),
            database=database,
            parents=edges.parents_text(up.get(record.id, ())),
            dependents=edges.dependents_text(down.get(record.id, ())),
        )
        size += len(message.args) + len(message.kwargs)
        if messages and size > PUSHED_BYTES:
            yield messages
            messages, size = [], len(message.args) + len(message.kwargs)
        messages.append(message)
    if messages:
        yield messages


def _note_failure(alias: str, settings: TaskSettings, error: BrokerError) -> None:
    _closed_until[settings] = time.monotonic() + CIRCUIT
    logger.warning(
        "Enqueued calls wait in the database until the broker is back: %s",
        error,
        extra={"alias": alias},
    )
    _revive(get_broker(alias))


def _revive(broker: Broker) -> None:
    try:
        broker.revive()
    except BrokerError:
        pass  # what is wrong was said; the calls wait


def _message_of(draft: Draft, down: Mapping[UUID, list[Edge]] | None = None) -> Message:
    return to_message(
        draft.record,
        task_settings(draft.alias),
        recording=draft.recording,
        database=draft.database,
        parents=edges.parents_text(draft.edges) if draft.edges else "",
        dependents=edges.dependents_text(down.get(draft.record.id, ())) if down else "",
    )


def _keep(drafts: list[Draft], database: str, error: Exception) -> None:
    """The broker is away: what has no row yet gets one, save throwaway work."""
    rowless = [draft.record for draft in drafts if draft.recording == Recording.AFTER]
    if rowless:
        # DO NOTHING: the push may have been done and only its answer lost.
        insert_missing([values_of(record) for record in rowless], using=database)
    lost = [draft.record for draft in drafts if draft.recording == Recording.NEVER]
    if lost:
        logger.warning(
            "Lost %d calls of tasks with record='never': %s",
            len(lost),
            error,
            extra={"record_ids": [str(record.id) for record in lost]},
        )
