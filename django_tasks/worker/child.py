"""A consumer: claim → execute → ack, until it is told to stop.

What a child takes is on its board before it runs and until its ack was answered; so whatever
happens to this process, its supervisor knows what it held, what it ran and what had ended."""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import Error as DatabaseError

from django_tasks.bridge.doubt import settle_doubts
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerError
from django_tasks.worker import cancellation
from django_tasks.worker.board import KEPT
from django_tasks.worker.exchange import AWAY_WAIT, Exchange, Stopped
from django_tasks.worker.execute import execute
from django_tasks.worker.health import memory_used

logger = logging.getLogger("django_tasks.worker")

SHORT = 0.005  # seconds: a task whose runs take no longer may have others wait behind it
BATCH_TIME = 0.01  # seconds of work that a claim takes at once
MOST = 100  # messages that a claim takes at once
STEADY = 8  # messages from which on the next ones are asked for while these are run
FRESH = 0.05  # seconds for which a claim is good: nothing of it is started later


@dataclass(slots=True)
class Consumer:
    """One executing child. ``idle``: called when nothing is left (burst); True ends the loop."""

    exchange: Exchange
    settings: TaskSettings
    alias: str = "default"
    max_tasks: int | None = None
    max_memory: int | None = None  # bytes; a child that has more is replaced
    idle: Callable[[], bool] | None = None
    batch: deque[Message] = field(default_factory=deque)  # claimed, not yet started
    outcomes: list[Outcome] = field(default_factory=list)  # ended, not yet reported
    done: int = 0
    _is_grown: bool = False
    _is_drained: bool = False
    _most: int = 1  # doubled by a claim that was run whole, 1 again when some was given back
    _pace: float = 1.0  # seconds: moving average of the short runs
    _durations: dict[str, float] = field(default_factory=dict)  # task → moving average, seconds

    def run(self) -> None:
        """The hot path."""
        try:
            while not self._is_over():
                if not self.batch:
                    self._ack_and_claim()
                    continue
                message = self.batch.popleft()
                # On the board first, then the clock: after twice this time our supervisor gives
                # back what it does not see started, and nothing may run twice.
                if time.monotonic() - self.exchange.board.start(message) > FRESH:
                    self.batch.appendleft(message)
                    self._ack_and_give_back()
                    continue
                if not self._is_short(message):
                    self._ack_and_give_back()  # a long task holds nobody behind it
                self._execute(message)
        except Stopped:
            pass  # it came between a wait's end and what follows: nothing is held then
        self._ack_and_give_back()

    def _execute(self, message: Message) -> None:
        began = time.monotonic()
        exchange = self.exchange
        outcome = execute(message, exchange.name, self.settings, self.alias, exchange.board.tell)
        self._note_duration(message.task, time.monotonic() - began)
        self.done += 1
        self.outcomes.append(outcome)
        # The next may take longer than anybody knows: meanwhile our supervisor reports this one.
        self.exchange.board.finish(message, outcome.to_bytes() if self.batch else b"")

    def _ack_and_claim(self) -> None:
        """One call in the steady state, whose answer is read when what it brings is needed: broker
        and child work at the same time. A wait where there is nothing to take."""
        claimed = self.exchange.receive()
        self._is_grown = self._is_grown or self._has_grown()
        outcomes, self.outcomes = self.outcomes, []
        limit = 0 if self._is_over() else self._limit()
        self._most = min(2 * self._most, MOST)
        if claimed and limit >= STEADY:
            self.exchange.ask(outcomes, limit)
        elif claimed:
            self.exchange.report(outcomes)
        else:
            claimed = self._take(outcomes, limit)
            if limit >= STEADY and len(claimed) == limit:
                self.exchange.ask((), limit)
        self.batch.extend(claimed)
        if any(message.doubt for message in claimed):
            self._settle_doubts()

    def _take(self, outcomes: list[Outcome], limit: int) -> list[Message]:
        if outcomes:
            claimed = self.exchange.report(outcomes, limit=limit)
        else:
            claimed = [] if self._is_drained else self.exchange.take(limit)
            if not claimed and self.idle is None:
                claimed = self.exchange.wait(limit)
            elif not claimed and self.idle is not None and self.idle():
                self.exchange.is_stopping = True
        # The one queue was asked and had nothing: then the next thing to do is to wait.
        self._is_drained = not claimed and self.idle is None and len(self.exchange.queues) == 1
        return claimed

    def _ack_and_give_back(self) -> None:
        """Nobody waits for what ended, nor behind what comes next."""
        rest = [*self.batch, *self.exchange.receive()]
        outcomes, self.outcomes, self.batch = self.outcomes, [], deque()
        if rest:
            self._most = 1
        if outcomes or rest:
            self.exchange.report(outcomes, rest)

    def _settle_doubts(self) -> None:
        """Ask the rows of the messages in doubt; what must not run is an outcome (law 6)."""
        board, batch = self.exchange.board, list(self.batch)
        board.hold(batch, KEPT)
        settled = self._look_up(batch)
        self.outcomes += settled
        over = {outcome.id for outcome in settled}
        self.batch = deque(message for message in batch if message.id not in over)
        board.hold(batch)
        for outcome in settled:
            board.finish(outcome.message, outcome.to_bytes())

    def _look_up(self, batch: list[Message]) -> list[Outcome]:
        has_failed = False  # said once
        while not self.exchange.is_stopping:
            try:
                return settle_doubts(batch, self.exchange.broker)
            except (BrokerError, DatabaseError) as error:
                if not has_failed:
                    logger.warning("The rows of messages in doubt can't be read: %s", error)
                has_failed = True
                self.exchange.pause(AWAY_WAIT)
        return []

    def _note_duration(self, task: str, took: float) -> None:
        average = self._durations.get(task, took)
        self._durations[task] = max(took, 0.8 * average + 0.2 * took)
        if took <= SHORT:
            self._pace = took if self._pace > SHORT else 0.9 * self._pace + 0.1 * took

    def _is_short(self, message: Message) -> bool:
        return self._durations.get(message.task, 1.0) <= SHORT and not message.suspect

    def _limit(self) -> int:
        """As many as can be run in ten milliseconds, going by the short ones run lately."""
        left = MOST if self.max_tasks is None else self.max_tasks - self.done
        return max(1, min(int(BATCH_TIME / max(self._pace, 1e-5)), self._most, left))

    def _is_over(self) -> bool:
        is_spent = self.max_tasks is not None and self.done >= self.max_tasks
        return self.exchange.is_stopping or is_spent or self._is_grown

    def _has_grown(self) -> bool:
        """Over ``max_memory`` by what its tasks left; never before it ran one."""
        if self.max_memory is None or not self.done:
            return False
        used = memory_used()
        if used <= self.max_memory:
            return False
        logger.info(
            "%s is replaced: it has %d MB in memory, after %d tasks",
            self.exchange.name,
            used // 1_000_000,
            self.done,
        )
        return True

    def obey_signals(self) -> None:
        """First SIGTERM: finish what runs, give back the rest. Ctrl-C reaches the whole process
        group: the supervisor decides, not we."""
        signal.signal(signal.SIGTERM, lambda *_: self.exchange.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        cancellation.obey(self.exchange.board)
