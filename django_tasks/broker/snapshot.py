"""A message as it is now: what the mirror copies and what a fresh result is read from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_tasks.broker.message import from_us, to_json
from django_tasks.states import Result

_REPORTED = re.compile(r'\{"fence":(\d{1,16}),')  # how a report begins


@dataclass(slots=True)
class Attempt:
    """One run that ended, as its message notes it. ``fence`` is the claim that began it;
    ``claimed``, ``started``, ``finished``: µs since 1970, 0 where nothing is said."""

    fence: int
    number: int
    consumer: str
    claimed: int
    started: int
    finished: int
    outcome: str
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""
    report: str | None = None  # JSON; what the run told of its progress

    @property
    def started_at(self) -> datetime | None:
        return _moment(self.started)


@dataclass(slots=True)
class Snapshot:
    """What ``message:<id>`` says: ``fields`` and ``notes`` as written, and read where it is asked
    for: of many fields most are not. ``size``: bytes of all of them.

    Nobody changes one; frozen, it would take four times as long to make."""

    id: str
    fields: Mapping[str, str]
    notes: Mapping[str, str]  # the runs that ended: attempt:<fence> → JSON
    size: int

    @classmethod
    def from_hash(cls, record_id: str, raw: Mapping[bytes, bytes]) -> Snapshot:
        """From HGETALL; what foreign hands made unreadable reads as nothing."""
        fields: dict[str, str] = {}
        notes: dict[str, str] = {}
        size = 0
        try:
            for name, value in raw.items():
                size += len(name) + len(value)
                if name[:8] == b"attempt:":
                    notes[name.decode()] = value.decode()
                else:
                    fields[name.decode()] = value.decode()
        except UnicodeDecodeError:
            readable = {_text(name): _text(value) for name, value in raw.items()}
            notes = {name: readable[name] for name in readable if name.startswith("attempt:")}
            fields = {name: readable[name] for name in readable if name not in notes}
            size = sum(map(len, raw)) + sum(map(len, raw.values()))
        return cls(record_id, fields, notes, size)

    @property
    def state(self) -> str:
        return self.fields.get("state", "")

    @property
    def fence(self) -> int:
        return _number(self.fields.get("fence"))

    @property
    def revision(self) -> int:
        return _number(self.fields.get("revision"))

    @property
    def round(self) -> int:
        return _count(self.fields.get("round")) or 1

    @property
    def attempt(self) -> int:
        return _count(self.fields.get("attempt"))

    @property
    def lost(self) -> int:
        return _count(self.fields.get("lost"))

    @property
    def is_suspect(self) -> bool:
        return self.fields.get("suspect") == "1"

    @property
    def is_stub(self) -> bool:
        return self.fields.get("stub") == "1"

    @property
    def is_recorded(self) -> bool:
        return self.fields.get("recorded") == "1"

    @property
    def is_settled(self) -> bool:
        """Final because its row was: what came of it stands there alone."""
        return self.fields.get("settled") == "1"

    def us(self, name: str) -> int:
        """The time that a field says, in µs since 1970; 0 for none."""
        return _number(self.fields.get(name))

    @property
    def started_at(self) -> datetime | None:
        return _moment(self.us("started_at"))

    @property
    def finished_at(self) -> datetime | None:
        return _moment(self.us("finished_at"))

    @property
    def worker_id(self) -> str:
        """Who runs it now; else who ran it last."""
        return self.fields.get("consumer") or self.fields.get("worker_id", "")

    @property
    def return_value(self) -> str | None:
        """JSON text; None where there is none."""
        return self.fields.get("return_value")

    @property
    def error_class(self) -> str:
        return self.fields.get("error_class", "")

    @property
    def error_message(self) -> str:
        return self.fields.get("error_message", "")

    @property
    def traceback(self) -> str:
        return self.fields.get("traceback", "")

    @property
    def dead_letter(self) -> str:
        return self.fields.get("dead_letter", "")

    @property
    def reported(self) -> int:
        """Fence of the run whose progress ``report`` is; 0 where there is none."""
        found = _REPORTED.match(self.fields.get("report", ""))
        return _number(found[1]) if found else 0

    def report_of(self, fence: int) -> str | None:
        """What the run of that claim told of its progress, as JSON."""
        return self.fields["report"] if fence and self.reported == fence else None

    @property
    def noted(self) -> list[int]:
        """Fences of the runs in fields of their own, which leave once they are copied."""
        return [fence for name in self.notes if (fence := _number(name.removeprefix("attempt:")))]

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The runs that ended, by fence."""
        run = self._success()
        if not self.notes:
            return () if run is None else (run,)
        runs = {fence: _attempt(fence, self.notes[f"attempt:{fence}"]) for fence in self.noted}
        if run is not None:  # it may have been taken for lost before it reported
            runs[run.fence] = run
        return tuple(runs[one] for one in sorted(runs))

    def _success(self) -> Attempt | None:
        """A run that succeeded is its message's last, and all of it stands there already."""
        fields, fence = self.fields, self.fence
        if not fence or fields.get("state") != "SUCCESSFUL" or fields.get("acked") != str(fence):
            return None
        return Attempt(
            fence,
            self.attempt + 1,
            fields.get("worker_id", ""),
            fence,
            self.us("started_at"),
            self.us("finished_at"),
            Result.SUCCEEDED.value,
            report=self.report_of(fence),
        )


def _attempt(fence: int, text: str) -> Attempt:
    try:
        given: dict[str, Any] = json.loads(text)
        return Attempt(
            fence=fence,
            number=_count(given.get("number")),
            consumer=str(given.get("consumer", "")),
            claimed=_number(given.get("claimed_at")),
            started=_number(given.get("started_at")),
            finished=_number(given.get("finished_at")),
            outcome=str(given.get("outcome", "")),
            error_class=str(given.get("error_class", "")),
            error_message=str(given.get("error_message", "")),
            traceback=str(given.get("traceback", "")),
            report=to_json(given["report"]) if given.get("report") else None,
        )
    except (ValueError, AttributeError, TypeError):
        return Attempt(fence, 0, "", 0, 0, 0, "?", error_message=text[:1000])


def _text(value: bytes) -> str:
    # Foreign bytes must not stop the mirror.
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace")


def _number(text: Any) -> int:
    """As the scripts read it: what a double does not hold exactly is none (lua/_numbers.lua)."""
    if not text:
        return 0
    try:
        number = int(text)
    except (ValueError, TypeError, OverflowError):
        return 0
    return number if 0 <= number < 2**53 else 0


def _count(text: Any) -> int:
    """What an integer column holds: a foreign hand's 10^30 must not stop the mirror."""
    return min(_number(text), 2**31 - 1) if text else 0


def _moment(us: int) -> datetime | None:
    return from_us(us) if us else None  # below 2^53: before the year 2256
