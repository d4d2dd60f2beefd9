"""Tasks that end in different ways."""

from __future__ import annotations

from typing import Any

from django_tasks import Snooze, django_task


@django_task(retries=0)
def breaks(reason: str) -> None:
    raise ValueError(reason)


@django_task(retries=2, backoff=0, takes_context=True)
def third_time(context: Any) -> int:
    if context.attempt < 3:
        raise OSError(f"attempt {context.attempt}")
    return int(context.attempt)


@django_task(retries=1, backoff=0, takes_context=True)
def hesitates(context: Any, key: str) -> int:
    """Snoozes twice, fails once, returns its attempt."""
    seen = _calls[key] = _calls.get(key, 0) + 1
    if seen in (1, 3):
        raise Snooze("not yet", in_=0)
    if seen == 2:
        raise OSError("no")
    return int(context.attempt)


_calls: dict[str, int] = {}


@django_task(record="never", retries=0)
def thrown_away(number: int) -> int:
    return number + 1


@django_task(record="after")
def noted(number: int) -> int:
    return number + 1
