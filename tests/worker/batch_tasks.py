"""Tasks for tests of batches and deploys: short ones, stuck ones, ones that grow."""

from __future__ import annotations

import ctypes
import os
import threading
import time

from django_tasks import django_task
from tests.worker.live_tasks import HELD, folder, note


@django_task(retries=0)
def surprise(key: str, is_stuck: bool) -> None:
    """Short, so claimed in batches; a stuck one holds even the interpreter's lock, as code in C
    may, until the test lets it go."""
    if is_stuck:
        note(f"stuck {key}")
        nap = ctypes.PyDLL(None).usleep  # PyDLL: the lock is not released meanwhile
        end = time.monotonic() + HELD
        while not (folder() / f"go-{key}").exists() and time.monotonic() < end:
            nap(100_000)
    note(f"ran {key}")


@django_task(retries=0)
def sleep_for(key: str, seconds: float) -> None:
    note(f"begins {key}")
    threading.Event().wait(seconds)
    note(f"ends {key}")


_kept: list[bytes] = []


@django_task(retries=0)
def grow(megabytes: int) -> int:
    """Keeps so much in memory; returns its process."""
    _kept.append(b"x" * (megabytes * 1_000_000))
    return os.getpid()
