"""Taskiq: taskiq-redis (a list, or a stream), its own worker with two processes; uvloop, orjson.

    UNCUT_BENCH_KIND=list|stream UNCUT_BENCH_MODE=results|no-results \\
        python -m benchmarks.peers.taskiq throughput 20000
    UNCUT_BENCH_KIND=list UNCUT_BENCH_MODE=results python -m benchmarks.peers.taskiq idle 300

The no-op is a coroutine: it needs no thread of a pool."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
import uvloop
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.waiting import drain_rate, percentile, running

URL = os.environ["UNCUT_BENCH_URL"]
KIND, MODE = os.environ["UNCUT_BENCH_KIND"], os.environ["UNCUT_BENCH_MODE"]
LINE = "bench"
CHECK = 0.001  # seconds between two looks for a result; its default is 0.2


broker: Any = {"list": ListQueueBroker, "stream": RedisStreamBroker}[KIND](URL, queue_name=LINE)
broker = broker.with_serializer(ORJSONSerializer())
if MODE == "results":
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, serializer=ORJSONSerializer()))


@broker.task(task_name="nothing")
async def nothing() -> None:
    """Nothing."""


@broker.task(task_name="stamp")
async def stamp() -> int:
    """When the body began, in nanoseconds."""
    return time.monotonic_ns()


def worker() -> Any:
    """Its own program, with the same environment."""
    command = ["-m", "taskiq", "worker", "benchmarks.peers.taskiq:broker"]
    options = ["--workers", "2", "--log-level", "ERROR", "--no-parse"]
    log = Path(os.environ["UNCUT_BENCH_LOG"])
    return running([sys.executable, *command, *options], log, {}, Path.cwd())


async def throughput(count: int) -> dict[str, object]:
    """Tasks per second, all queued before."""
    await broker.startup()
    for start in range(0, count, 100):
        await asyncio.gather(*(nothing.kiq() for _ in range(min(100, count - start))))
    client = redis.Redis.from_url(URL)

    def left() -> int:
        if KIND == "list":
            return int(client.llen(LINE))
        [group] = client.xinfo_groups(LINE)
        return int(group["lag"] or 0) + int(group["pending"])

    with worker():
        rate = drain_rate(left, count, 300)
    await broker.shutdown()
    return {"rate": rate}


async def idle(count: int) -> dict[str, object]:
    """Medians in microseconds: from the enqueue's return to the body, from its call to the body,
    and from its call to the result."""
    await broker.startup()
    started, reached, answered = [], [], []
    with worker():
        for _ in range(20):
            await (await stamp.kiq()).wait_result(check_interval=CHECK, timeout=60)
        for _ in range(count):
            await asyncio.sleep(0.005)
            called = time.monotonic_ns()
            task = await stamp.kiq()
            returned = time.monotonic_ns()
            await asyncio.sleep(0.005)
            result = await task.wait_result(check_interval=CHECK, timeout=60)
            started.append((result.return_value - returned) / 1000)
            reached.append((result.return_value - called) / 1000)
        for _ in range(count):
            await asyncio.sleep(0.005)
            began = time.monotonic_ns()
            await (await stamp.kiq()).wait_result(check_interval=CHECK, timeout=60)
            answered.append((time.monotonic_ns() - began) / 1000)
    await broker.shutdown()
    told = {"started": started, "reached": reached, "answered": answered}
    return {name: percentile(found, 0.5) for name, found in told.items()}


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    told = uvloop.run(idle(count) if what == "idle" else throughput(count))
    print(json.dumps({**told, "version": version("taskiq")}))


if __name__ == "__main__":
    from benchmarks.peers.taskiq import main as run

    run()
