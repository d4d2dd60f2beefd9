"""A table of periodic work: duty, period, function. One worker at a time does each, by a lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.db import DatabaseError, close_old_connections

from django_tasks.bridge.deliver import RELAYED, UNFINISHED, Delivered, deliver
from django_tasks.broker import Broker
from django_tasks.errors import BrokerError
from django_tasks.models import TaskRecord

logger = logging.getLogger("django_tasks.keeper")

QUIET = 3.0  # seconds of an era in which nothing in doubt runs and nothing is delivered
MOST_PATIENCE = 60.0  # seconds for which a database that hangs is not asked
REBUILD_PAUSE = 0.02  # seconds between batches: a million rows must not stampede
SLICE = 0.5  # seconds that a duty walks at a time: the others are due, and its lease is short


def record_databases() -> list[str]:
    """Every alias that may hold records; the one routers write to first."""
    from django_tasks.calls import registry

    return registry.databases()


@dataclass(slots=True)
class Walk:
    """Where a walk over the rows of every database is; each is walked over once."""

    visit: Callable[[str, UUID | None], UUID | None]  # one step: database, after → last id or None
    pause: float = 0.0  # seconds between steps
    after: dict[str, UUID | None] = field(default_factory=dict)  # by database, where it is
    done: set[str] = field(default_factory=set)

    def go_on(self, until: float) -> bool:
        """Until the end, which is True, or until a time (monotonic). Raises ``DatabaseError`` of
        a database that is away; the others are walked over, and it is tried again."""
        each_database(lambda database: self._go_on_in(database, until))
        return self.done >= set(record_databases())

    def _go_on_in(self, database: str, until: float) -> None:
        while database not in self.done:
            self.after[database] = self.visit(database, self.after.get(database))
            if self.after[database] is None:
                self.done.add(database)
            elif time.monotonic() + self.pause >= until:
                return
            else:
                time.sleep(self.pause)


@dataclass(slots=True)
class Deliverer:
    """Walks the unfinished rows: all PENDING ones often, the others slowly, all after an era.

    ``relay`` and ``rebuild`` return the seconds until they go on, where they are not done."""

    broker: Broker
    aliases: Sequence[str]
    relay_passes: int = 0
    _relaying: Walk | None = None
    _reconciled: dict[str, UUID | None] = field(default_factory=dict)
    _rebuilding: dict[str, tuple[str, Walk]] = field(default_factory=dict)  # queue → era, walk

    def relay(self) -> float | None:
        """Push committed rows that the broker has not seen."""
        walk = self._relaying = self._relaying or Walk(partial(self._deliver, RELAYED, None))
        try:
            if not walk.go_on(time.monotonic() + SLICE):
                return 0.0
        except DatabaseError:
            walk.done.clear()  # new rows of those that answer do not wait for the one that is away
            raise
        self._relaying = None
        self.relay_passes += 1
        return None

    def reconcile(self) -> None:
        """One batch of all unfinished rows: a loss need not be noticed to be repaired."""
        each_database(self._reconcile)

    def rebuild(self) -> float | None:
        """After an era began: every unfinished row of each queue that the broker does not know."""
        end = time.monotonic() + SLICE
        is_done, away = True, None
        for queue in sorted(self.broker.queue_names()):
            try:
                is_done = self._rebuild(queue, end) and is_done
            except DatabaseError as error:
                away = error  # the queues that have no row there do not wait
        if away is not None:
            raise away
        return None if is_done else REBUILD_PAUSE

    def _rebuild(self, queue: str, until: float) -> bool:
        pulse = self.broker.beat([queue], [])[queue]
        era, walk = self._rebuilding.get(queue, ("", None))
        if pulse.delivered == pulse.era or pulse.age < QUIET:
            self._rebuilding.pop(queue, None)
            return True
        if walk is None or era != pulse.era:  # a second loss starts over
            walk = Walk(partial(self._deliver, UNFINISHED, queue), REBUILD_PAUSE)
            self._rebuilding[queue] = (pulse.era, walk)
            each_database(self._find_queues)
            logger.info("Rebuilding queue %s from its rows", queue, extra={"queue": queue})
        if not walk.go_on(until):
            return False
        del self._rebuilding[queue]
        # Refused if the era changed meanwhile: then the next pass starts over.
        self.broker.delivered(queue, pulse.era)
        return True

    def _find_queues(self, database: str) -> None:
        """The names of queues that nobody serves may be lost too: the rows know them. What is
        delivered is announced, and from then on rebuilt like the others."""
        for queue in set(_queues_of_rows(database)) - set(self.broker.queue_names()):
            self._deliver(UNFINISHED, queue, database, None)

    def _deliver(
        self, statuses: Sequence[str], queue: str | None, database: str, after: UUID | None
    ) -> UUID | None:
        step = deliver(
            self.broker,
            database,
            statuses=statuses,
            queue=queue,
            after=after,
            aliases=self.aliases,
        )
        return step.last_id

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


def _queues_of_rows(database: str) -> Iterator[str]:
    """The queues that have unfinished rows: one look each, in the index."""
    rows = TaskRecord.objects.using(database).filter(status__in=UNFINISHED).order_by("queue_name")
    name: str | None = ""
    while True:
        following = rows.filter(queue_name__gt=name).values_list("queue_name", flat=True)
        name = following.first()
        if name is None:
            return
        yield name


def rebuild_now(broker: Broker, aliases: Sequence[str], queue: str | None = None) -> Delivered:
    """Push every unfinished row (of one queue, or of all) that the broker does not know, without
    waiting for an era. Raises ``BrokerError``, ``DatabaseError``."""
    looked_at = pushed = 0
    for database in record_databases():
        last: UUID | None = None
        while True:
            step = deliver(
                broker, database, statuses=UNFINISHED, queue=queue, after=last, aliases=aliases
            )
            looked_at, pushed, last = looked_at + step.looked_at, pushed + step.pushed, step.last_id
            if last is None:
                break
    return Delivered(None, looked_at, pushed)


def each_database(visit: Callable[[str], None]) -> None:
    """Visit every database of records. One that is away is left for the next time, and its
    ``DatabaseError`` raised when the others were visited.

    One that takes long to say so (a host that does not answer) is asked seldom."""
    away: DatabaseError | None = None
    for database in record_databases():
        began = time.monotonic()
        known = _away.get(database)
        if known is not None and began < known[0]:
            away = known[1]
            continue
        try:
            visit(database)
            _away.pop(database, None)
        except DatabaseError as error:
            away, now = error, time.monotonic()
            _away[database] = (now + min(10 * (now - began), MOST_PATIENCE), error)
    if away is not None:
        raise away


_away: dict[str, tuple[float, DatabaseError]] = {}  # until when (monotonic), and what it said


@dataclass(slots=True)
class Duty:
    """``period``: seconds between two runs; ``lease``: for how long a worker keeps the duty.
    ``perform`` returns the seconds until it goes on, None when it is done."""

    name: str
    period: float
    perform: Callable[[], float | None]
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


def perform(duty: Duty, broker: Broker, owner: str | None) -> float:
    """Do a duty if this worker has it now (None: without asking, which is always correct); returns
    the seconds until it is due again.

    What fails is tried again at the next period, and said once until it succeeds."""
    pause: float | None = None
    try:
        if owner is None or broker.lease(duty.name, owner, duty.lease):
            pause = duty.perform()
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
    return duty.period if pause is None else pause
