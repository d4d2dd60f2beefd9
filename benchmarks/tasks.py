"""What the benchmark's workers run. Times are of the monotonic clock, one for all processes."""

from __future__ import annotations

import os
import time
from typing import Any

from django_tasks import django_task


@django_task(record="never")
def never() -> None:
    """Nothing."""


@django_task(record="first")
def first() -> None:
    """Nothing."""


@django_task(record="first")
def link(number: int) -> int:
    """One more: the end of a chain tells how long it was."""
    return number + 1


@django_task(record="first")
def total(values: list[None]) -> int:
    """How many there are."""
    return len(values)


@django_task(record="after")
def after() -> None:
    """Nothing."""


@django_task(record="never")
def with_arguments(a: int, b: int) -> None:
    """Nothing."""


@django_task(record="never", takes_context=True)
def with_context(context: Any) -> None:
    """Nothing."""


@django_task(record="never")
def stamp() -> int:
    """When the body began, in nanoseconds."""
    return time.monotonic_ns()


@django_task(record="never")
def busy(seconds: float) -> tuple[float, float, int]:
    """Sleep; returns when the body began and ended, and the process."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic(), os.getpid()


# A name of its own: a child judges by the name how long a task runs.
@django_task(record="never")
def busy_long(seconds: float) -> tuple[float, float, int]:
    """As ``busy``."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic(), os.getpid()


BY_RECORDING = {"never": never, "first": first, "after": after}
