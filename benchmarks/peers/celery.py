"""Celery: Redis as broker and result backend, its own worker with two prefork processes.

    UNCUT_BENCH_MODE=joined python -m benchmarks.peers.celery chord 1000

What its guide names for short tasks: a large prefetch multiplier, no rate limits, no events; and
nothing is told to other workers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import celery

from benchmarks.waiting import running, shortest

URL = os.environ["UNCUT_BENCH_URL"]
WARM = 20  # small ones before
app = celery.Celery("bench", broker=URL, backend=URL)
app.conf.update(
    task_ignore_result=False,
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task()
def nothing() -> None:
    """Nothing."""


@app.task()
def link(number: int) -> int:
    """One more: the end of a chain tells how long it was."""
    return number + 1


@app.task()
def total(values: list[None]) -> int:
    """How many there are."""
    return len(values)


def worker() -> Any:
    """Its own program, nothing logged."""
    command = ["-m", "celery", "--app", "benchmarks.peers.celery:app", "worker"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    options = ["--pool", "prefork", "--concurrency", "2", *quiet]
    log = Path(os.environ["UNCUT_BENCH_LOG"])
    return running([sys.executable, *command, *options], log, {}, Path.cwd())


def chain(count: int) -> int:
    """The end's value, once it is here."""
    links = [link.s(0), *(link.s() for _ in range(count - 1))]
    return int(celery.chain(links).apply_async().get(timeout=60))


def chord(count: int) -> int:
    """The body's value, once it is here."""
    header = [nothing.s() for _ in range(count)]
    return int(celery.chord(header, total.s()).apply_async().get(timeout=60))


FORMS: dict[str, Callable[[int], int]] = {"chain": chain, "chord": chord}


def main() -> None:
    form, count = FORMS[sys.argv[1]], int(sys.argv[2])
    with worker():
        shortest(lambda: form(2), 2, WARM)
        seconds = shortest(lambda: form(count), count)
    print(json.dumps({"seconds": seconds, "version": version("celery")}))


if __name__ == "__main__":
    # Under its own name: a task's name has that of its module in it.
    from benchmarks.peers.celery import main as run

    run()
