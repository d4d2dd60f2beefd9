"""A message as it is now: what the mirror copies and what a fresh result is read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_tasks.broker.message import from_us
from django_tasks.states import Result


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run that ended, as its message notes it. ``fence`` is the claim that began it;
    ``is_noted``: in a field of its own, which leaves once it is copied."""

    fence: int
    number: int
    consumer: str
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    outcome: str
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""
    is_noted: bool = True


@dataclass(slots=True)
class Snapshot:
    """What ``message:<id>`` says. ``return_value`` is JSON text, None where there is none.

    Nobody changes one; frozen, it would take four times as long to make."""

    id: str
    state: str
    fence: int
    revision: int
    round: int
    attempt: int
    lost: int
    is_suspect: bool
    is_stub: bool
    is_recorded: bool
    is_settled: bool  # final because its row was: what came of it stands there alone
    run_after: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: str
    return_value: str | None
    error_class: str
    error_message: str
    traceback: str
    dead_letter: str
    attempts: tuple[Attempt, ...]
    size: int  # bytes of all fields
    fields: Mapping[str, str]  # everything, as written

    @classmethod
    def from_hash(cls, record_id: str, raw: Mapping[bytes, bytes]) -> Snapshot:
        """From HGETALL; what foreign hands made unreadable reads as nothing."""
        try:
            fields = {name.decode(): value.decode() for name, value in raw.items()}
        except UnicodeDecodeError:
            fields = {_text(name): _text(value) for name, value in raw.items()}
        noted = {name: text for name, text in fields.items() if name.startswith("attempt:")}
        for name in noted:
            del fields[name]
        return cls(
            id=record_id,
            state=fields.get("state", ""),
            fence=_number(fields.get("fence")),
            revision=_number(fields.get("revision")),
            round=_count(fields.get("round")) or 1,
            attempt=_count(fields.get("attempt")),
            lost=_count(fields.get("lost")),
            is_suspect=fields.get("suspect") == "1",
            is_stub=fields.get("stub") == "1",
            is_recorded=fields.get("recorded") == "1",
            is_settled=fields.get("settled") == "1",
            run_after=_moment(fields.get("run_after")),
            started_at=_moment(fields.get("started_at")),
            finished_at=_moment(fields.get("finished_at")),
            worker_id=fields.get("worker_id", ""),
            return_value=fields.get("return_value"),
            error_class=fields.get("error_class", ""),
            error_message=fields.get("error_message", ""),
            traceback=fields.get("traceback", ""),
            dead_letter=fields.get("dead_letter", ""),
            attempts=_attempts(noted, fields),
            size=sum(map(len, raw)) + sum(map(len, raw.values())),
            fields=fields,
        )


def _attempts(noted: Mapping[str, str], fields: Mapping[str, str]) -> tuple[Attempt, ...]:
    runs = {
        fence: _attempt(fence, text)
        for name, text in noted.items()
        if (fence := _number(name.removeprefix("attempt:")))
    }
    fence = _number(fields.get("fence"))
    # A run that succeeded is its message's last, and all of it stands there already; it may have
    # been taken for lost before it reported.
    if fence and fields.get("state") == "SUCCESSFUL" and fields.get("acked") == str(fence):
        runs[fence] = Attempt(
            fence=fence,
            number=_count(fields.get("attempt")) + 1,
            consumer=fields.get("worker_id", ""),
            claimed_at=_moment(fence),
            started_at=_moment(fields.get("started_at")),
            finished_at=_moment(fields.get("finished_at")),
            outcome=Result.SUCCEEDED.value,
            is_noted=False,
        )
    return tuple(runs[one] for one in sorted(runs))


def _attempt(fence: int, text: str) -> Attempt:
    try:
        given: dict[str, Any] = json.loads(text)
        return Attempt(
            fence=fence,
            number=_count(given.get("number")),
            consumer=str(given.get("consumer", "")),
            claimed_at=_moment(given.get("claimed_at")),
            started_at=_moment(given.get("started_at")),
            finished_at=_moment(given.get("finished_at")),
            outcome=str(given.get("outcome", "")),
            error_class=str(given.get("error_class", "")),
            error_message=str(given.get("error_message", "")),
            traceback=str(given.get("traceback", "")),
        )
    except (ValueError, AttributeError, TypeError):
        return Attempt(fence, 0, "", None, None, None, "?", error_message=text[:1000])


def _text(value: bytes) -> str:
    # Foreign bytes must not stop the mirror.
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace")


def _number(text: str | None) -> int:
    """As the scripts read it: what a double does not hold exactly is none (lua/_numbers.lua)."""
    try:
        number = int(text or 0)
    except ValueError:
        return 0
    return number if 0 <= number < 2**53 else 0


def _count(text: str | None) -> int:
    """What an integer column holds: a foreign hand's 10^30 must not stop the mirror."""
    return min(max(_number(text), 0), 2**31 - 1)


def _moment(value: Any) -> datetime | None:
    try:
        return from_us(str(int(value))) if value else None
    except (ValueError, OverflowError):
        return None
