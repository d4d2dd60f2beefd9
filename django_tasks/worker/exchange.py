"""What a child exchanges with the broker: it takes messages, reports outcomes, gives back.

What may be repeated is repeated until it is answered; what may not (a claim) is asked for: after
any loss of its connection a child goes on by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django_tasks.broker import Broker
from django_tasks.broker.answers import Acked
from django_tasks.broker.message import Message, Outcome
from django_tasks.errors import BrokerError
from django_tasks.worker.board import Board

logger = logging.getLogger("django_tasks.worker")

IDLE_WAIT = 0.5  # seconds of one blocking wait; below the client's timeout
AWAY_WAIT = 1.0  # seconds: the longest pause while the broker is away


class Stopped(BaseException):
    """Raised by the signal's handler while the child waits for work, so that it ends at once."""


@dataclass(slots=True)
class Exchange:
    """One consumer's dealings with its queues: served in turn, or in the order given."""

    name: str
    queues: Sequence[str]
    broker: Broker
    board: Board
    is_strict: bool = False
    register: Callable[[], object] | None = None  # where no supervisor does it
    patience: float = 10.0  # seconds to wait until the broker knows this consumer again
    is_stopping: bool = False
    _is_waiting: bool = False
    _turn: int = 0
    _asked: tuple[Sequence[Outcome], Callable[[], Acked], float] | None = None

    def take(self, limit: int) -> list[Message]:
        """Claim from the first queue in turn that has something."""
        try:
            for queue in self._in_turn():
                since = time.monotonic()
                claimed = self.broker.claim(queue, self.name, limit)
                if claimed:
                    return self._hold(claimed, since)
        except BrokerError as error:
            self._recover(error)
        return []

    def report(
        self, outcomes: Sequence[Outcome], given_back: Sequence[Message] = (), limit: int = 0
    ) -> list[Message]:
        """Ack, give back what was not started, and take up to ``limit``, in one call."""
        # It leaves the board before the call: from then on our supervisor does not know it.
        self.board.clear(message.id for message in given_back)
        claim = (self._in_turn()[0], limit) if limit else None
        while True:
            since = time.monotonic()
            try:
                acked = self.broker.report(self.name, outcomes, given_back, claim)
                return self._settle(outcomes, acked, since)
            except BrokerError as error:
                claim = None  # an answer with claims in it may be lost: _recover gives them back
                self._recover(error, is_urgent=bool(outcomes))
                if not outcomes:
                    return []

    def ask(self, outcomes: Sequence[Outcome], limit: int) -> None:
        """Ack, and ask for up to ``limit``, without waiting: ``receive`` reads the answer."""
        since = time.monotonic()
        claim = (self._in_turn()[0], limit)
        try:
            read = self.broker.begin_report(self.name, outcomes, (), claim)
            self._asked = (outcomes, read, since)
        except BrokerError as error:
            self._recover(error, is_urgent=bool(outcomes))
            self.report(outcomes)

    def receive(self) -> list[Message]:
        """What was asked for; nothing where nothing was."""
        if self._asked is None:
            return []
        (outcomes, read, since), self._asked = self._asked, None
        try:
            return self._settle(outcomes, read(), since)
        except BrokerError as error:
            self._recover(error, is_urgent=bool(outcomes))
            return self.report(outcomes) if outcomes else []

    def _settle(self, outcomes: Sequence[Outcome], acked: Acked, since: float) -> list[Message]:
        if acked.left:
            self._carry({outcome.message.queue for outcome in outcomes})
        if acked.unknown:
            self._report_unknown([one for one in outcomes if one.id in acked.unknown])
        for record_id in acked.refused:
            logger.warning(
                "The outcome of %s was refused: it was given to someone else meanwhile",
                record_id,
                extra={"message_id": record_id},
            )
        self.board.clear(outcome.id for outcome in outcomes)
        return self._hold(acked.claimed, since) if acked.claimed else []

    def _carry(self, queues: Iterable[str]) -> None:
        """What their ends left to do for their dependents; else a supervisor does it."""
        try:
            for queue in queues:
                self.broker.carry(queue)
        except BrokerError as error:
            logger.info("Dependents in other queues wait for a worker's next look: %s", error)

    def wait(self, limit: int) -> list[Message]:
        """Block until something can be claimed, and take it; a stop signal ends the wait."""
        try:
            self._is_waiting = True
            if self.is_stopping:
                return []
            if len(self.queues) > 1:  # which of them will wake us nobody knows
                self.broker.wait(self.queues, IDLE_WAIT)
                return []
            evictions = self.board.evictions
            claimed = self.broker.wait_and_claim(self.queues[0], self.name, limit, IDLE_WAIT)
            self._is_waiting = False
            return self._hold_unless_evicted(claimed, evictions)
        except Stopped:
            self.broker.close()  # the connection is in the middle of an answer
        except BrokerError as error:
            self._is_waiting = False
            self._recover(error)
        finally:
            self._is_waiting = False
        return []

    def _hold_unless_evicted(self, claimed: list[Message], evictions: int) -> list[Message]:
        """Of such a claim nobody knows the age: between its answer's arrival and its reading this
        process may have stood still, and our supervisor may have given it back (law 4). It counts
        that on the board first and then looks what is there; we put it there first and then look
        at the count: so one of us sees the other."""
        if not claimed:
            return []
        self._hold(claimed, time.monotonic())
        if self.board.evictions == evictions:
            return claimed
        self.report((), claimed)
        return []

    def pause(self, seconds: float) -> None:
        """Sleep; a stop signal ends it at once."""
        try:
            self._is_waiting = True
            if not self.is_stopping:
                threading.Event().wait(seconds)
        except Stopped:
            pass
        finally:
            self._is_waiting = False

    def stop(self) -> None:
        """Take no more; end a wait at once."""
        self.is_stopping = True
        if self._is_waiting:
            self._is_waiting = False
            raise Stopped

    def _hold(self, claimed: list[Message], since: float) -> list[Message]:
        """``since``: before the call. Nothing was claimed earlier, so a child that was stuck before
        it read the answer sees by it that all of this was given back meanwhile."""
        self.board.hold(claimed, since=since)
        self._turn = self.queues.index(claimed[0].queue) + 1
        return claimed

    def _in_turn(self) -> Sequence[str]:
        if self.is_strict or len(self.queues) == 1:
            return self.queues
        turn = self._turn % len(self.queues)
        return [*self.queues[turn:], *self.queues[:turn]]

    def _report_unknown(self, outcomes: list[Outcome]) -> None:
        """The broker lost these messages: bring them back with their bodies, then ack (law 6)."""
        lost = [one for one in outcomes if one.word not in ("dropped", "settled", "buried")]
        end = time.monotonic() + self.patience
        while lost:
            try:
                if self._reassert(lost):
                    self.broker.report(self.name, lost)
                    return
            except BrokerError as error:
                self._recover(error, is_urgent=True)
            if time.monotonic() > end:
                logger.warning(
                    "The broker lost %d messages that were run, and does not know %s: their rows"
                    " are delivered again",
                    len(lost),
                    self.name,
                )
                return
            threading.Event().wait(0.05)  # our supervisor's next beat makes us known again

    def _reassert(self, lost: list[Outcome]) -> bool:
        """Whether the broker knows this consumer, and so what it ran."""
        verdicts: list[int] = []
        for queue in {one.message.queue for one in lost}:
            if self.register is not None:
                self.register()
            running = [
                (one.id, one.message.fence, one.message)
                for one in lost
                if one.message.queue == queue
            ]
            verdicts += self.broker.reassert(queue, self.name, running).values()
        return -1 not in verdicts

    def _recover(self, error: BrokerError, *, is_urgent: bool = False) -> None:
        """Wait until the broker answers; then give back what it says we hold and the board does
        not. ``is_urgent``: also while stopping, since outcomes wait to be told."""
        logger.warning("Waiting for the broker: %s", error)
        pause = 0.05
        while is_urgent or not self.is_stopping:
            if is_urgent:
                threading.Event().wait(pause)  # a stop must not take the outcomes along
            else:
                self.pause(pause)
            pause = min(pause * 2, AWAY_WAIT)
            try:
                self.broker.revive()
                known = self.board.fences()
                for queue in self.queues:
                    held = self.broker.holdings(queue, self.name)
                    unread = [
                        (one, fence, "") for one, fence in held.items() if known.get(one) != fence
                    ]
                    if unread:
                        self.broker.give_back(queue, self.name, unread)
            except BrokerError:
                continue
            logger.info("The broker is back")
            return
