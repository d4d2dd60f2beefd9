"""Tasks that wait for each other, in two queues."""

from __future__ import annotations

import threading

from django_tasks import django_task


@django_task(name="joined.plus", max_lost=1000)  # chance may hit one of them three times
def add(a: int, b: int) -> int:
    threading.Event().wait(0.002)
    return a + b


@django_task(queue="news", max_lost=1000)
def far(a: int, b: int) -> int:
    return a + b


@django_task(name="joined.sum", max_lost=1000)
def total(numbers: list[int]) -> int:
    return sum(numbers)
