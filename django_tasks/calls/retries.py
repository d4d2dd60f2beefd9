"""Which errors are retried, how often, and how long until the next attempt; Retry and Snooze."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any

from django_tasks.errors import InvalidTaskOptions

Seconds = float | int | timedelta


def to_seconds(value: Any, option: str) -> float:
    """Seconds as a float ≥ 0, from a number or a timedelta. Raises ``InvalidTaskOptions``."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e10:
        raise InvalidTaskOptions(
            f"{option} is {value!r}; it must be a number of seconds, at least 0, or a timedelta."
        )
    return float(value)


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt. ``first``, ``ceiling``: seconds."""

    first: float = 1.0
    factor: float = 4.0
    ceiling: float = 3600.0
    jitter: bool = True

    def delay(self, attempt: int) -> float:
        """Seconds to wait before attempt ``attempt + 1``.

        ``first * factor ** (attempt - 1)``, at most ``ceiling``, then full jitter: uniform in
        [0, that]. Full jitter keeps a failed batch from returning as one (M. Brooker,
        "Exponential Backoff And Jitter", 2015). Raises ``ValueError`` if ``attempt`` < 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt is {attempt}; attempts are counted from 1.")
        if self.first == 0:
            return 0.0  # at once, also where the power below overflows
        try:
            longest = min(self.first * self.factor ** (attempt - 1), self.ceiling)
        except OverflowError:
            longest = self.ceiling
        return random.uniform(0, longest) if self.jitter else longest


def to_backoff(value: Any) -> Backoff:
    """From what a user writes: a first delay; (first, factor, ceiling, jitter), of which the last
    ones may be left out; or a dict of them. Raises ``InvalidTaskOptions``."""
    names = [field.name for field in fields(Backoff)]
    if isinstance(value, Backoff):
        value = asdict(value)
    if isinstance(value, Mapping):
        unknown = set(value) - set(names)
        if unknown:
            raise InvalidTaskOptions(
                f"backoff has unknown keys {', '.join(map(repr, sorted(unknown)))};"
                f" known: {', '.join(names)}."
            )
        given = dict(value)
    elif isinstance(value, tuple | list):
        if len(value) > len(names):
            raise InvalidTaskOptions(f"backoff has {len(value)} parts: ({', '.join(names)}).")
        given = dict(zip(names, value, strict=False))
    else:
        given = {"first": value}
    for name in ("first", "ceiling"):
        if name in given:
            given[name] = to_seconds(given[name], f"backoff: {name}")
    factor = given.get("factor", Backoff.factor)
    # Also NaN, which compares with nothing.
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor < 1e10:
        raise InvalidTaskOptions(f"backoff: factor is {factor!r}; it must be a number ≥ 1.")
    jitter = given.get("jitter", True)
    if not isinstance(jitter, bool):
        raise InvalidTaskOptions(f"backoff: jitter is {jitter!r}; it must be True or False.")
    return Backoff(**{**given, "factor": float(factor)})


class _Later(Exception):
    """Raised by a task, not an error: it ends the run and names when the next begins."""

    def __init__(self, reason: str = "", *, in_: Seconds | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = None if in_ is None else to_seconds(in_, f"{type(self).__name__}(in_=…)")


class Retry(_Later):
    """``raise Retry(in_=60)``: this attempt failed, try again then (else by the backoff)."""


class Snooze(_Later):
    """``raise Snooze(in_=60)``: not yet; run again then. Not counted as an attempt."""


@dataclass(frozen=True)
class RetryPolicy:
    """``retries``: how often after the first attempt; ``retry_for``: for which errors."""

    retries: int
    retry_for: tuple[type[BaseException], ...]
    backoff: Backoff

    def delay_after(self, error: BaseException, attempt: int) -> float | None:
        """Seconds until the next attempt after the ``attempt``-th failed; None: give up."""
        if attempt > self.retries:
            return None
        if isinstance(error, Retry):
            return self.backoff.delay(attempt) if error.delay is None else error.delay
        return self.backoff.delay(attempt) if isinstance(error, self.retry_for) else None
