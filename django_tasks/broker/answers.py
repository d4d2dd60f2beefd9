"""What the scripts answer: bytes → dataclasses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django_tasks.broker.message import USUAL, Message
from django_tasks.states import FINAL


@dataclass(frozen=True, slots=True)
class Acked:
    """What an ack did: ids by verdict, and what it claimed."""

    accepted: list[str]
    refused: list[str]
    unknown: list[str]  # re-assert with the body, then ack again
    claimed: list[Message]
    left: int = 0  # ends and edges into other queues to be carried on (Edges.carry)

    def __add__(self, other: Acked) -> Acked:
        return Acked(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.unknown + other.unknown,
            self.claimed + other.claimed,
            self.left + other.left,
        )


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a beat learned of one queue. ``age``: seconds since the era began."""

    era: str
    age: float
    delivered: str
    unknown: list[str]  # consumers that were reaped meanwhile
    holdings: dict[str, dict[str, int]]  # consumer → id → fence
    cancels: dict[tuple[str, int], str]  # (id, fence) → "soft" or "hard"


@dataclass(frozen=True, slots=True)
class Promotion:
    """``next_due``: seconds until the next scheduled message; None if there is none. ``ends``,
    ``crossings``: ended parents and edges into other queues that wait to be gone on with."""

    promoted: int
    expired: int
    next_due: float | None
    ends: int = 0
    crossings: int = 0


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the broker says of one queue. Ages are in seconds, None where there is nothing of that
    age; ``rates``: per second, over the last minute, by counter (docs/wire-format.md)."""

    ready: int
    scheduled: int
    deferred: int
    unacked: int
    dead: int  # what had no readable message, and so no row
    consumers: int
    oldest_waiting: float | None
    meta: dict[str, str]
    rates: dict[str, float]
    mirror_lag: float | None

    @property
    def total(self) -> int:
        return self.ready + self.unacked + self.scheduled + self.deferred


@dataclass(frozen=True, slots=True)
class Running:
    """What a child runs. ``seconds``: since its body began."""

    id: str
    queue: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ChildSeen:
    """A child of a worker. ``memory``: bytes; ``run``: None while it waits."""

    consumer: str
    pid: int
    memory: int
    run: Running | None


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as it described itself ``heard`` seconds ago; ``age``: seconds since it started."""

    name: str
    heard: float
    age: float
    version: str
    release: str
    queues: list[str]
    children: list[ChildSeen]
    is_stopping: bool

    @property
    def runs(self) -> list[Running]:
        return [child.run for child in self.children if child.run is not None]

    @property
    def host(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one dead consumer held when it was taken back."""

    consumer: str
    held: int
    charged: int


def acked_of(answer: Sequence[Any], record_ids: Sequence[str], queue: str) -> Acked:
    verdicts, claimed, left = answer
    by_verdict: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for record_id, verdict in zip(record_ids, verdicts, strict=True):
        by_verdict[verdict].append(record_id)
    return Acked(by_verdict[1], by_verdict[0], by_verdict[-1], messages_of(claimed, queue), left)


def messages_of(answer: Iterable[Sequence[bytes | None]], queue: str) -> list[Message]:
    return [Message.from_claim(values, queue) for values in answer]


def pulse_of(answer: Sequence[Any], consumers: Sequence[str]) -> Pulse:
    era, age, delivered, unknown, holdings, cancels = answer
    noted = {
        text_of(one): text_of(said).split(" ", 1)
        for one, said in zip(cancels[::2], cancels[1::2], strict=True)
    }
    return Pulse(
        era=text_of(era),
        age=age / 1_000_000,
        delivered=text_of(delivered),
        unknown=[text_of(name) for name in unknown],
        holdings={
            consumer: holdings_of(held) for consumer, held in zip(consumers, holdings, strict=True)
        },
        cancels={(one, int(fence)): how for one, (fence, how) in noted.items()},
    )


def holdings_of(raw: Any) -> dict[str, int]:
    """What ``consumer:<id>`` says: id → fence; what foreign hands wrote there is left out."""
    return {text_of(one): int(fence) for one, fence in as_dict(raw).items() if fence.isdigit()}


def is_unknown(answer: Sequence[bytes | None], round_: int) -> bool:
    """By a message's state, stub and round: whether a row of that round has to be pushed."""
    state, stub, known_round = answer
    if state is None or stub == b"1":
        return True
    known = known_round or str(USUAL["round"]).encode()
    return known.isdigit() and int(known) < round_ and text_of(state) in FINAL


HEAD_START = 10.0  # seconds by which a final message's mark is older (lua/_finish.lua)


def status_of(answer: Sequence[Any]) -> QueueStatus:
    now, ready, scheduled, deferred, unacked, dead, consumers, waited, meta, *rest = answer
    this_minute, last_minute, places = rest
    us = int(now)
    passed = us % 60_000_000 / 60_000_000  # the share of this minute that is over
    current, last = _counters(this_minute), _counters(last_minute)
    rates = {
        name: (current.get(name, 0) + last.get(name, 0) * (1 - passed)) / 60
        for name in current.keys() | last.keys()
    }
    ages = [(us - float(oldest)) / 1e6 for marks, oldest in places if marks]
    return QueueStatus(
        ready=ready,
        scheduled=scheduled,
        deferred=deferred,
        unacked=unacked,
        dead=dead,
        consumers=consumers,
        oldest_waiting=_age(waited),
        meta={text_of(name): text_of(value) for name, value in as_dict(meta).items()},
        rates=rates,
        # Of a final message the mark says ten seconds less; which one it is nobody asks here.
        mirror_lag=max(max(ages) - HEAD_START, 0.0) if ages else None,
    )


def worker_of(name: str, raw: Any, left: int) -> WorkerSeen:
    """From its description and the milliseconds until that fades. What another release of Uncut
    did not say is empty."""
    fields = {text_of(field): text_of(value) for field, value in as_dict(raw).items()}

    def decoded(field: str, otherwise: Any) -> Any:
        try:
            found = json.loads(fields.get(field, ""))
        except ValueError:
            return otherwise
        return found if isinstance(found, type(otherwise)) else otherwise

    heard = max(float(fields.get("ttl") or 0) - left / 1000, 0.0)
    runs, memory = decoded("runs", {}), decoded("memory", {})

    def run_of(consumer: str) -> Running | None:
        if consumer not in runs:
            return None
        record_id, queue, seconds = runs[consumer]
        return Running(record_id, queue, seconds + heard)

    return WorkerSeen(
        name=name,
        heard=heard,
        age=float(fields.get("age") or 0) + heard,
        version=fields.get("version", ""),
        release=fields.get("release", ""),
        queues=decoded("queues", []),
        children=[
            ChildSeen(consumer, pid, memory.get(consumer, 0), run_of(consumer))
            for consumer, pid in decoded("children", {}).items()
        ],
        is_stopping=fields.get("stopping") == "1",
    )


def _counters(raw: Any) -> dict[str, int]:
    found = as_dict(raw).items()
    return {text_of(name): int(value) for name, value in found if value.lstrip(b"-").isdigit()}


def _age(us: int | bytes) -> float | None:
    return None if int(us) < 0 else int(us) / 1e6


def as_dict(raw: Any) -> dict[bytes, bytes]:
    if isinstance(raw, dict):
        return raw
    return dict(zip(raw[::2], raw[1::2], strict=True))


def text_of(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
