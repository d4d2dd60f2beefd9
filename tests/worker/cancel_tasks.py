"""Tasks for tests of a cancel: they say what they hear of it."""

from __future__ import annotations

import asyncio

from django_tasks import django_task
from tests.worker.live_tasks import HELD, note, wait_for_file


@django_task(retries=3, backoff=0)
def hold_and_tidy(key: str, how: str) -> str:
    """Runs until it is cancelled, and says what it notices; then ends as ``how`` says."""
    note(f"began {key}")
    try:
        wait_for_file(f"go-{key}")
    except BaseException as end:
        note(f"heard {key} {type(end).__name__}")
        if how == "raise":
            raise RuntimeError("could not tidy up") from end
        if how == "return":
            return "all the same"
        if how == "stay":
            wait_for_file(f"go-{key}")
        raise
    return "let go"


@django_task(retries=3, backoff=0)
async def hold_awaiting(key: str) -> None:
    """The same for a coroutine."""
    note(f"began {key}")
    try:
        await asyncio.sleep(HELD)
    except asyncio.CancelledError:
        note(f"heard {key} CancelledError")
        raise


@django_task(retries=0, atomic=True)
def hold_atomically(key: str) -> None:
    """What it writes goes with its cancel."""
    from django_tasks.models import TaskRecord

    TaskRecord.objects.create(task_name=f"made by {key}", status="SUCCESSFUL")
    note(f"began {key}")
    wait_for_file(f"go-{key}")
