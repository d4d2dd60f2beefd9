"""The heart: what a supervisor tells the broker of its children, living, stuck and dead.

It beats, re-asserts what runs, audits what the broker says they hold, speaks for a child that is
stuck in a task, and takes back what the dead held (laws 4 and 6)."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django_tasks.broker import Broker
from django_tasks.broker.message import Report, to_json
from django_tasks.calls.progress import read_report
from django_tasks.states import Result
from django_tasks.worker import cancellation
from django_tasks.worker.board import FINISHED, HELD, Board, Held, Told
from django_tasks.worker.processes import kill

logger = logging.getLogger("django_tasks.worker")

STUCK = 0.1  # seconds until it speaks for a child; twice what a child holds a claim good for


@dataclass(slots=True)
class Child:
    """A consumer's process, as its supervisor knows it."""

    consumer: str
    pid: int
    board: Board
    born: float = field(default_factory=time.monotonic)
    # Found by the last audit: held for the broker, not on the board. Twice running: given back.
    unread: dict[tuple[str, str], int] = field(default_factory=dict)
    # Runs that were cancelled and go on: (id, fence) → monotonic time of the kill.
    ending: dict[tuple[str, int], float] = field(default_factory=dict)
    killed_for: set[tuple[str, int]] = field(default_factory=set)  # those that it was killed for
    # What was given back or reported for it, though its board still shows it.
    spoken_for: set[tuple[str, int]] = field(default_factory=set)
    told: int = 0  # up to which of its words on progress the broker has them


@dataclass(slots=True)
class Death:
    """A dead consumer that the broker does not know to be dead yet."""

    consumer: str
    held: list[Held]
    how: str  # "SIGKILL", "exit code 1"
    last_words: Told | None = None
    killed_for: set[tuple[str, int]] = field(default_factory=set)

    def is_guilty(self, one: Held) -> bool:
        """Of its death: whoever was begun while we killed its process for another is not."""
        return not self.killed_for or (one.id, one.fence) in self.killed_for


