"""The keeper: the worker's one process that talks to the database.

Threads, each with its own connections: a mirror for each database, so that one that is away or
hangs stops no other, and the duties."""

from __future__ import annotations

import logging
import mmap
import signal
import threading
import time
from collections.abc import Callable, Sequence

from django.db import DatabaseError, close_old_connections, connections

from django_tasks.bridge.mirror import BATCH_ROWS, mirror
from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerError
from django_tasks.worker.duties import Deliverer, duties, perform, record_databases

logger = logging.getLogger("django_tasks.keeper")

MIRROR_LEASE = 3.0  # seconds; one mirror per queue at a time, for thrift only
BUSY_PAUSE = 0.01  # seconds until the next look after a batch that was not full
IDLE_PAUSE = 0.1  # seconds between looks while nothing is
AWAY_PAUSE = 1.0


class Keeper:
    """Mirror and duties until stopped. ``signs``: a shared page; byte 0 is 1 once the relay has
    passed over the whole outbox."""

    def __init__(
        self,
        name: str,
        settings: TaskSettings,
        aliases: Sequence[str],
        signs: mmap.mmap | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.aliases = aliases
        self.signs = signs
        self.stopping = threading.Event()
        # By database: set while more is dirty than one batch.
        self._backlogs = {one: threading.Event() for one in record_databases()}

    def run(self) -> None:
        """Until SIGTERM: the mirror ends its batch, a duty its step."""
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        databases = list(self._backlogs)
        threads = [threading.Thread(target=self._perform_duties, name="duties", daemon=True)]
        for one in databases:
            called = f" of {one!r}" if len(databases) > 1 else ""
            threads.append(
                threading.Thread(
                    target=self._mirror, args=(one, called), name=f"mirror-{one}", daemon=True
                )
            )
            if connections[one].vendor != "sqlite":  # that has one lock
                threads.append(
                    threading.Thread(
                        target=self._mirror_behind, args=(one,), name=f"mirror2-{one}", daemon=True
                    )
                )
        for thread in threads:
            thread.start()
        while not self.stopping.wait(0.5):
            pass
        for thread in threads:
            thread.join(timeout=5)

    def _mirror(self, database: str, called: str) -> None:
        broker = Broker(self.settings)
        shares_one_lock = connections[database].vendor == "sqlite"
        has_failed = False  # said once until it succeeds
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                copied = mirror_all(broker, self.name, [database])
                if copied >= BATCH_ROWS:
                    self._backlogs[database].set()
                pause = (0.0 if copied >= BATCH_ROWS else BUSY_PAUSE) if copied else IDLE_PAUSE
                if copied and shares_one_lock:  # half of the time is theirs who also want to write
                    pause = max(pause, time.monotonic() - began)
                if has_failed:
                    logger.info("The mirror%s goes on", called)
                has_failed = False
            except (BrokerError, DatabaseError) as error:
                if not has_failed:
                    logger.warning("The mirror%s waits: %s", called, error)
                has_failed, pause = True, AWAY_PAUSE
            except Exception:
                if not has_failed:
                    logger.exception("The mirror%s failed; it is tried again", called)
                has_failed, pause = True, AWAY_PAUSE
            close_old_connections()
            self.stopping.wait(pause)
        _let_go(
            broker,
            self.name,
            lambda: [mirror_lease(name, database) for name in broker.queue_names()],
        )

    def _mirror_behind(self, database: str) -> None:
        """While there is more than one batch: the second one, so that neither the database nor the
        broker waits for the other. What the two may do twice is harmless, and what fails is the
        first one's to say."""
        broker, backlog = Broker(self.settings), self._backlogs[database]
        while not self.stopping.is_set():
            if not backlog.wait(0.5):
                continue
            backlog.clear()
            try:
                while mirror_all(broker, self.name, [database], BATCH_ROWS) >= BATCH_ROWS // 2:
                    pass
            except Exception as error:
                logger.debug("The second mirror of %r stops: %s", database, error)
            close_old_connections()
        broker.close()

    def _perform_duties(self) -> None:
        broker = Broker(self.settings)
        deliverer = Deliverer(broker, self.aliases)
        table = duties(deliverer)
        due = {duty.name: 0.0 for duty in table}
        while not self.stopping.is_set():
            now = time.monotonic()
            for duty in table:
                if now >= due[duty.name] and not self.stopping.is_set():
                    # The first relay asks for no lease: a burst must know that nothing it has to
                    # run is in the outbox, also where another worker has the duty.
                    is_first = self.signs is not None and not deliverer.relay_passes
                    pause = perform(duty, broker, None if is_first else self.name)
                    due[duty.name] = time.monotonic() + pause
            if self.signs is not None and deliverer.relay_passes:
                self.signs[0] = 1
            self.stopping.wait(max(min(due.values()) - time.monotonic(), 0.01))
        _let_go(broker, self.name, lambda: [duty.name for duty in table])


def _let_go(broker: Broker, owner: str, names: Callable[[], list[str]]) -> None:
    """Leave the leases to the next worker now, instead of when they run out."""
    try:
        for name in names():
            broker.lease(name, owner, 0)
    except BrokerError:
        pass  # they run out
    broker.close()


def mirror_lease(queue: str, database: str) -> str:
    return f"mirror-{database}-{queue}"


def mirror_all(
    broker: Broker,
    owner: str | None = None,
    databases: Sequence[str] | None = None,
    skip: int = 0,
) -> int:
    """One batch of each queue and database; returns how many messages were looked at.

    ``owner``: who asks for the lease of a queue and database; None: mirror without one (always
    correct). ``databases``: None means all. ``skip``: how many marks to leave to others. Raises
    ``DatabaseError`` if a database is away and no other had anything to be written."""
    copied = 0
    away: DatabaseError | None = None
    queues = sorted(broker.queue_names())
    places = record_databases() if databases is None else databases
    for queue, database in broker.dirty_places(queues, places):
        if owner is None or broker.lease(mirror_lease(queue, database), owner, MIRROR_LEASE):
            try:
                copied += mirror(broker, queue, database, skip)
            except DatabaseError as error:
                away = error  # the rows of other databases do not wait for this one
    if away is not None and not copied:
        raise away
    return copied


def is_drained(broker: Broker, queues: Sequence[str], databases: Sequence[str]) -> bool:
    """Nothing ready, nothing unacked, everything mirrored: the end of a burst."""
    for queue in queues:
        backlog = broker.backlog(queue)
        if backlog["ready"] or backlog["unacked"]:
            return False
    return is_mirrored(broker, databases)


def is_mirrored(broker: Broker, databases: Sequence[str]) -> bool:
    """Whether every row says what its message says."""
    return not broker.dirty_places(sorted(broker.queue_names()), databases)
