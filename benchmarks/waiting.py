"""Waiting and reckoning, with nothing but the standard library: peers use it too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
TRIES = 2  # in a round, of what takes a worker's start to measure once


def wait_until(predicate: Callable[[], T], timeout: float, what: str, pause: float = 0.005) -> T:
    """What ``predicate`` returns once that is true. Raises ``TimeoutError``."""
    end = time.monotonic() + timeout
    while not (found := predicate()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)
    return found


def drain_rate(left: Callable[[], int], count: int, timeout: float) -> float:
    """Messages per second while a queue goes from 90 % to 10 % of ``count``: how its consumers
    start and how they end does not count."""

    def seen(bound: float) -> tuple[float, int]:
        def look() -> tuple[float, int] | None:
            found = left()
            return (time.perf_counter(), found) if found <= bound else None

        told = wait_until(look, timeout, f"at most {bound:.0f} of {count} are left", 0.002)
        assert told is not None
        return told

    (began, first), (ended, last) = seen(count * 0.9), seen(count * 0.1)
    return (first - last) / (ended - began)


def shortest(call: Callable[[], T], expected: T, tries: int = TRIES) -> float:
    """Seconds that ``call`` takes, the least of ``tries``. Raises ``AssertionError`` if it returns
    anything but what is ``expected``."""
    spent = []
    for _ in range(tries):
        began = time.perf_counter()
        found = call()
        spent.append(time.perf_counter() - began)
        assert found == expected, f"{found!r:.200} is not {expected!r:.200}"
    return min(spent)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own, all of it gone with the block."""
    _adopt_orphans()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-process.pid, 0)


def _adopt_orphans() -> None:
    """What a program leaves behind becomes our child, so that we can wait for it: only then its CPU
    time counts as ours (machine.py)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, Linux