@dataclass(slots=True)
class Heart:
    """The dealings of one worker with the queues it serves."""

    broker: Broker
    queues: Sequence[str]
    cancel_grace: float = 10.0  # seconds
    children: dict[int, Child] = field(default_factory=dict)  # by pid
    deaths: list[Death] = field(default_factory=list)
    eras: dict[str, str] = field(default_factory=dict)
    is_stopping: bool = False

    def beat(self) -> None:
        """Renew the leases; after a new era, say what runs; reap whose lease ran out."""
        consumers = [child.consumer for child in self.children.values()]
        pulses = self.broker.beat(self.queues, consumers, is_stopping=self.is_stopping)
        for queue, pulse in pulses.items():
            if pulse.unknown:  # reaped while they lived, or the broker lost its memory
                self.eras[queue] = ""  # until all was said, also if the broker goes meanwhile
                self.broker.beat(
                    [queue], pulse.unknown, register=True, is_stopping=self.is_stopping
                )
            if pulse.unknown or self.eras.get(queue, pulse.era) != pulse.era:
                self.broker.announce(self.queues, anew=True)
                self._reassert(queue)
            self.eras[queue] = pulse.era
            self._audit(queue, pulse.holdings)
            self._end_cancelled(queue, pulse.cancels)
            for dead in self.broker.reap(queue):
                if dead.held:
                    logger.warning(
                        "Took back %d messages of %s, whose lease ran out",
                        dead.held,
                        dead.consumer,
                        extra={"queue": queue},
                    )
        self._tell_progress()

    def _tell_progress(self) -> None:
        """What running tasks told since the last beat: each the newest, however often it spoke."""
        news = [(child, child.board.told(child.told)) for child in self.children.values()]
        self._send_progress([(child.consumer, told) for child, told in news if told])
        for child, told in news:
            if told:
                child.told = told.count

    def _send_progress(self, news: Iterable[tuple[str, Told]]) -> None:
        by_queue: dict[str, list[tuple[str, str, int, str]]] = {}
        for consumer, told in news:
            report = told.report.decode("ascii", "replace")
            if read_report(report) is not None:  # it becomes a part of the script's own JSON
                one = (consumer, told.id, told.fence, report)
                by_queue.setdefault(told.queue, []).append(one)
        for queue, words in by_queue.items():
            self.broker.progress(queue, words)

    def _reassert(self, queue: str) -> None:
        """Say from the boards what runs: the broker may have lost it (law 6)."""
        for child in self.children.values():
            held = [one for one in child.board.read() if one.queue == queue]
            if not held:
                continue
            child.told = 0  # the broker may have lost it
            running = [(one.id, one.fence, None) for one in held]
            for record_id, verdict in self.broker.reassert(queue, child.consumer, running).items():
                if verdict:
                    continue
                logger.warning(
                    "%s runs %s, which the broker gave to someone else",
                    child.consumer,
                    record_id,
                    extra={"message_id": record_id, "queue": queue},
                )

    def _audit(self, queue: str, holdings: dict[str, dict[str, int]]) -> None:
        """Give back what the broker says a child holds and its board does not, two looks running:
        the answer to its claim was lost (law 4)."""
        for child in self.children.values():
            known = {(one.id, one.fence) for one in child.board.read() if one.queue == queue}
            unread = {
                (queue, record_id): fence
                for record_id, fence in holdings.get(child.consumer, {}).items()
                if (record_id, fence) not in known
            }
            twice = [
                (key[1], fence, "")
                for key, fence in unread.items()
                if child.unread.get(key) == fence
            ]
            if twice:
                child.board.evict()
                seen = {(one.id, one.fence) for one in child.board.read()}
                twice = [one for one in twice if (one[0], one[1]) not in seen]
            if twice:
                given = self.broker.give_back(queue, child.consumer, twice)
                logger.warning(
                    "Gave back %d messages that %s never got",
                    given,
                    child.consumer,
                    extra={"queue": queue},
                )
            others = {key: fence for key, fence in child.unread.items() if key[0] != queue}
            child.unread = {**others, **unread}

    def _end_cancelled(self, queue: str, cancels: dict[tuple[str, int], str]) -> None:
        """An exception in the task; if it goes on after the grace period, it goes with its process,
        which is replaced: its reap finds the message cancelled."""
        now = time.monotonic()
        for child in self.children.values():
            lines = [one for one in child.board.read() if one.is_running]
            known = {(one.id, one.fence) for one in lines}
            child.ending = {run: end for run, end in child.ending.items() if run in known}
            for run in (known & cancels.keys()) if cancels else ():
                is_hard = cancels[run] == "hard"
                if run not in child.ending:
                    child.ending[run] = now + self.cancel_grace
                    if not is_hard:
                        child.board.cancel(run[1])
                        kill(child.pid, cancellation.SIGNAL)
                if is_hard or now >= child.ending[run]:
                    logger.warning(
                        "%s is ended: it runs %s, which was cancelled",
                        child.consumer,
                        run[0],
                        extra={"message_id": run[0], "queue": queue},
                    )
                    child.killed_for.add(run)
                    kill(child.pid, signal.SIGKILL)

    def speak_for_the_stuck(self) -> None:
        """A child is in a task that takes longer than anybody knew: report what had ended before
        it, and give back what waits behind it. The child starts nothing this old any more."""
        for child in self.children.values():
            lines = child.board.read()
            child.spoken_for &= {(one.id, one.fence * sign) for one in lines for sign in (1, -1)}
            left = [
                one
                for one in lines
                if one.age > STUCK and (one.id, one.fence) not in child.spoken_for
            ]
            ended = [one for one in left if one.state == FINISHED and one.report]
            waiting = [one for one in left if one.state == HELD]
            self._report(child.consumer, ended)
            self._give_back_unread(child, lines)
            for queue, group in _by_queue(waiting).items():
                held = [(one.id, one.fence, "") for one in group]
                self.broker.give_back(queue, child.consumer, held)
            child.spoken_for |= {(one.id, one.fence) for one in [*ended, *waiting]}

    def _give_back_unread(self, child: Child, lines: Sequence[Held]) -> None:
        """What it asked for before it got stuck, and could not read since."""
        for running in lines:
            looked = (running.id, -running.fence)
            if not running.is_running or running.age <= STUCK or looked in child.spoken_for:
                continue
            child.spoken_for.add(looked)
            known = {(one.id, one.fence) for one in lines}
            for queue in self.queues:
                held = self.broker.holdings(queue, child.consumer)
                unread = [
                    (one, fence, "") for one, fence in held.items() if (one, fence) not in known
                ]
                if unread:
                    self.broker.give_back(queue, child.consumer, unread)

    def _report(self, consumer: str, ended: Sequence[Held]) -> None:
        for queue, group in _by_queue(ended).items():
            self.broker.ack(queue, consumer, [Report(one.report) for one in group])

    def report_deaths(self) -> None:
        """Take back what the dead held: charged is only what its board shows as running."""
        while self.deaths:
            death = self.deaths[0]
            self._report(death.consumer, [one for one in death.held if one.report])
            last = death.last_words
            if last and any(one.is_running and one.fence == last.fence for one in death.held):
                self._send_progress([(death.consumer, last)])
            for queue in self.queues:
                running = [one for one in death.held if one.is_running and one.queue == queue]
                ours = [one for one in running if self.is_stopping or not death.is_guilty(one)]
                if ours:
                    self._give_back_stopped(queue, death.consumer, ours)
                    running = [one for one in running if one not in ours]
                ids = [one.id for one in running]
                self.broker.reap(queue, death.consumer, ids, death.how)
            self.deaths.pop(0)

    def _give_back_stopped(self, queue: str, consumer: str, running: list[Held]) -> None:
        """What we stopped ourselves is nobody's fault: uncharged, and noted as a run."""
        now = round(time.time() * 1e6)
        held = []
        for one in running:
            attempt = {
                "consumer": consumer,
                "claimed_at": one.fence,
                "started_at": round((time.time() - one.age) * 1e6),
                "finished_at": now,
                "outcome": Result.STOPPED.value,
            }
            held.append((one.id, one.fence, to_json(attempt)))
        self.broker.give_back(queue, consumer, held)


def _by_queue(lines: Iterable[Held]) -> dict[str, list[Held]]:
    grouped: dict[str, list[Held]] = {}
    for line in lines:
        grouped.setdefault(line.queue, []).append(line)
    return grouped
