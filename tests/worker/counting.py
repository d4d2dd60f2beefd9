"""A counter row, and tasks that add to it in the transaction of their own SUCCESSFUL."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.db import OperationalError, connection, transaction

from django_tasks import Retry, django_task

_failures: list[Exception] = []  # raised by the next runs, once each


def make_counter() -> None:
    """A table of its own with one row: 0."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS uncut_counter")
        cursor.execute("CREATE TABLE uncut_counter (value integer NOT NULL)")
        cursor.execute("INSERT INTO uncut_counter VALUES (0)")


def drop_counter() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS uncut_counter")


def counted() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM uncut_counter")
        return int(cursor.fetchone()[0])


def add_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE uncut_counter SET value = value + 1")


@django_task(atomic=True, retries=0)
def count(what: str = "", seconds: float = 0.0) -> str:
    """Adds one; ``what``: how it ends then."""
    add_one()
    if seconds:
        threading.Event().wait(seconds)
    if _failures:
        raise _failures.pop()
    if what == "fail":
        raise ValueError("after the count")
    if what == "retry":
        raise Retry(in_=60)
    if what == "open":
        transaction.set_autocommit(False)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return "counted"


def fail_next(*, sqlstate: str = "", number: int = 0, text: str = "conflict") -> None:
    """The next run ends as when the database says so, after its count."""

    class Cause(Exception):
        pass

    cause = Cause(text)
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    error: Any = OperationalError(number, text) if number else OperationalError(text)
    error.__cause__ = cause
    _failures.append(error)
