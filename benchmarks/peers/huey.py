"""Huey: RedisHuey (a list, blocking pop), its own consumer with two worker processes.

    UNCUT_BENCH_MODE=results|no-results python -m benchmarks.peers.huey throughput 20000
    UNCUT_BENCH_MODE=idle python -m benchmarks.peers.huey idle 300

For the round trip ``notify_result`` is on (its waiting without polling); for throughput it is off,
since it costs two commands a task."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huey import RedisHuey

from benchmarks.waiting import drain_rate, percentile, running

MODE = os.environ["UNCUT_BENCH_MODE"]
app = RedisHuey(
    "bench",
    url=os.environ["UNCUT_BENCH_URL"],
    blocking=True,
    results=MODE != "no-results",
    store_none=True,
    notify_result=MODE == "idle",
)


@app.task()
def nothing() -> None:
    """Nothing."""


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


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    told = idle(count) if what == "idle" else throughput(count)
    print(json.dumps({**told, "version": version("huey")}))


if __name__ == "__main__":
    # Under its own name: a task's name has that of its module in it.
    from benchmarks.peers.huey import main as run

    run()
