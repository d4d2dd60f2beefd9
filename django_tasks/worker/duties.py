"""A table of periodic work: duty, period, function. One worker at a time does each, by a lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.db import DatabaseError, close_old_connections, router

from django_tasks.bridge.deliver import RELAYED, UNFINISHED, deliver
from django_tasks.broker import Broker
from django_tasks.errors import BrokerError
from django_tasks.models import TaskRecord

logger = logging.getLogger("django_tasks.keeper")

QUIET = 3.0  # seconds of an era in which nothing in doubt runs and nothing is delivered
REBUILD_PAUSE = 0.02  # seconds between batches: a million rows must not stampede


def record_databases() -> list[str]:
    """The aliases that may hold records: the one routers write to, and those that tasks name."""
    from django_tasks.calls import registry

    first = router.db_for_write(TaskRecord)
    return [first, *sorted(registry.databases() - {first})]


@dataclass(slots=True)
class Deliverer:
    """Walks the unfinished rows: all PENDING ones often, the others slowly, all after an era."""

    broker: Broker
    aliases: Sequence[str]
    relay_passes: int = 0
    _reconciled: dict[str, UUID | None] = field(default_factory=dict)

    def relay(self) -> None:
        """Push committed rows that the broker has not seen."""
        each_database(lambda database: self._walk(database, RELAYED, None, 0.0))
        self.relay_passes += 1

    def reconcile(self) -> None:
        """One batch of all unfinished rows: a loss need not be noticed to be repaired."""
        each_database(self._reconcile)

    def rebuild(self) -> None:
        """After an era began: every unfinished row of each queue that the broker does not know."""
        for queue in sorted(self.broker.queue_names()):
            pulse = self.broker.beat([queue], [])[queue]
            if pulse.delivered == pulse.era or pulse.age < QUIET:
                continue
            each_database(
                partial(self._walk, statuses=UNFINISHED, queue=queue, pause=REBUILD_PAUSE)
            )
            # Refused if the era changed meanwhile: then the next pass starts over.
            self.broker.delivered(queue, pulse.era)

    def _walk(
        self, database: str, statuses: Sequence[str], queue: str | None, pause: float
    ) -> None:
        last: UUID | None = None
        while True:
            step = deliver(
                self.broker,
                database,
                statuses=statuses,
                queue=queue,
                after=last,
                aliases=self.aliases,
            )
            last = step.last_id
            if last is None:
                return
            time.sleep(pause)

    def _reconcile(self, database: str) -> None:
        step = deliver(
            self.broker,
            database,
            statuses=UNFINISHED,
            after=self._reconciled.get(database),
            aliases=self.aliases,
            batch=200,
        )
        self._reconciled[database] = step.last_id


def each_database(visit: Callable[[str], None]) -> None:
    """Visit every database of records. One that is away is left for the next time, and its
    ``DatabaseError`` raised when the others were visited."""
    away: DatabaseError | None = None
    for database in record_databases():
        try:
            visit(database)
        except DatabaseError as error:
            away = error
    if away is not None:
        raise away


@dataclass(slots=True)
class Duty:
    """``period``: seconds between two runs; ``lease``: for how long a worker keeps the duty."""

    name: str
    period: float
    perform: Callable[[], None]
    has_failed: bool = False  # said already: what is away for an hour is not said 3,600 times

    @property
    def lease(self) -> float:
        return max(self.period * 3, 3.0)


def duties(deliverer: Deliverer) -> list[Duty]:
    """The table."""
    return [
        Duty("relay", 1.0, deliverer.relay),
        Duty("rebuild", 1.0, deliverer.rebuild),
        Duty("reconcile", 1.0, deliverer.reconcile),
    ]


def perform(duty: Duty, broker: Broker, owner: str | None) -> bool:
    """Do a duty if this worker has it now (None: without asking, which is always correct).

    What fails is tried again at the next period, and said once until it succeeds."""
    try:
        if owner is not None and not broker.lease(duty.name, owner, duty.lease):
            return False
        duty.perform()
        duty.has_failed = False
    except (BrokerError, DatabaseError) as error:
        if not duty.has_failed:
            logger.warning("The duty %s waits: %s", duty.name, error)
        duty.has_failed = True
    except Exception:
        if not duty.has_failed:
            logger.exception("The duty %s failed; it is tried again", duty.name)
        duty.has_failed = True
    finally:
        close_old_connections()
    return True
