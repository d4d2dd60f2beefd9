"""Broker: one method per script, of the same name; and the reads that need none.

Every call may raise ``BrokerUnavailable``; the caller decides whether to repeat, by the script's
``repeats`` line. Queue names, ids and consumers are text; bytes stay in this room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django_tasks.broker import connection, scripts
from django_tasks.broker.answers import (
    Acked,
    Promotion,
    Pulse,
    Reaped,
    acked_of,
    as_dict,
    messages_of,
    pulse_of,
    text_of,
)
from django_tasks.broker.edges import Edges
from django_tasks.broker.message import Message, Outcome, Report
from django_tasks.broker.scripts import Argument
from django_tasks.broker.snapshot import Snapshot
from django_tasks.conf import DEFAULT_ALIAS, TaskSettings, task_settings
from django_tasks.errors import BrokerUnavailable


@dataclass(slots=True)
class Broker(Edges):
    """The scripts, on one client."""

    # -- transitions --------------------------------------------------------------------------

    def push(
        self, queue: str, messages: Sequence[Message], *, is_delivery: bool = False
    ) -> list[int]:
        """Per message 1 pushed, 2 completed, 0 known already."""
        [verdicts] = self.push_all([(queue, messages)], is_delivery=is_delivery)
        return verdicts

    def push_all(
        self, batches: Sequence[tuple[str, Sequence[Message]]], *, is_delivery: bool = False
    ) -> list[list[int]]:
        """``push`` for several queues in one round trip, in order."""
        return self._call_all(self._pushes(batches, is_delivery))

    def post_all(
        self,
        batches: Sequence[tuple[str, Sequence[Message]]],
        tell: Callable[[BrokerUnavailable], None],
    ) -> None:
        """``push_all`` of what is in the database already: nobody waits for the answer. What failed
        ``tell`` hears at the next call."""
        self._post(self._pushes(batches, False), tell)

    def _pushes(
        self, batches: Sequence[tuple[str, Sequence[Message]]], is_delivery: bool
    ) -> list[tuple[str, str, list[Argument]]]:
        self.announce(queue for queue, _ in batches)
        mode = "delivery" if is_delivery else "new"
        calls: list[tuple[str, str, list[Argument]]] = []
        for queue, messages in batches:
            arguments: list[Argument] = [mode]
            for message in messages:
                fields = message.to_fields()
                arguments += [message.id, len(fields), *fields]
            calls.append(("push", queue, arguments))
        return calls

    def claim(self, queue: str, consumer: str, limit: int = 1) -> list[Message]:
        """Take up to ``limit`` messages from the head of the line. Not to be repeated."""
        return messages_of(self._call("claim", queue, consumer, limit), queue)

    def wait_and_claim(
        self, queue: str, consumer: str, limit: int, timeout: float
    ) -> list[Message]:
        """Block until there is something, at most ``timeout`` seconds (< 1), and claim: the server
        does both without asking back. Nobody can tell how old such a claim is when its answer is
        read (``Board.evictions``). Not to be repeated."""
        keys, script = self.keys(queue), self.load("claim")
        _, answer = self._pipeline(
            [
                ("BLPOP", keys.wake, timeout),
                tuple(scripts.evalsha(script, keys.root, [consumer, limit])),
            ]
        )
        if isinstance(answer, Exception):  # the server forgot the script: it is sent whole
            return self.claim(queue, consumer, limit)
        return messages_of(answer, queue)

    def ack(
        self, queue: str, consumer: str, outcomes: Sequence[Outcome | Report], *, claim: int = 0
    ) -> Acked:
        """Report outcomes; then take up to ``claim`` more of the same queue, in the same call."""
        answer = self._call("ack", queue, *_ack_arguments(consumer, outcomes, claim))
        return acked_of(answer, [outcome.id for outcome in outcomes], queue)

    def give_back(self, queue: str, consumer: str, held: Iterable[tuple[str, int, str]]) -> int:
        """``held``: (id, fence, JSON of the attempt that was stopped, or "")."""
        return int(
            self._call("give_back", queue, consumer, *(part for one in held for part in one))
        )

    def progress(self, queue: str, told: Iterable[tuple[str, str, int, str]]) -> list[int]:
        """``told``: (consumer, id, fence, report), what running tasks tell of themselves. Per
        message 1, or 0 where it is not held so."""
        return list(self._call("progress", queue, *(part for one in told for part in one)))

    def report(
        self,
        consumer: str,
        outcomes: Sequence[Outcome],
        given_back: Sequence[Message] = (),
        claim: tuple[str, int] | None = None,
    ) -> Acked:
        """``ack`` for each queue, ``give_back`` for each, then ``claim`` (queue, limit): in one
        round trip, and by one script where it is all of one queue."""
        return self.begin_report(consumer, outcomes, given_back, claim)()

    def begin_report(
        self,
        consumer: str,
        outcomes: Sequence[Outcome],
        given_back: Sequence[Message] = (),
        claim: tuple[str, int] | None = None,
    ) -> Callable[[], Acked]:
        """``report``, sent now; what is returned reads the answer, and may be called later."""
        told: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            told.setdefault(outcome.message.queue, []).append(outcome)
        returned: dict[str, list[Message]] = {}
        for message in given_back:
            returned.setdefault(message.queue, []).append(message)
        next_queue, limit = claim or ("", 0)
        calls: list[tuple[str, str, Sequence[Argument]]] = []
        for queue in sorted(told, key=lambda queue: queue == next_queue):  # that one claims: last
            taken = limit if queue == next_queue and not returned else 0
            calls.append(("ack", queue, _ack_arguments(consumer, told[queue], taken)))
        for queue, messages in returned.items():
            held = (part for one in messages for part in (one.id, one.fence, ""))
            calls.append(("give_back", queue, [consumer, *held]))
        if limit and (returned or next_queue not in told):
            calls.append(("claim", next_queue, [consumer, limit]))
        finish = self._begin_all(calls)

        def read() -> Acked:
            acked = Acked([], [], [], [])
            for (script, queue, _), answer in zip(calls, finish(), strict=True):
                if script == "ack":
                    acked += acked_of(answer, [outcome.id for outcome in told[queue]], queue)
                elif script == "claim":
                    acked.claimed.extend(messages_of(answer, queue))
            return acked

        return read

    def reap(
        self, queue: str, consumer: str = "", running: Iterable[str] = (), how: str = ""
    ) -> list[Reaped]:
        """Take back what ``consumer`` held (``running``: what its board shows as running; ``how``:
        how its process ended, in a word), or what every consumer held whose lease ran out."""
        answer = self._call("reap", queue, consumer, how, *running)
        return [Reaped(text_of(name), held, charged) for name, held, charged in answer]

    def promote(self, queue: str, limit: int = 1000) -> Promotion:
        """Make ready what is due."""
        return self.promote_all([queue], limit)[0]

    def promote_all(self, queues: Sequence[str], limit: int = 1000) -> list[Promotion]:
        """``promote`` for several queues in one round trip."""
        answers = self._call_all([("promote", queue, [limit]) for queue in queues])
        return [
            Promotion(promoted, expired, None if due < 0 else due / 1_000_000, ends, crossings)
            for promoted, expired, due, ends, crossings in answers
        ]

    def beat(
        self,
        queues: Sequence[str],
        consumers: Sequence[str],
        *,
        register: bool = False,
        is_first: bool = False,
        is_stopping: bool = False,
    ) -> dict[str, Pulse]:
        """Renew the leases of ``consumers`` in every queue, in one round trip."""
        arguments = self._beat_arguments(consumers, register, is_first, is_stopping)
        answers = self._call_all([("beat", queue, arguments) for queue in queues])
        return {
            queue: pulse_of(answer, consumers)
            for queue, answer in zip(queues, answers, strict=True)
        }

    def reassert(
        self, queue: str, consumer: str, running: Sequence[tuple[str, int, Message | None]]
    ) -> dict[str, int]:
        """Say what a living consumer runs: (id, fence, body if known). Returns per id 1 (held), 0
        (refused) or -1 (the consumer is not registered)."""
        arguments: list[Argument] = [consumer]
        for record_id, fence, message in running:
            fields = message.to_fields() if message else []
            arguments += [record_id, fence, len(fields), *fields]
        verdicts = self._call("reassert", queue, *arguments)
        return dict(zip((one[0] for one in running), verdicts, strict=True))

    def clean(
        self,
        queue: str,
        database: str,
        marks: Sequence[tuple[str, str, int, str, Sequence[int]]],
    ) -> list[int]:
        """(id, verb, revision, word, fences of copied attempts), as clean.lua's header says."""
        arguments: list[Argument] = [database]
        for record_id, verb, revision, word, fences in marks:
            arguments += [record_id, verb, revision, word, len(fences), *fences]
        return list(self._call("clean", queue, *arguments))

    def watch(self, queue: str, record_id: str, timeout: float) -> Snapshot | None:
        """Block until a message is final, at most ``timeout`` seconds (< 0.2); what it says then.
        None if it is unknown."""
        keys = self.keys(queue)
        asked, _, raw = self._pipeline(
            [
                tuple(scripts.evalsha(self.load("watch"), keys.root, [record_id])),
                ("BLPOP", keys.done(record_id), timeout),
                ("HGETALL", keys.message(record_id)),
            ]
        )
        if isinstance(asked, Exception):  # the server forgot the script: it is sent whole
            self._call("watch", queue, record_id)
        known = raw and not isinstance(raw, Exception)
        return Snapshot.from_hash(record_id, as_dict(raw)) if known else None

    def cancel(
        self, queue: str, calls: Sequence[tuple[str, int, str]], how: str = "soft"
    ) -> list[int]:
        """(id, round, database of its row or "") each. Returns its revision once it is cancelled, 1
        if it runs, 0 if it is final. ``how`` a run is ended: "soft", "hard" (without grace) or
        "leave" (not at all)."""
        parts = [part for call in calls for part in call]
        answers = self._call("cancel", queue, how, *parts)
        return [int(answer) for answer in answers]

    def forget(self, queue: str, record_ids: Iterable[str]) -> int:
        """Final messages leave: at once where their rows say the same, else as soon as these do.
        Returns how many are gone."""
        return int(self._call("forget", queue, *record_ids))

    def move(
        self,
        queue: str,
        calls: Sequence[tuple[str, int]],
        *,
        at: float | None = None,
        priority: int | str = "",
    ) -> list[int | str]:
        """(id, round) each, to another time (``at``: seconds since 1970, 0: now) or priority
        ("front": before all that are ready). Returns its priority now, or why it was not moved, as
        move.lua says it."""
        when: Argument = "" if at is None else round(at * 1_000_000)
        parts = [part for call in calls for part in call]
        answers = [text_of(one) for one in self._call("move", queue, when, priority, *parts)]
        return [int(one) if one.lstrip("-").isdigit() else one for one in answers]

    def pause(self, queue: str, who: str, why: str = "", until: float = 0.0) -> bool:
        """Nothing of the queue is claimed from now on. ``until``: when that ends by itself, in
        seconds since 1970 (0: never). False if it was paused already."""
        return bool(self._call("pause", queue, who, why, round(until * 1_000_000)))

    def resume(self, queue: str) -> bool:
        """End a pause. False if there was none."""
        return bool(self._call("resume", queue))

    def delivered(self, queue: str, era: str) -> bool:
        """Note that delivery is done with this era, if it is the present one."""
        return bool(self._call("delivered", queue, era))

    def announce(self, queues: Iterable[str], *, anew: bool = False) -> None:
        """Make queue names known; once per process and name, unless the broker may have lost
        them."""
        if anew:
            self._announced.clear()
        unknown = sorted(set(queues) - self._announced)
        if unknown:
            self._run("announce", self.shared.index, unknown)
            self._announced.update(unknown)

    def describe(self, worker: str, ttl: float, fields: dict[str, str]) -> None:
        """Keep a worker's description for ``ttl`` seconds; 0 forgets it."""
        pairs = [text for pair in fields.items() for text in pair]
        self._run("describe", self.shared.index, [worker, round(ttl), *pairs])

    def lease(self, duty: str, owner: str, seconds: float) -> bool:
        """Whether ``owner`` has the duty for the next ``seconds``; 0 lets it go."""
        return bool(self._run("lease", self.shared.duties, [duty, owner, round(seconds * 1000)]))

    # -- reads --------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], timeout: float) -> bool:
        """Block until some queue has something to claim; at most ``timeout`` seconds (< 1)."""
        wakes = [self.keys(queue).wake for queue in queues]
        return self._execute("BLPOP", *wakes, timeout) is not None

    def ping(self) -> str:
        """The server's name and version. Raises ``BrokerUnavailable``, ``BrokerUnusable``."""
        self._execute("PING")
        return connection.server_version(self.client)


def _ack_arguments(
    consumer: str, outcomes: Sequence[Outcome | Report], claim: int
) -> list[Argument]:
    arguments: list[Argument] = [consumer, claim, len(outcomes)]
    for outcome in outcomes:
        arguments += outcome.arguments
    return arguments


@lru_cache(maxsize=16)
def _broker(settings: TaskSettings, timeout: float) -> Broker:
    return Broker(settings, timeout, preloads=("push", "watch"))


def get_broker(alias: str = DEFAULT_ALIAS) -> Broker:
    """The broker of an alias, as callers use it: short timeouts, shared by the process."""
    return _broker(task_settings(alias), connection.PRODUCER_TIMEOUT)
