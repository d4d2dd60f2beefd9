"""The supervisor: forks children and the keeper, and from then on talks to Redis only.

One thread: beat, waitpid, signals, promote, reap. It runs no task and holds no database
connection, so that nothing can stop its heart (law 4)."""

from __future__ import annotations

import gc
import logging
import mmap
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import django_tasks
from django_tasks.broker import Broker
from django_tasks.broker.message import to_json
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerError
from django_tasks.worker.board import Board
from django_tasks.worker.child import Consumer
from django_tasks.worker.duties import record_databases
from django_tasks.worker.exchange import Exchange
from django_tasks.worker.health import memory_used, set_title
from django_tasks.worker.heart import Child, Death, Heart
from django_tasks.worker.keeper import Keeper, is_drained, is_mirrored
from django_tasks.worker.processes import fork, kill, let_go_of_databases, reason_of

logger = logging.getLogger("django_tasks.worker")

TICK = 0.05  # seconds: how long the supervisor sleeps at most
PROMOTE = 0.25  # seconds: how often a queue is asked for what is due, at least
CARRIED = 3  # steps for dependents between two beats: a child does the rest, or the next second
RESPAWN_PAUSE = 1.0  # seconds, for a child that died before it could claim
UNSTARTED = 1.0  # seconds a child must have lived for its death not to look like a bad start


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``runworker`` was asked for."""

    queues: Sequence[str]
    processes: int
    alias: str = "default"
    is_strict: bool = False
    is_burst: bool = False
    max_tasks: int | None = None
    max_memory: int | None = None  # bytes
    grace: float = 30.0  # seconds
    parent: int | None = None  # stop when this process is gone (--reload)


class Supervisor:
    """One worker. ``run()`` returns when it ended in good order."""

    def __init__(self, plan: Plan, settings: TaskSettings) -> None:
        self.plan = plan
        self.settings = settings
        self.broker = Broker(settings)
        host = socket.gethostname().split(".")[0] or "worker"
        # Random, since a host may be reborn with the same name and pids.
        self.name = f"{host}:{os.getpid()}-{os.urandom(3).hex()}"
        self.heart = Heart(self.broker, plan.queues, settings.cancel_grace)
        self.children = self.heart.children
        self.deaths = self.heart.deaths
        self.keeper: int | None = None
        self.signs = mmap.mmap(-1, mmap.PAGESIZE)
        self.is_stopping = False
        self.deadline = float("inf")  # monotonic: the end of the grace period
        self.is_away = False
        self._born = 0
        self._started = time.monotonic()
        self._due = {"beat": 0.0, "promote": 0.0, "spawn": 0.0, "burst": 0.0, "keeper": 0.0}
        self._wakeup = os.pipe()

    # -- the loop --------------------------------------------------------------------------

    def run(self) -> None:
        """Until the last child ended."""
        self._obey_signals()
        let_go_of_databases()
        gc.collect()
        gc.freeze()  # pages that are never written stay shared with the children
        self._spawn_keeper()
        while True:
            self._bury_the_dead()
            self._spawn_missing()
            if self._is_over():
                break
            self._with_broker(self._talk)
            self._check_time()
            self._sleep()
        self._stop_keeper()
        self._with_broker(lambda: self.broker.describe(self.name, 0, {}))

    def _is_over(self) -> bool:
        """Every child ended and the broker knows it; if that is away, it finds out by the lease."""
        if not self.is_stopping or self.children:
            return False
        is_late = time.monotonic() >= self.deadline or not any(one.held for one in self.deaths)
        return not self.deaths or (self.is_away and is_late)

    def _talk(self) -> None:
        now = time.monotonic()
        self.heart.report_deaths()
        if now >= self._due["beat"]:
            self._due["beat"] = now + min(self.settings.lease / 4, 1.0)
            self.heart.beat()
            self.broker.describe(self.name, self._fades_after, self._description())
        self.heart.speak_for_the_stuck()
        if now >= self._due["promote"]:
            promotions = self.broker.promote_all(self.plan.queues)
            for queue, promotion in zip(self.plan.queues, promotions, strict=True):
                if promotion.ends or promotion.crossings:  # whoever was at it may have died
                    self.broker.carry(queue, CARRIED)
            due = [one.next_due for one in promotions]
            soonest = min([one for one in due if one is not None], default=PROMOTE)
            self._due["promote"] = now + min(max(soonest, 0.01), PROMOTE)
        if self.plan.is_burst and now >= self._due["burst"] and not self.is_stopping:
            self._due["burst"] = now + 0.1
            if self.signs[0] and is_drained(self.broker, self.plan.queues, record_databases()):
                self._stop()

    def _with_broker(self, talk: Callable[[], Any]) -> None:
        """Workers wait while the broker is away; one line when it goes, one when it is back."""
        try:
            talk()
            if self.is_away:
                logger.info("The broker is back")
            self.is_away = False
        except BrokerError as error:
            if not self.is_away:
                logger.warning("The broker is away; running tasks go on: %s", error)
            self.is_away = True
            self.broker.revive()
            time.sleep(0.05)

    def _sleep(self) -> None:
        soonest = min(self._due["beat"], self._due["promote"], self.deadline)
        pause = 0.2 if self.is_away else min(max(soonest - time.monotonic(), 0.0), TICK)
        readable, _, _ = select.select([self._wakeup[0]], [], [], pause)
        if readable:
            os.read(self._wakeup[0], 4096)

    # -- births and deaths -----------------------------------------------------------------

    def _spawn_missing(self) -> None:
        if self.is_stopping:
            return
        while len(self.children) < self.plan.processes and time.monotonic() >= self._due["spawn"]:
            self._spawn()
        if self.keeper is None and time.monotonic() >= self._due["keeper"]:
            self._spawn_keeper()

    def _spawn(self) -> None:
        self._born += 1
        consumer = f"{self.name}:{self._born}"
        board = Board(self.plan.queues)
        # Registered before it can claim; if the broker is away, the next beat does it.
        self._with_broker(lambda: self.broker.beat(self.plan.queues, [consumer], register=True))
        pid = fork(lambda: self._be_child(consumer, board))
        self.children[pid] = Child(consumer, pid, board)
        if self.is_stopping:  # told so between the fork and the line above
            kill(pid, signal.SIGTERM)

    def _be_child(self, consumer: str, board: Board) -> None:
        set_title(f"uncut: child {consumer} of {', '.join(self.plan.queues)}")
        queues = list(self.plan.queues)
        broker = Broker(self.settings, greets=lambda: ((queue, consumer) for queue in queues))
        exchange = Exchange(consumer, queues, broker, board, self.plan.is_strict)
        exchange.patience = self.settings.lease
        plan = self.plan
        child = Consumer(exchange, self.settings, plan.alias, plan.max_tasks, plan.max_memory)
        child.obey_signals()
        child.run()

    def _spawn_keeper(self) -> None:
        self._due["keeper"] = time.monotonic() + RESPAWN_PAUSE
        self.keeper = fork(self._be_keeper)

    def _be_keeper(self) -> None:
        set_title(f"uncut: keeper of {self.name}")
        Keeper(self.name, self.settings, [self.plan.alias], self.signs).run()

    def _bury_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.keeper:
                self.keeper = None
                if not self.is_stopping:
                    logger.warning("The keeper ended (%s); another is started", reason_of(status))
                continue
            child = self.children.pop(pid, None)
            if child is None:
                continue
            self._note_death(child, status)

    def _note_death(self, child: Child, status: int) -> None:
        held, last_words = child.board.read(), child.board.told()
        child.board.close()
        death = Death(child.consumer, held, reason_of(status), last_words, child.killed_for)
        self.deaths.append(death)
        running = [one.id for one in held if one.is_running]
        if status or running:  # os._exit(0) in a task is a death too
            logger.warning(
                "The child %s ended (%s)%s",
                child.consumer,
                reason_of(status),
                f" while it ran {', '.join(running)}" if running else "",
            )
            if not held and time.monotonic() - child.born < UNSTARTED:
                self._due["spawn"] = time.monotonic() + RESPAWN_PAUSE

    # -- the end ---------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())

    def _stop(self) -> None:
        """First: finish what runs within the grace period. Second: give back now."""
        now = time.monotonic()
        if self.is_stopping:
            self.deadline = now
            return
        # At once, and this first: a second signal may come within the next line.
        self.deadline = now + self.plan.grace
        self.is_stopping = self.heart.is_stopping = True
        logger.info("Stopping: running tasks have %g s to end", self.plan.grace)
        self._due["beat"] = 0.0  # tell the broker that what is reaped from us is not charged
        for pid in list(self.children):
            kill(pid, signal.SIGTERM)

    def _check_time(self) -> None:
        is_orphan = self.plan.parent is not None and os.getppid() != self.plan.parent
        if is_orphan and not self.is_stopping:
            self._stop()
        if time.monotonic() >= self.deadline and self.children:
            # Killed first, given back after: nobody else may begin while it still runs.
            for pid, child in list(self.children.items()):
                logger.warning("The grace period is over for %s", child.consumer)
                kill(pid, signal.SIGKILL)
            self.deadline = time.monotonic() + 1.0

    def _stop_keeper(self) -> None:
        """After the children: their last outcomes are mirrored, if that takes no longer."""
        if self.keeper is None:
            return
        end = time.monotonic() + 2.0
        while not self.is_away and time.monotonic() < end:
            try:
                if is_mirrored(self.broker, record_databases()):
                    break
            except BrokerError:
                break
            time.sleep(0.02)
        kill(self.keeper, signal.SIGTERM)
        end = time.monotonic() + 6.0
        while time.monotonic() < end:
            pid, _ = os.waitpid(self.keeper, os.WNOHANG)
            if pid:
                return
            time.sleep(0.02)
        kill(self.keeper, signal.SIGKILL)
        os.waitpid(self.keeper, 0)

    def _description(self) -> dict[str, str]:
        """What the list of workers shows; times are in seconds, as of now."""
        children = self.children.values()
        return {
            "name": self.name,
            "pid": str(os.getpid()),
            "version": django_tasks.__version__,
            "release": self.settings.release,
            "age": str(round(time.monotonic() - self._started, 3)),
            "queues": to_json(list(self.plan.queues)),
            "processes": str(self.plan.processes),
            "children": to_json({child.consumer: child.pid for child in children}),
            "runs": to_json(
                {
                    child.consumer: [one.id, one.queue, round(one.age, 3)]
                    for child in children
                    for one in child.board.read()
                    if one.is_running
                }
            ),
            "memory": to_json({child.consumer: memory_used(child.pid) for child in children}),
            "stopping": "1" if self.is_stopping else "0",
            "ttl": str(round(self._fades_after)),
        }

    @property
    def _fades_after(self) -> float:
        """Seconds until a worker that says nothing more is not listed any longer."""
        return self.settings.lease * 3
