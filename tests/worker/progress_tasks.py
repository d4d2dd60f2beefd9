"""Tasks that tell of their progress, for tests of the worker (live_tasks.py has the others)."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

from django_tasks import Retry, django_task
from tests.worker.live_tasks import fail_until, note, wait_for_file


@django_task(takes_context=True, retries=0)
def walk(context: Any, key: str, steps: int) -> int:
    """One step each time that the test lets it go."""
    for step in range(1, steps + 1):
        context.progress(step, steps, f"step {step}")
        context.log("%s is at step %d", key, step)
        note(f"{key} step {step}")
        wait_for_file(f"go-{key}-{step}")
    return steps


@django_task(takes_context=True, retries=0)
async def awalk(context: Any, key: str) -> None:
    """The same in a coroutine, from its loop and from a thread of it."""
    context.progress(1, 2, "in the loop")
    await asyncio.to_thread(context.progress, 2, 2, "in a thread")
    note(f"{key} step 2")
    await asyncio.to_thread(wait_for_file, f"go-{key}")


@django_task(takes_context=True, retries=0)
def hurry(context: Any, key: str, calls: int) -> float:
    """Microseconds of processor time that a call took."""
    note(f"began {key}")
    began = time.thread_time()
    for number in range(calls):
        context.progress(number + 1, calls)
    took = time.thread_time() - began
    note(f"told {key}")
    wait_for_file(f"go-{key}")
    return took / calls * 1e6


@django_task(takes_context=True, retries=0)
def chatter(context: Any, key: str, lines: int, length: int) -> None:
    for number in range(lines):
        context.log("%d " + "x" * length, number)
    note(f"told {key}")
    wait_for_file(f"go-{key}")


@django_task(takes_context=True, retries=1, backoff=0)
def tell_once(context: Any, key: str) -> None:
    """Its first run tells and fails; the second tells nothing."""
    if context.attempt == 1:
        context.progress(1, 2, "of the first run")
        raise Retry(in_=0)
    note(f"silent {key}")
    wait_for_file(f"go-{key}")


@django_task(takes_context=True, retries=0)
def die_telling(context: Any, key: str) -> None:
    """Its first run is killed by the test, or kills itself at once; the next one is silent."""
    try:
        fail_until(key, 1)
    except OSError:
        context.progress(1, 2, "last words")
        context.log("here it ends")
        note(f"spoke {key}")
        if key.startswith("sudden"):
            os._exit(1)
        wait_for_file(f"go-{key}")


@django_task(takes_context=True)
def leave_a_thread(context: Any, key: str) -> None:
    """What it leaves behind goes on speaking."""

    def speak() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            context.progress(666, 1000, "of a run that is over")
            threading.Event().wait(0.001)

    threading.Thread(target=speak, daemon=True).start()
    note(f"left {key}")
