"""Huey: RedisHuey (a list, blocking pop), its own consumer with two worker processes.

    UNCUT_BENCH_MODE=results|no-results python -m benchmarks.peers.huey throughput 20000
    UNCUT_BENCH_MODE=idle python -m benchmarks.peers.huey idle 300
    UNCUT_BENCH_MODE=joined python -m benchmarks.peers.huey chord 1000

For the round trip and for what is joined ``notify_result`` is on (its waiting without polling); for
throughput it is off, since it costs two commands a task."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huey import RedisHuey, group

from benchmarks.waiting import drain_rate, percentile, running, shortest

MODE = os.environ["UNCUT_BENCH_MODE"]
WARM = 20  # small ones before
app = RedisHuey(
    "bench",
    url=os.environ["UNCUT_BENCH_URL"],
    blocking=True,
    results=MODE != "no-results",
    store_none=True,
    notify_result=MODE in ("idle", "joined"),
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


@app.task()
def stamp() -> int:
    """When the body began, in nanoseconds."""
    return time.monotonic_ns()


def consumer() -> Any:
    """Its own program. No periodic tasks, nothing logged."""
    command = ["-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.app"]
    options = ["--worker-type", "process", "--workers", "2", "--no-periodic", "--quiet"]
    log = Path(os.environ["UNCUT_BENCH_LOG"])
    return running([sys.executable, *command, *options], log, {}, Path.cwd())


def throughput(count: int) -> dict[str, object]:
    """Tasks per second, all queued before."""
    for _ in range(count):
        nothing()
    with consumer():
        return {"rate": drain_rate(app.storage.queue_size, count, 300)}


def idle(count: int) -> dict[str, object]:
    """Medians in microseconds: from the enqueue's return to the body, from its call to the body,
    and from its call to the result."""
    started, reached, answered = [], [], []
    with consumer():
        for _ in range(20):
            stamp().get(blocking=True, timeout=60)
        for _ in range(count):
            time.sleep(0.005)
            called = time.monotonic_ns()
            result = stamp()
            returned = time.monotonic_ns()
            time.sleep(0.005)
            body = result.get(blocking=True, timeout=60)
            started.append((body - returned) / 1000)
            reached.append((body - called) / 1000)
        for _ in range(count):
            time.sleep(0.005)
            began = time.monotonic_ns()
            stamp().get(blocking=True, timeout=60)
            answered.append((time.monotonic_ns() - began) / 1000)
    told = {"started": started, "reached": reached, "answered": answered}
    return {name: percentile(found, 0.5) for name, found in told.items()}


def chain(count: int) -> int:
    """The end's value, once it is here: a pipeline."""
    pipeline = link.s(0)
    for _ in range(count - 1):
        pipeline.then(link)
    *_, last = app.enqueue(pipeline)
    return int(last.get(blocking=True, timeout=60))


def chord(count: int) -> int:
    """The body's value, once it is here."""
    joined = group([nothing.s() for _ in range(count)]).then(total)
    return int(app.enqueue(joined).get(blocking=True, timeout=60))


def joined(form: Callable[[int], int], count: int) -> dict[str, object]:
    """Seconds, the least of some, with workers that wait."""
    with consumer():
        shortest(lambda: form(2), 2, WARM)
        return {"seconds": shortest(lambda: form(count), count)}


MEASURED: dict[str, Callable[[int], dict[str, object]]] = {
    "throughput": throughput,
    "idle": idle,
    "chain": partial(joined, chain),
    "chord": partial(joined, chord),
}


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    told = MEASURED[what](count)
    print(json.dumps({**told, "version": version("huey")}))


if __name__ == "__main__":
    # Under its own name: a task's name has that of its module in it.
    from benchmarks.peers.huey import main as run

    run()
