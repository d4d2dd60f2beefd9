"""Reads that change nothing: messages, lines, workers, and every key that holds one message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django_tasks.broker import scripts
from django_tasks.broker.answers import (
    QueueStatus,
    WorkerSeen,
    as_dict,
    holdings_of,
    is_unknown,
    status_of,
    text_of,
    worker_of,
)
from django_tasks.broker.caller import Caller
from django_tasks.broker.scripts import Argument
from django_tasks.broker.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the status page shows of the broker. ``facts``: of its INFO."""

    queues: dict[str, QueueStatus]
    workers: list[WorkerSeen]
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class KeyHit:
    """A key that holds a message, or a word of it. ``value``: what the key says of it."""

    key: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Trace:
    """All that the broker holds of one id. ``now``: the broker's clock, seconds since 1970;
    ``waits``: for how many parents it waits;
    ``position``: how many stand before it in line; ``lease``: seconds until its holder's lease runs
    out; ``raw``: the message's fields as written; ``ttl``: seconds until it leaves (None: it
    stays)."""

    id: str
    queue: str
    now: float
    snapshot: Snapshot | None
    raw: dict[str, str]
    keys: list[KeyHit]
    position: int | None
    lease: float | None
    ttl: float | None
    waits: int = 0


class Reads(Caller):
    """What the broker knows."""

    __slots__ = ()

    def overview(self, queues: Iterable[str], databases: Sequence[str]) -> Overview:
        """All queues (those that somebody announced, and ``queues``), the workers that were heard
        of within three leases, the server: one pipeline, however long the lines are, and another
        where a name has come since this process looked last."""
        while True:
            names, workers = sorted({*self._seen[0], *queues}), sorted(self._seen[1])
            calls = [("status", name, list(databases)) for name in names]
            keys = [self.shared.worker(worker) for worker in workers]
            commands: list[Sequence[Argument]] = [
                ("SMEMBERS", self.shared.queues),
                ("SMEMBERS", self.shared.workers),
                ("INFO", "server"),
                ("INFO", "memory"),
                *((ask, key) for key in keys for ask in ("HGETALL", "PTTL")),
                *(
                    scripts.evalsha(self.load(name), self.keys(one).root, its)
                    for name, one, its in calls
                ),
            ]
            announced, heard, server, memory, *answers = self._pipeline(commands)
            for answer in (announced, heard):
                if isinstance(answer, Exception):
                    raise self._unavailable(answer) from answer
            self._seen = {text_of(one) for one in announced}, {text_of(one) for one in heard}
            if self._seen[0] <= set(names) and self._seen[1] <= set(workers):
                break
        described, looked = answers[: 2 * len(keys)], answers[2 * len(keys) :]
        if any(isinstance(answer, Exception) for answer in looked):
            looked = self._call_all(calls)  # the server does not know the script, or raises
        return Overview(
            queues={name: status_of(one) for name, one in zip(names, looked, strict=True)},
            workers=[
                worker_of(name, fields, left)
                for name, fields, left in zip(workers, described[::2], described[1::2], strict=True)
                if fields and not isinstance(fields, Exception)
            ],
            facts=_facts(server, memory),
        )

    def snapshots(self, queue: str, record_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The messages as they are; unknown ids are left out."""
        keys = self.keys(queue)
        answers = self._pipeline([("HGETALL", keys.message(one)) for one in record_ids])
        return {
            record_id: Snapshot.from_hash(record_id, as_dict(raw))
            for record_id, raw in zip(record_ids, answers, strict=True)
            if raw and not isinstance(raw, Exception)
        }

    def dirty(self, queue: str, database: str, limit: int = 500, skip: int = 0) -> list[str]:
        """Ids that the mirror has to copy, oldest mark first."""
        marks = self._execute("ZRANGE", self.keys(queue).dirty(database), skip, skip + limit - 1)
        return [text_of(mark) for mark in marks]

    def dirty_places(
        self, queues: Sequence[str], databases: Sequence[str]
    ) -> list[tuple[str, str]]:
        """The (queue, database) pairs that the mirror has something to do for."""
        places = [(queue, database) for queue in queues for database in databases]
        counts = self._pipeline(
            [("ZCARD", self.keys(queue).dirty(database)) for queue, database in places]
        )
        return [place for place, count in zip(places, counts, strict=True) if count]

    def unknown_ids(self, queue: str, record_ids: Collection[str] | Mapping[str, int]) -> set[str]:
        """Those the broker does not know (or knows by name only: a re-asserted one). Of a mapping
        id → round also those it knows as final in an earlier round."""
        keys = self.keys(queue)
        rounds = record_ids if isinstance(record_ids, Mapping) else dict.fromkeys(record_ids, 0)
        known = [("HMGET", keys.message(one), "state", "stub", "round") for one in rounds]
        return {
            record_id
            for (record_id, round_), answer in zip(
                rounds.items(), self._pipeline(known), strict=True
            )
            if not isinstance(answer, Exception) and is_unknown(answer, round_)
        }

    def holdings(self, queue: str, consumer: str) -> dict[str, int]:
        """What the broker says a consumer holds: id → fence."""
        return holdings_of(self._execute("HGETALL", self.keys(queue).consumer(consumer)))

    def holder(self, queue: str, record_id: str) -> tuple[str, int] | None:
        """(consumer, fence) of a running message; None if nobody holds it."""
        state, consumer, fence = self._execute(
            "HMGET", self.keys(queue).message(record_id), "state", "consumer", "fence"
        )
        return (text_of(consumer), int(fence)) if state == b"RUNNING" else None

    def backlog(self, queue: str, databases: Sequence[str] = ()) -> dict[str, int]:
        """Counts by place: ready, scheduled, unacked, and dirty (for the given databases)."""
        keys = self.keys(queue)
        places = {"ready": keys.ready, "scheduled": keys.scheduled, "unacked": keys.unacked}
        marks = [keys.dirty(database) for database in databases]
        answers = self._pipeline([("ZCARD", key) for key in [*places.values(), *marks]])
        counts = dict(zip(places, answers, strict=False))
        return {**counts, "dirty": sum(answers[len(places) :])}

    def status(self, queues: Sequence[str], databases: Sequence[str]) -> dict[str, QueueStatus]:
        """What each queue holds: one round trip, however long the lines are."""
        answers = self._call_all([("status", queue, list(databases)) for queue in queues])
        return {queue: status_of(answer) for queue, answer in zip(queues, answers, strict=True)}

    def queue_names(self) -> set[str]:
        """Every queue that anybody ever announced."""
        return {text_of(name) for name in self._execute("SMEMBERS", self.shared.queues)}

    def waiting_ids(self, queue: str, limit: int = 1000) -> list[str]:
        """Of up to ``limit`` messages that are ready and as many that are scheduled."""
        keys = self.keys(queue)
        lines = self._pipeline(
            [("ZRANGE", key, 0, limit - 1) for key in (keys.ready, keys.scheduled)]
        )
        return [text_of(one) for line in lines for one in line]

    def trace(self, queue: str, record_id: str, databases: Sequence[str]) -> Trace:
        """Every key of the queue that knows the id."""
        keys = self.keys(queue)
        message = keys.message(record_id)
        lines = {"ready": keys.ready, "scheduled": keys.scheduled, "deferred": keys.deferred}
        scores = {**lines, "unacked": keys.unacked}
        scores.update({f"dirty:{one}": keys.dirty(one) for one in databases})
        asked: list[tuple[Argument, ...]] = [
            ("HGETALL", message),
            ("PTTL", message),
            ("ZRANK", keys.ready, record_id),
            ("LLEN", keys.done(record_id)),
            ("TIME",),
            ("HLEN", keys.waits(record_id)),
            ("HLEN", keys.dependents(record_id)),
            *(("ZSCORE", key, record_id) for key in scores.values()),
        ]
        raw, left, position, tokens, clock, waits, dependents, *found = self._pipeline(asked)
        fields = {} if isinstance(raw, Exception) else as_dict(raw)
        snapshot = Snapshot.from_hash(record_id, fields) if fields else None
        hits = [KeyHit(message, "hash", f"{len(fields)} fields")] if fields else []
        hits += [
            KeyHit(key, "sorted set", text_of(score))
            for key, score in zip(scores.values(), found, strict=True)
            if isinstance(score, bytes)
        ]
        if isinstance(tokens, int) and tokens:
            hits.append(KeyHit(keys.done(record_id), "list", str(tokens)))
        for name, count in (
            (keys.waits(record_id), waits),
            (keys.dependents(record_id), dependents),
        ):
            if isinstance(count, int) and count:
                hits.append(KeyHit(name, "hash", str(count)))
        lease, now = None, int(clock[0]) + int(clock[1]) / 1e6
        holder = snapshot.fields.get("consumer", "") if snapshot else ""
        if holder:
            held, deadline = self._pipeline(
                [
                    ("HGET", keys.consumer(holder), record_id),
                    ("ZSCORE", keys.workers, holder),
                ]
            )
            if isinstance(held, bytes):
                hits.append(KeyHit(keys.consumer(holder), "hash", text_of(held)))
            if isinstance(deadline, bytes):
                lease = float(deadline) / 1e6 - now
        return Trace(
            id=record_id,
            queue=queue,
            now=now,
            snapshot=snapshot,
            raw={text_of(name): text_of(value) for name, value in fields.items()},
            keys=hits,
            position=position if isinstance(position, int) else None,
            lease=lease,
            ttl=left / 1000 if isinstance(left, int) and left >= 0 else None,
            waits=waits if isinstance(waits, int) else 0,
        )


def _facts(*answers: Any) -> dict[str, str]:
    """Of INFO: version, memory, policy. Empty where the ACLs forbid it."""
    if any(isinstance(answer, Exception) for answer in answers):
        return {}
    lines = b"\r\n".join(answers).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
