"""Tasks for tests of a cancel: they say what they hear of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Event, Thread
from time import sleep  # what tasks do; a test waits for events

from asgiref.sync import sync_to_async

from django_tasks import django_task
from tests.worker.live_tasks import HELD, folder, note, wait_for_file


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


@django_task(retries=0)
def busy(key: str, naps: int = 10) -> str:
    """Short, but not so short that no signal meets it."""
    note(f"began {key}")
    for _ in range(naps):
        sleep(0.0005)
    return key


@django_task(retries=0)
def hold_in(body: str, key: str) -> None:
    """Waits for half a minute as tasks wait: wherever that is, a cancel ends it."""
    note(f"began {key}")
    BODIES[body](key)


def _in_threads(key: str) -> None:
    """The main thread waits for others, which look now and then whether they still have to."""
    is_over = Event()
    threads = [Thread(target=is_over.wait, args=(HELD,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _in_a_program(key: str) -> None:
    # A program that ends by nothing but the cancel; nobody waits these seconds.
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(30)"
    with (folder() / f"program-{key}").open("w") as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)


def _in_a_fork(key: str) -> None:
    pid = os.fork()
    if not pid:
        sleep(HELD)
        os._exit(0)
    try:
        os.waitpid(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        note(f"tidied {key}")


BODIES: dict[str, Callable[[str], object]] = {
    "sleep": lambda key: sleep(HELD),
    "loop": lambda key: [None for _ in range(10**10)],
    "threads": _in_threads,
    "program": _in_a_program,
    "fork": _in_a_fork,
}


@django_task(retries=0)
async def hold_shielded(key: str) -> None:
    """A coroutine that goes on, whatever it hears."""
    note(f"began {key}")
    try:
        await asyncio.sleep(HELD)
    except asyncio.CancelledError:
        note(f"heard {key} CancelledError")
        await asyncio.sleep(HELD)


@django_task(retries=0)
async def hold_in_sync(key: str) -> None:
    """It awaits what is no coroutine and runs in the thread that hears the signal."""
    try:
        await sync_to_async(_begin_and_wait)(key)
    except asyncio.CancelledError:
        note(f"heard {key} CancelledError")
        raise


def _begin_and_wait(key: str) -> None:
    note(f"began {key}")
    wait_for_file(f"go-{key}")
    note(f"ended {key}")


@django_task(retries=0)
def query(key: str, seconds: float) -> list[object]:
    """A query that takes so long, in no transaction of the task's own; what it answers."""
    from django.db import connection

    slowly = "SELECT pg_sleep(%s)" if connection.vendor == "postgresql" else "SELECT sleep(%s)"
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # connected
        note(f"began {key}")
        if seconds:
            cursor.execute(slowly, [seconds])
        cursor.execute("SELECT %s, 7", [key])
        return list(cursor.fetchone())
