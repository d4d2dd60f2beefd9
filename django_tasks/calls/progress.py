"""What a running task tells of itself, how far it is and lines of a log: written here, read here.

It travels as JSON, a few kilobytes at most, and says by its fence which run told it. To tell costs
microseconds and asks nobody: the report is handed to ``publish``, a worker's board; its supervisor
sends what changed once a second, and the outcome takes the last one along."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from numbers import Number
from typing import Any

from django_tasks.framework import to_django

MAX_TEXT = 200  # characters of the text beside the numbers
MAX_LINE = 400  # characters of a line of the log
MAX_LINES = 50
MAX_LOG = 5500  # bytes of all lines; the longest possible line has room alone
MAX_NUMBER = 10**15

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_quoted = json.JSONEncoder().encode  # ASCII: what a text has in it is never more than that


@dataclass(frozen=True, slots=True)
class LogLine:
    """One ``context.log()``."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run told last. ``done``: None while it only logged; ``total``: None where it said
    none; ``at``: when it spoke last; ``log``: its newest lines, the oldest first."""

    done: float | None
    total: float | None
    text: str
    at: datetime
    log: tuple[LogLine, ...] = ()

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None where nobody knows, also for a total of 0."""
        if self.done is None or not self.total:
            return None
        return min(self.done / self.total, 1.0)


def read_report(report: Any) -> Progress | None:
    """From a message's text or a row's JSON. None is none, and so is what foreign hands made
    unreadable."""
    try:
        given = json.loads(report) if isinstance(report, str) else report
        return Progress(
            done=_read_number(given["done"]),
            total=_read_number(given["total"]),
            text=str(given["text"])[:MAX_TEXT],
            at=_moment(given["at"]),
            log=tuple(
                LogLine(_moment(at), str(line)[:MAX_LINE]) for at, line in given["log"][-MAX_LINES:]
            ),
        )
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None


def _read_number(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float):
        raise TypeError
    return _bounded(value)


def _moment(us: Any) -> datetime:
    return to_django(_EPOCH + timedelta(microseconds=int(us)))


class Reporter:
    """What one run told so far; any of its threads may tell. ``publish``: where each new report
    goes; ``fence``: the claim that began the run; ``clean``: takes out of a text what must not be
    seen (sensitive arguments)."""

    def __init__(
        self,
        fence: int = 0,
        publish: Callable[[bytes], object] | None = None,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self.clean = clean or str
        self.report = ""  # JSON; "" while nothing was told
        self._publish = publish
        # First of all: lua/_attempts.lua and Snapshot.reported find there whose it is.
        self._start = f'{{"fence":{fence},'
        self._place = '"done":null,"total":null,"text":"",'
        self._lines: deque[str] = deque()
        self._size = 0  # bytes of the lines
        self._log = ""  # the lines as they stand in the report
        self._lock = threading.Lock()

    def progress(self, done: float, total: float | None, text: str) -> None:
        done = _number("done", done)
        shown = "null" if total is None else _number("total", total)
        place = f'"done":{done},"total":{shown},"text":{_quoted(self.clean(str(text))[:MAX_TEXT])},'
        with self._lock:
            self._place = place
            self._write()

    def log(self, line: str) -> None:
        entry = f"[{time.time_ns() // 1000},{_quoted(self.clean(line)[:MAX_LINE])}]"
        with self._lock:
            self._lines.append(entry)
            self._size += len(entry)
            while len(self._lines) > MAX_LINES or self._size > MAX_LOG:
                self._size -= len(self._lines.popleft())
            self._log = ",".join(self._lines)
            self._write()

    def _write(self) -> None:
        at = time.time_ns() // 1000
        self.report = f'{self._start}{self._place}"at":{at},"log":[{self._log}]}}'
        if self._publish is not None:
            self._publish(self.report.encode())

    def end(self) -> None:
        """A thread that outlives its run must not speak over the next one."""
        with self._lock:
            self._publish = None


def _number(name: str, value: Any) -> float:
    """A finite number from 0 on, whatever was counted. Raises ``TypeError`` for what is none."""
    if type(value) is not int and type(value) is not float:
        if not isinstance(value, Number) or isinstance(value, complex):
            raise TypeError(
                f"context.progress() takes numbers, and {name} is a {type(value).__name__}."
            )
        try:
            value = float(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):  # Decimal("sNaN"), a fraction beyond all floats
            value = 0.0
    return _bounded(value)


def _bounded(value: float) -> float:
    if 0 <= value <= MAX_NUMBER:
        return value
    return MAX_NUMBER if value > MAX_NUMBER else 0  # NaN is neither: nothing is done, none known
