"""Tasks that end in different ways."""

from __future__ import annotations

from typing import Any

from django_tasks import django_task


@django_task(retries=0)
def breaks(reason: str) -> None:
    raise ValueError(reason)


@django_task(retries=2, backoff=0, takes_context=True)
def third_time(context: Any) -> int:
    if context.attempt < 3:
        raise OSError(f"attempt {context.attempt}")
    return int(context.attempt)


@django_task(record="never", retries=0)
def thrown_away(number: int) -> int:
    return number + 1


@django_task(record="after")
def noted(number: int) -> int:
    return number + 1
