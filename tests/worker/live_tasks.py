"""Tasks for tests of the worker: they write what they do into the journal (running.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from django_tasks import Retry, Snooze, django_task
from django_tasks.task_signals import task_finished, task_started

HELD = 30.0  # seconds that hold() waits at most


def folder() -> Path:
    """Where the journal is, and the files that let held tasks go."""
    return Path(os.environ["UNCUT_LIVE_FOLDER"])


def note(words: str) -> None:
    """One line of the journal; whole lines, whoever else writes."""
    line = f"{time.time():.6f} {os.getpid()} {words}\n"
    journal = os.open(folder() / "journal", os.O_WRONLY | os.O_APPEND)
    os.write(journal, line.encode())
    os.close(journal)


def wait_for_file(name: str) -> None:
    end = time.monotonic() + HELD
    while not (folder() / name).exists() and time.monotonic() < end:
        threading.Event().wait(0.005)


@django_task
def add(a: int, b: int) -> int:
    return a + b


@django_task
def echo(value: Any) -> Any:
    return value


@django_task
def tell(key: str) -> None:
    note(f"ran {key}")


@django_task(retries=0)
def hold(key: str) -> str:
    """Runs until the test lets it go."""
    note(f"began {key}")
    wait_for_file(f"go-{key}")
    note(f"ended {key}")
    return key


@django_task(retries=1, backoff=0)
def hold_second(key: str) -> None:
    """Fails once, then runs until the test lets it go."""
    fail_until(f"{key} before", 1)
    note(f"began {key}")
    wait_for_file(f"go-{key}")


@django_task
def count_rows() -> int:
    from django_tasks.models import TaskRecord

    return TaskRecord.objects.count()


@django_task(retries=0)
def use_connection(what: str) -> dict[str, Any]:
    """Whether this database session is the one that an earlier task marked, by a table that only
    the session sees."""
    from django.db import DatabaseError, connection, transaction

    with connection.cursor() as cursor:
        if what == "mark":
            cursor.execute("CREATE TEMPORARY TABLE uncut_mark (id integer)")
        try:
            with transaction.atomic():
                cursor.execute("SELECT count(*) FROM uncut_mark")
            is_marked = True
        except DatabaseError:
            is_marked = False
    in_transaction = connection.in_atomic_block or not connection.get_autocommit()
    return {"is_marked": is_marked, "pid": os.getpid(), "in_transaction": in_transaction}


@django_task(retries=0)
def tell_session(key: str) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        session = int(cursor.fetchone()[0])
    note(f"began {key}")
    wait_for_file(f"go-{key}")
    return session


@django_task(retries=0)
def break_connection() -> None:
    """As when the database is restarted under a task."""
    from django.db import connection

    with connection.cursor() as cursor:
        mine = {"mysql": "KILL CONNECTION_ID()"}
        cursor.execute(mine.get(connection.vendor, "SELECT pg_terminate_backend(pg_backend_pid())"))


@django_task(retries=0)
def leave_transaction_open() -> None:
    from django.db import transaction

    from django_tasks.models import TaskRecord

    transaction.atomic().__enter__()
    TaskRecord.objects.create(task_name="written and lost", status="CANCELLED")


@django_task(queue="mail")
def mail(key: str) -> None:
    note(f"ran {key}")


@django_task(queue="bulk")
def bulk(key: str) -> None:
    note(f"ran {key}")


# -- errors of every kind ---------------------------------------------------------------------


class Unshowable(Exception):
    """Neither its text nor its repr can be had."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class OwnBase(BaseException):
    """What `except Exception` does not catch."""


def recurse() -> None:
    recurse()


def exhaust_memory() -> None:
    bytearray(1 << 62)


def raise_group() -> None:
    raise ExceptionGroup("two", [ValueError("one"), OSError("other")])


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


FAILURES: dict[str, Callable[[], None]] = {
    "builtins.ValueError": raising(ValueError("wrong")),
    "builtins.SystemExit": raising(SystemExit(3)),
    "builtins.KeyboardInterrupt": raising(KeyboardInterrupt()),
    "builtins.GeneratorExit": raising(GeneratorExit()),
    "builtins.StopIteration": raising(StopIteration(1)),
    "builtins.RecursionError": recurse,
    "builtins.MemoryError": exhaust_memory,
    "builtins.ExceptionGroup": raise_group,
    "asyncio.exceptions.CancelledError": raising(asyncio.CancelledError()),
    "tests.worker.live_tasks.OwnBase": raising(OwnBase("own")),
    "tests.worker.live_tasks.Unshowable": raising(Unshowable()),
}


@django_task(retries=0)
def fail(kind: str) -> None:
    FAILURES[kind]()


@django_task(retries=0)
async def fail_async(kind: str) -> None:
    await asyncio.sleep(0)
    FAILURES[kind]()


@django_task(retries=0)
def return_set() -> Any:
    return {1, 2}


@django_task(retries=0)
def return_nan() -> float:
    return float("nan")


