"""What a person does to a queue: pause and resume."""

from __future__ import annotations

import logging
from datetime import datetime

from django_tasks.broker import get_broker
from django_tasks.calls.options import checked_queue
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.framework import to_utc

logger = logging.getLogger("django_tasks.control")


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
