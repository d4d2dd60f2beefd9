"""Delivery: pushes rows that were committed but that the broker does not know.

Safe to run anywhere, any number of times: pushing a known id does nothing (push.lua). The relay
(PENDING rows), the rebuild (a new era) and the reconciler (slowly, always) are this function."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django_tasks.bridge import edges
from django_tasks.bridge.outbox import bounded
from django_tasks.bridge.translate import alias_of
from django_tasks.broker import Broker
from django_tasks.models import TaskRecord
from django_tasks.states import State

logger = logging.getLogger("django_tasks.deliver")

BATCH = 500  # rows looked at in one step
PUSHED_ROWS = 100  # rows read whole and pushed in one call
RELAYED = (State.PENDING,)
UNFINISHED = (State.PENDING, State.DEFERRED, State.SCHEDULED, State.READY, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One step of a walk. ``last_id``: where to go on; None at the end of the table."""

    last_id: UUID | None
    looked_at: int
    pushed: int


def deliver(
    broker: Broker,
    database: str,
    *,
    statuses: Sequence[str] = RELAYED,
    queue: str | None = None,
    after: UUID | None = None,
    aliases: Collection[str] = ("default",),
    batch: int = BATCH,
) -> Delivered:
    """Look at the next ``batch`` rows in ``statuses`` and push those that the broker does not
    know. Raises ``BrokerError``, ``DatabaseError``."""
    # By id, not by a clock: hosts differ and long transactions commit late.
    rows = TaskRecord.objects.using(database).filter(status__in=statuses).after(after)
    if queue is not None:
        rows = rows.in_queue(queue)
    # Most rows of a walk are known; of those no arguments are read.
    found = list(rows.only("queue_name", "round", "metadata", "status").order_by("id")[:batch])
    by_queue: dict[str, dict[str, int]] = {}  # id → round
    for record in found:
        if alias_of(record) in aliases:
            by_queue.setdefault(record.queue_name, {})[str(record.id)] = record.round
    pushed = 0
    if by_queue:
        broker.announce(by_queue, anew=True)  # lost with the broker's memory, and found by rows
    for name, rounds in by_queue.items():
        unknown = sorted(broker.unknown_ids(name, rounds))
        for start in range(0, len(unknown), PUSHED_ROWS):
            chosen = rows.filter(id__in=unknown[start : start + PUSHED_ROWS]).order_by("id")
            for messages in bounded(chosen, database):
                verdicts = broker.push(name, messages, is_delivery=True)
                pushed += sum(1 for verdict in verdicts if verdict)
                edges.settle_pushed(broker, messages, database)
    if State.DEFERRED in statuses:
        # A release may have been lost with the broker's memory, or with who was to carry it.
        # Whatever their rows say: the broker may have come back from a time when they waited.
        edges.release_from_rows(broker, [record.id for record in found], database)
    if pushed:
        logger.info("Delivered %d records that the broker did not know", pushed)
    return Delivered(found[-1].id if len(found) == batch else None, len(found), pushed)