@django_task(retries=0)
def return_generator() -> Iterator[int]:
    yield 1


@django_task(retries=0)
def return_coroutine() -> Any:
    coroutine = asyncio.sleep(0)
    coroutine.close()
    return coroutine


@django_task(retries=0)
async def return_async_generator() -> AsyncIterator[int]:
    yield 1


@django_task(retries=0)
def return_loop() -> Any:
    endless: list[Any] = []
    endless.append(endless)
    return endless


class Expected(Exception):
    """Listed in ``throws``."""


@django_task(throws=(Expected,), backoff=0)
def fail_as_expected() -> None:
    raise Expected("no stock")


# -- again --------------------------------------------------------------------------------------


def fail_until(key: str, times: int) -> int:
    """Fails so many times, then tells which run it is."""
    runs = (folder() / "journal").read_text().count(f" run {key}\n") + 1
    note(f"run {key}")
    if runs <= times:
        raise OSError(f"run {runs}")
    return runs


@django_task(retries=2, backoff=0)
def at_once(key: str, times: int) -> int:
    return fail_until(key, times)


@django_task(retries=1, backoff=(timedelta(seconds=0.3), 1, 1, False))
def by_tuple(key: str) -> int:
    return fail_until(key, 1)


@django_task(retries=1, backoff={"first": 0.3, "jitter": False})
def by_dict(key: str) -> int:
    return fail_until(key, 1)


@django_task(retries=1, backoff=timedelta(milliseconds=100))
def by_timedelta(key: str) -> int:
    return fail_until(key, 1)


@django_task(retries=5, retry_for=(ConnectionError,), backoff=0)
def only_for_connections(key: str) -> int:
    return fail_until(key, 1)


@django_task(retries=1, backoff=3600)
def retry_in(key: str, seconds: float, times: int) -> int:
    try:
        return fail_until(key, times)
    except OSError as error:
        raise Retry("busy", in_=seconds) from error


@django_task(retries=0)
def snooze_in(key: str, seconds: float, times: int) -> int:
    try:
        return fail_until(key, times)
    except OSError:
        raise Snooze("not yet", in_=timedelta(seconds=seconds)) from None


# -- what a task is told ------------------------------------------------------------------------


@django_task(takes_context=True, retries=1, backoff=0)
def look_around(context: Any, key: str) -> dict[str, Any]:
    fail_until(key, 1)
    return {
        "attempt": context.attempt,
        "id": context.result.id,
        "args": context.result.args,
        "worker_ids": context.result.worker_ids,
        "enqueued": str(context.result.enqueued_at),
    }


@django_task
async def count_records(key: str) -> int:
    from django_tasks.models import TaskRecord

    await asyncio.sleep(0)
    return await TaskRecord.objects.filter(description__contains=key).acount()


# -- what kills its process ---------------------------------------------------------------------


@django_task(retries=0)
def die(key: str, times: int, how: str = "kill") -> int:
    """Kills its process so many times."""
    runs = (folder() / "journal").read_text().count(f" run {key}\n") + 1
    note(f"run {key}")
    if runs <= times:
        if how == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


@django_task(retries=0, takes_context=True)
def touchy(context: Any, key: str) -> None:
    """Short, so claimed in batches; one called "dying…" kills its process, once, if its consumer
    holds others besides."""
    from django_tasks.broker import get_broker

    if key.startswith("dying") and not (folder() / "died").exists():
        consumer = context.result.worker_ids[-1]
        held = get_broker().holdings("default", consumer)
        if len(held) > 1:
            (folder() / "died").touch()
            note(f"dies {key}")
            os.kill(os.getpid(), signal.SIGKILL)
    note(f"ran {key}")


@django_task(retries=0, max_lost=2)
def deadly(key: str) -> None:
    note(f"run {key}")
    os.kill(os.getpid(), signal.SIGKILL)


def _touch_database() -> None:
    from django.db import connection

    connection.ensure_connection()
    note("import opened a connection")


if getattr(settings, "UNCUT_TOUCHES_DATABASE", False):
    _touch_database()


# -- signals ------------------------------------------------------------------------------------


def _on_started(sender: Any, task_result: Any, **_: Any) -> None:
    note(f"signal started {task_result.id} {task_result.status} ")
    if task_result.args == ["noisy-signal"]:
        raise ValueError("a receiver's own error")


def _on_finished(sender: Any, task_result: Any, **_: Any) -> None:
    if task_result.errors:
        note(
            f"signal finished {task_result.id} {task_result.status}"
            f" {task_result.errors[0].exception_class_path}"
        )
    elif task_result.state == "CANCELLED":
        note(f"signal finished {task_result.id} {task_result.status} ")
    else:
        note(f"signal finished {task_result.id} {task_result.status} {task_result.return_value}")


if "UNCUT_LIVE_FOLDER" in os.environ:  # only where a worker runs, not where tests enqueue
    task_started.connect(_on_started, dispatch_uid="tests.started")
    task_finished.connect(_on_finished, dispatch_uid="tests.finished")
