"""What the scripts answer: bytes → dataclasses."""

from __future__ import annotations

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

    def __add__(self, other: Acked) -> Acked:
        return Acked(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.unknown + other.unknown,
            self.claimed + other.claimed,
        )


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a beat learned of one queue. ``age``: seconds since the era began."""

    era: str
    age: float
    delivered: str
    unknown: list[str]  # consumers that were reaped meanwhile
    holdings: dict[str, dict[str, int]]  # consumer → id → fence


@dataclass(frozen=True, slots=True)
class Promotion:
    """``next_due``: seconds until the next scheduled message; None if there is none."""

    promoted: int
    expired: int
    next_due: float | None


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one dead consumer held when it was taken back."""

    consumer: str
    held: int
    charged: int


def acked_of(answer: Sequence[Any], record_ids: Sequence[str], queue: str) -> Acked:
    verdicts, claimed = answer
    by_verdict: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for record_id, verdict in zip(record_ids, verdicts, strict=True):
        by_verdict[verdict].append(record_id)
    return Acked(by_verdict[1], by_verdict[0], by_verdict[-1], messages_of(claimed, queue))


def messages_of(answer: Iterable[Sequence[bytes | None]], queue: str) -> list[Message]:
    return [Message.from_claim(values, queue) for values in answer]


def pulse_of(answer: Sequence[Any], consumers: Sequence[str]) -> Pulse:
    era, age, delivered, unknown, holdings = answer
    return Pulse(
        era=text_of(era),
        age=age / 1_000_000,
        delivered=text_of(delivered),
        unknown=[text_of(name) for name in unknown],
        holdings={
            consumer: holdings_of(held) for consumer, held in zip(consumers, holdings, strict=True)
        },
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


def as_dict(raw: Any) -> dict[bytes, bytes]:
    if isinstance(raw, dict):
        return raw
    return dict(zip(raw[::2], raw[1::2], strict=True))


def text_of(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
