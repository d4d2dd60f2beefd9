"""A consumer: claim → execute → ack, until it is told to stop.

What a child takes is on its board before it runs and until its ack was answered; so whatever
happens to this process, its supervisor knows what it held and what it ran."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db import DatabaseError

from django_tasks.bridge.doubt import settle_doubts
from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from django_tasks.worker.board import SLOTS, Board
from django_tasks.worker.execute import execute

logger = logging.getLogger("django_tasks.worker")

SHORT = 0.005  # seconds: a task whose runs take no longer may wait behind others of a batch
BATCH_TIME = 0.01  # seconds of work that a claim takes at once
FRESH = 0.05  # seconds for which a claim is good: nothing of it is started later
IDLE_WAIT = 0.5  # seconds of one blocking wait; below the client's timeout
AWAY_WAIT = 1.0  # seconds: the longest pause while the broker is away


class Stopped(BaseException):
    """Raised by the signal's handler while the child waits for work, so that it ends at once."""


@dataclass(slots=True)
class Consumer:
    """One executing child. ``idle``: called when nothing is left (burst); True ends the loop."""

    name: str
    queues: Sequence[str]
    broker: Broker
    board: Board
    settings: TaskSettings
    alias: str = "default"
    is_strict: bool = False
    max_tasks: int | None = None
    idle: Callable[[], bool] | None = None
    is_stopping: bool = False
    _is_waiting: bool = False
    _done: int = 0
    _turn: int = 0
    _durations: dict[str, float] = field(default_factory=dict)  # task → moving average, seconds

    def run(self) -> None:
        """The hot path."""
        batch: list[Message] = []
        try:
            while not self._is_over():
                if not batch:
                    batch = self._claim()
                    continue
                outcomes, rest = self._execute(batch)
                batch = self._ack(outcomes, rest)
        except Stopped:
            pass  # it came between a wait's end and what follows: nothing is held then
        self._give_back(batch)

    def _execute(self, batch: list[Message]) -> tuple[list[Outcome], list[Message]]:
        """Run what may be run together: short tasks while the claim is fresh, else one alone."""
        fresh_until = time.monotonic() + FRESH
        outcomes = self._settled(batch)
        unsure = {outcome.message.id for outcome in outcomes}
        rest = [message for message in batch if message.id not in unsure]
        while rest and not self._is_over():
            message = rest[0]
            is_first = not outcomes
            if not is_first and (not self._is_short(message) or time.monotonic() > fresh_until):
                break  # a long task holds nobody behind it: ack, give back, claim it anew
            if is_first and len(rest) > 1 and not self._is_short(message):
                self._give_back(rest[1:])
                rest = rest[:1]
            outcomes.append(self._run(rest.pop(0)))
        return outcomes, rest

    def _run(self, message: Message) -> Outcome:
        self.board.start(message)
        began = time.monotonic()
        outcome = execute(message, self.name, self.settings, self.alias)
        self.board.finish(message)
        took = time.monotonic() - began
        average = self._durations.get(message.task, took)
        self._durations[message.task] = max(took, 0.8 * average + 0.2 * took)
        self._done += 1
        return outcome

    def _settled(self, batch: list[Message]) -> list[Outcome]:
        """What must not run, of the messages in doubt (law 6)."""
        if not any(message.doubt for message in batch):
            return []
        has_failed = False  # said once
        while not self.is_stopping:
            try:
                return settle_doubts(batch)
            except DatabaseError as error:
                if not has_failed:
                    logger.warning("The rows of messages in doubt can't be read: %s", error)
                has_failed = True
                self._pause(AWAY_WAIT)
        return []

    def _is_short(self, message: Message) -> bool:
        return self._durations.get(message.task, 1.0) <= SHORT and not message.suspect

    def _limit(self) -> int:
        """How many of the tasks seen lately can be run in ten milliseconds."""
        if self.max_tasks is not None:
            left = max(self.max_tasks - self._done, 1)
        else:
            left = SLOTS
        if not self._durations:
            return 1
        typical = min(self._durations.values())
        return max(1, min(int(BATCH_TIME / max(typical, 1e-5)), 100, left))

    # -- the broker: what may be repeated is repeated, what may not is asked for ---------------

    def _claim(self) -> list[Message]:
        try:
            for queue in self._in_turn():
                claimed = self.broker.claim(queue, self.name, self._limit())
                if claimed:
                    return self._hold(queue, claimed)
            if self.idle is not None and self.idle():
                self.is_stopping = True
            else:
                self._wait()
        except BrokerUnavailable as error:
            self._recover(error)
        return []

    def _ack(self, outcomes: list[Outcome], rest: list[Message]) -> list[Message]:
        """Report, give back what was not started, and take the next, in one call if it can be."""
        if rest:
            self._give_back(rest)
        if not outcomes:
            return []
        next_queue = outcomes[0].message.queue if len(self.queues) == 1 else None
        limit = self._limit() if next_queue and not self._is_over() else 0
        claimed: list[Message] = []
        for queue, group in groupby(outcomes, key=lambda outcome: outcome.message.queue):
            claimed += self._report(queue, list(group), limit)
        return claimed

    def _report(self, queue: str, outcomes: list[Outcome], limit: int) -> list[Message]:
        """Ack until it is answered; the same fence counts once, however often it is sent."""
        while True:
            try:
                acked = self.broker.ack(queue, self.name, outcomes, claim=limit)
                break
            except BrokerUnavailable as error:
                limit = 0  # an answer with claims in it may be lost: _recover gives them back
                self._recover(error, keep=outcomes)
        if acked.unknown:
            self._report_unknown(
                queue, [one for one in outcomes if one.message.id in acked.unknown]
            )
        for record_id in acked.refused:
            logger.warning(
                "The outcome of %s was refused: it was given to someone else meanwhile",
                record_id,
                extra={"message_id": record_id, "queue": queue},
            )
        self.board.clear(outcome.message.id for outcome in outcomes)
        return self._hold(queue, acked.claimed) if acked.claimed else []

    def _report_unknown(self, queue: str, outcomes: list[Outcome]) -> None:
        """The broker lost these messages: bring them back with their bodies, then ack (law 6)."""
        lost = [one for one in outcomes if one.word not in ("dropped", "settled", "buried")]
        if not lost:
            return
        running = [(one.message.id, one.message.fence, one.message) for one in lost]
        try:
            self.broker.reassert(queue, self.name, running)
            self.broker.ack(queue, self.name, lost)
        except BrokerUnavailable as error:
            self._recover(error, keep=lost)
            self._report(queue, lost, 0)

    def _give_back(self, messages: Iterable[Message]) -> None:
        """Return what was not started; it leaves the board before the call (law 3)."""
        given = list(messages)
        self.board.clear(message.id for message in given)
        for queue, group in groupby(given, key=lambda message: message.queue):
            held = [(message.id, message.fence, "") for message in group]
            try:
                self.broker.give_back(queue, self.name, held)
            except BrokerUnavailable as error:
                # The supervisor's audit finds what the broker says we hold and the board does not.
                logger.warning("Can't give back %d messages: %s", len(held), error)

    def _hold(self, queue: str, claimed: list[Message]) -> list[Message]:
        self.board.hold(claimed)
        self._turn = self.queues.index(queue) + 1
        return claimed

    def _recover(self, error: BrokerUnavailable, keep: Sequence[Outcome] = ()) -> None:
        """Wait until the broker answers; then give back what it says we hold and we do not know."""
        logger.warning("Waiting for the broker: %s", error)
        kept = {outcome.message.id for outcome in keep}
        pause = 0.05
        while not (self.is_stopping and not keep):
            self._pause(pause)
            pause = min(pause * 2, AWAY_WAIT)
            try:
                self.broker.revive()
                for queue in self.queues:
                    held = self.broker.holdings(queue, self.name)
                    lost = [(one, fence, "") for one, fence in held.items() if one not in kept]
                    if lost:
                        self.broker.give_back(queue, self.name, lost)
            except BrokerUnavailable:
                continue
            logger.info("The broker is back")
            return

    def _wait(self) -> None:
        """Block until something can be claimed; a stop signal ends the wait at once."""
        try:
            self._is_waiting = True
            if not self.is_stopping:
                self.broker.wait(self.queues, IDLE_WAIT)
        except Stopped:
            self.broker.close()  # the connection is in the middle of an answer
        finally:
            self._is_waiting = False

    def _pause(self, seconds: float) -> None:
        try:
            self._is_waiting = True
            if not self.is_stopping:
                threading.Event().wait(seconds)
        except Stopped:
            pass
        finally:
            self._is_waiting = False

    # -- when to stop --------------------------------------------------------------------------

    def _is_over(self) -> bool:
        is_spent = self.max_tasks is not None and self._done >= self.max_tasks
        return self.is_stopping or is_spent

    def _in_turn(self) -> list[str]:
        if self.is_strict or len(self.queues) == 1:
            return list(self.queues)
        turn = self._turn % len(self.queues)
        return [*self.queues[turn:], *self.queues[:turn]]

    def stop(self, *_: Any) -> None:
        """First SIGTERM: finish what runs, give back the rest."""
        self.is_stopping = True
        if self._is_waiting:
            self._is_waiting = False
            raise Stopped

    def obey_signals(self) -> None:
        """Ctrl-C reaches the whole process group: the supervisor decides, not we."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
