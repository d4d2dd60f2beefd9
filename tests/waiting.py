"""Waiting for what happens, instead of sleeping and hoping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, message: str = "") -> T:
    """What ``predicate`` returns once that is true. Raises ``AssertionError`` after ``timeout``
    seconds."""
    end = time.monotonic() + timeout
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {message or predicate}")
        threading.Event().wait(0.005)
