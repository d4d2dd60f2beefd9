"""What a person does to a queue: pause, resume and purge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django_tasks.bridge.actions import cancel
from django_tasks.bridge.deeds import Deed, Done
from django_tasks.bridge.translate import alias_of
from django_tasks.broker import get_broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.framework import to_utc
from django_tasks.models import TaskRecord

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
    is_new = broker.pause(queue, by, reason, moment.timestamp() if moment is not None else 0.0)
    logger.info("Queue %s was paused by %s: %s", queue, by, reason or "-", extra={"queue": queue})
    return is_new


def resume(queue: str, *, by: str, alias: str = DEFAULT_ALIAS) -> bool:
    """Let a queue's messages be claimed again. False if it was not paused. Raises ``BrokerError``,
    ``InvalidTaskOptions``."""
    resumed = get_broker(alias).resume(checked_queue(queue))
    if resumed:
        logger.info("Queue %s was resumed by %s", queue, by, extra={"queue": queue})
    return resumed


def purge(
    queue: str,
    *,
    by: str,
    reason: str = "",
    alias: str = DEFAULT_ALIAS,
    tell: Callable[[Done], object] | None = None,
) -> Done:
    """Cancel all that waits in a queue; what runs goes on, and the records stay. What is enqueued
    meanwhile is left out, save calls that have no record. Raises ``BrokerError``,
    ``InvalidTaskOptions``."""
    broker = get_broker(alias)
    checked_queue(queue)
    total = Done(Deed.CANCEL)
    for database in registry.databases():
        waiting = TaskRecord.objects.using(database).in_queue(queue).waiting()
        # Another alias may have a queue of this name, in another broker.
        chosen = [one for one in waiting.only("metadata") if alias_of(one) == alias]
        total += cancel(chosen, only_waiting=True, by=by, reason=reason, tell=tell)
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
    logger.info("Queue %s was purged by %s: %s", queue, by, reason or "-", extra={"queue": queue})
    return total
