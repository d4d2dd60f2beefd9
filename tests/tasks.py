"""Tasks that tests enqueue; real functions, run by real workers."""

from __future__ import annotations

from django_tasks import django_task


@django_task
def add(a: int, b: int) -> int:
    """Two numbers' sum."""
    return a + b
