"""What a person does to a queue: pause, resume and purge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from django.db.models import Q

from django_tasks.bridge.actions import cancel
from django_tasks.bridge.deeds import ENDED, Deed, Done, kept
from django_tasks.broker import get_broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.calls.shown import inert
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.framework import to_utc
from django_tasks.models import TaskRecord
from django_tasks.models.record import TaskRecordQuerySet

logger = logging.getLogger("django_tasks.control")

LISTED = 100  # messages of one step: it is answered within a producer's time-out


def pause(
    queue: str,
    *,
    by: str,
    reason: str = "",
    until: datetime | None = None,
    alias: str = DEFAULT_ALIAS,
) -> bool:
    """Let nothing of a queue be claimed; what runs goes on. ``until``: when it ends by itself.

    False if it was paused already: then ``by``, ``reason`` and ``until`` are what this call says.
    Raises ``BrokerError``; ``InvalidTaskOptions`` for what is no queue's name."""
    broker = get_broker(alias)
    moment = to_utc(until)
    broker.announce([checked_queue(queue)])
    end = moment.timestamp() if moment is not None else 0.0
    is_new = broker.pause(queue, kept(by, 200), kept(reason), end)
    logger.info(
        "Queue %s was paused by %s: %s",
        queue,
        inert(by),
        inert(reason) or "-",
        extra={"queue": queue},
    )
    return is_new


def resume(queue: str, *, by: str, alias: str = DEFAULT_ALIAS) -> bool:
    """Let a queue's messages be claimed again. False if it was not paused. Raises ``BrokerError``,
    ``InvalidTaskOptions``."""
    resumed = get_broker(alias).resume(checked_queue(queue))
    if resumed:
        logger.info("Queue %s was resumed by %s", queue, inert(by), extra={"queue": queue})
    return resumed


def waiting(queue: str, database: str, alias: str = DEFAULT_ALIAS) -> TaskRecordQuerySet:
    """The records that wait in a queue. Another alias may have a queue of this name, in another
    broker."""
    return of_alias(TaskRecord.objects.using(database).in_queue(queue).waiting(), alias)


def of_alias(rows: TaskRecordQuerySet, alias: str) -> TaskRecordQuerySet:
    """Those that this alias of ``TASKS`` enqueued."""
    mine = Q(metadata__backend=alias)
    if alias == DEFAULT_ALIAS:
        mine |= Q(metadata__backend__isnull=True)
    return rows.filter(mine)


def purge(
    queue: str,
    *,
    by: str,
    reason: str = "",
    alias: str = DEFAULT_ALIAS,
    tell: Callable[[Done], object] | None = None,
) -> Done:
    """Cancel all that waits in a queue; what runs goes on, and the records stay. Of what is
    enqueued meanwhile some may be cancelled too. Raises ``BrokerError``, ``InvalidTaskOptions``."""
    broker = get_broker(alias)
    checked_queue(queue)
    total = Done(Deed.CANCEL)

    def tell_all(so_far: Done) -> None:
        if tell is not None:
            told = Done(Deed.CANCEL)
            told += total
            told += so_far
            tell(told)

    for database in registry.databases():
        rows = waiting(queue, database, alias)
        total += cancel(rows, only_waiting=True, by=by, reason=reason, tell=tell_all)
    # Those of record="never", and of "after" whose rows are not written yet.
    for _ in range(1 + broker.status([queue], [])[queue].total // LISTED):
        left = broker.waiting_ids(queue, LISTED)
        if not left:
            break
        rounds = broker.snapshots(queue, left)
        calls = [
            (one, rounds[one].round, rounds[one].fields.get("database", ""))
            for one in left
            if one in rounds
        ]
        total.matched += len(calls)
        total.changed += sum(1 for verdict in broker.cancel(queue, calls, "leave") if verdict > 1)
        tell_all(Done(Deed.CANCEL))
    logger.info(
        "Queue %s was purged by %s: %s",
        queue,
        inert(by),
        inert(reason) or "-",
        extra={"queue": queue},
    )
    return total


def find_rowless(record_ids: Sequence[str], alias: str = DEFAULT_ALIAS) -> dict[str, str]:
    """id → queue of calls that only the broker knows: of ``record="never"``, and of ``"after"``
    whose rows are not written yet. Raises ``BrokerError``."""
    broker = get_broker(alias)
    return {
        record_id: queue
        for queue in sorted(broker.queue_names())
        for record_id in broker.snapshots(queue, record_ids)
    }


def cancel_rowless(
    places: Mapping[str, str], *, by: str, terminate: bool = False, alias: str = DEFAULT_ALIAS
) -> Done:
    """Cancel what ``find_rowless`` found. Raises ``BrokerError``."""
    broker = get_broker(alias)
    done = Done(Deed.CANCEL)
    for record_id, queue in places.items():
        seen = broker.snapshots(queue, [record_id]).get(record_id)
        database = seen.fields.get("database", "") if seen is not None else ""
        [verdict] = broker.cancel(
            queue, [(record_id, 1, database)], "hard" if terminate else "soft"
        )
        done.matched += 1
        done.changed += verdict > 1
        done.told += verdict == 1
        done.skip(ENDED, verdict == 0)
        logger.info("%s was cancelled by %s", record_id, inert(by), extra={"message_id": record_id})
    return done
