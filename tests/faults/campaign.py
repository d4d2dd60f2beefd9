"""A campaign: a project with workers and a server that may be harmed, and what is done to them.

What is asked for stands in a ledger; ``settle`` waits for the end and closes the account."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from django_tasks import enqueue_many
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL
from tests.faults import fault_tasks
from tests.faults.ledger import Balance, Ledger, Loss
from tests.servers import Server
from tests.waiting import wait_until
from tests.worker.running import Site, Worker, processes

REPAIR = 10.0  # seconds in which a repair must have begun
# How many tasks: a fast version for every day, a long one for `make faults`.
SIZES = [
    pytest.param(60, id="fast"),
    pytest.param(3000, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
]

_numbers = itertools.count()


class Campaign:
    """``site`` has its workers already."""

    def __init__(self, site: Site, server: Server) -> None:
        self.site = site
        self.server = server
        self.ledger = Ledger(site.journal)
        self.name = f"c{next(_numbers)}"
        self._final_before = TaskRecord.objects.final().count()

    # -- what is asked for -----------------------------------------------------------------------

    def ask(self, count: int, seconds: float = 0.0, queue: str = "default") -> None:
        """So many tasks more, of ``seconds`` each."""
        first, step = len(self.ledger.asked), fault_tasks.step.using(queue=queue)
        keys = [f"{self.name}-{first + number}" for number in range(count)]
        for start in range(0, count, 500):
            some = keys[start : start + 500]
            results = enqueue_many(step.s(key, seconds) for key in some)
            self.ledger.asked.update(zip(some, (one.id for one in results), strict=True))

    def hold(self, count: int) -> list[str]:
        """So many tasks that run until they are let go; they run when this returns."""
        first = len(self.ledger.asked)
        keys = [f"{self.name}-{first + number}-held" for number in range(count)]
        for key in keys:
            self.ledger.asked[key] = fault_tasks.hold.enqueue(key).id
        for key in keys:
            self.site.wait_for(f"began {key}")
        return keys

    def let_go(self, keys: list[str]) -> None:
        for key in keys:
            self.site.let_go(key)

    def wait_for_final(self, count: int) -> None:
        """Until so many rows are final."""
        wanted = self._final_before + count
        wait_until(lambda: TaskRecord.objects.final().count() >= wanted, 60, f"{count} final")

    def wait_for_begun(self, count: int) -> None:
        wait_until(lambda: self.begun() >= count, 60, f"{count} begun")

    def begun(self) -> int:
        """How many runs began."""
        return self.site.journal.read_text().count(f" began {self.name}-")

    def pause(self, queue: str = "default") -> None:
        """Nothing is claimed, until a loss or ``go_on``."""
        self.site.broker.client.hset(self.site.broker.keys(queue).meta, "paused", "1")

    def go_on(self, queue: str = "default") -> None:
        keys = self.site.broker.keys(queue)
        self.site.broker.client.hdel(keys.meta, "paused")
        self.site.broker.client.lpush(keys.wake, "1")

    # -- what is done to it ----------------------------------------------------------------------

    def lose(self, how: Callable[[], None]) -> None:
        """The broker loses memory; the ledger knows which rows were final before."""
        loss = Loss(0.0, self.ledger.final())
        how()
        loss.at = time.time()
        self.ledger.losses.append(loss)

    def flush(self) -> None:
        self.server.flush()

    def flush_in_mid_rebuild(self) -> None:
        """As soon as rows come back, and before the era is said to be done with."""
        keys = self.site.broker.keys("default")

        def is_midway() -> bool:
            with self.server.client() as client:
                pipeline = client.pipeline(transaction=True)
                pipeline.hmget(keys.meta, "era", "delivered")
                pipeline.exists(keys.ready)
                (era, delivered), waits = pipeline.execute()
                return bool(era and era != delivered and waits)

        wait_until(is_midway, 30, "a rebuild")
        self.server.flush()

    def restart_empty(self) -> None:
        self.server.kill()
        for path in self.files():
            path.unlink()
        self.server.start()

    def files(self) -> list[Path]:
        """What the server has written."""
        return [
            path
            for path in self.server.folder.rglob("*")
            if path.is_file() and path.suffix in (".rdb", ".aof", ".manifest")
        ]

    def save_dump(self) -> None:
        with self.server.client() as client:
            client.save()
        shutil.copy(self.server.folder / "dump.rdb", self.server.folder / "old")

    def restart_from_dump(self) -> None:
        """As of the last ``save_dump``."""
        self.server.kill()
        shutil.copy(self.server.folder / "old", self.server.folder / "dump.rdb")
        self.server.start()

    def append_only_size(self) -> int:
        return self._append_only_file().stat().st_size

    def restart_truncated(self, size: int) -> None:
        """With an append-only file cut off somewhere in the command that followed ``size``."""
        self.server.kill()
        os.truncate(self._append_only_file(), size + 9)
        self.server.start()

    def _append_only_file(self) -> Path:
        found = [one for one in self.files() if one.suffix == ".aof" and ".base." not in one.name]
        return max(found, key=lambda path: path.stat().st_mtime)

    def kill_worker(self, worker: Worker) -> None:
        """Supervisor, children and keeper at once, as when a host dies."""
        self._note_kill(worker.group())
        worker.kill_group()
        worker.ended()

    def kill_child(self, pid: int) -> None:
        self._note_kill({pid})
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait_for_reap(self, queue: str, consumer: str) -> None:
        """Until its lease ran out and somebody noticed."""
        client, keys = self.site.broker.client, self.site.broker.keys(queue)
        wait_until(lambda: client.zscore(keys.workers, consumer) is None, 20, "its reap")

    def _note_kill(self, pids: set[int]) -> None:
        for pid in pids & set(processes()):
            self.ledger.killed[pid] = time.time()

    # -- the end ---------------------------------------------------------------------------------

    def settle(self, timeout: float = 30.0) -> Balance:
        """Wait until every record is final, print the ledger, and require that it balances."""
        try:
            rows = TaskRecord.objects.exclude(status__in=FINAL)
            wait_until(lambda: not rows.exists(), timeout, "every record is final")
        finally:
            balance = self.ledger.balance()
            print(f"\n{self.name}: {balance}")
        assert balance.lost == [], balance.lost[:10]
        assert balance.overlapping == [], balance.overlapping[:10]
        assert balance.after_final == [], balance.after_final[:10]
        assert balance.unexplained == [], balance.unexplained[:10]
        assert all(seconds < REPAIR for seconds in balance.begun_again), str(balance)
        return balance
