"""The unit of all ratios: what redis-py alone can do, one message at a time.

LMOVE to a list of one's own, decode the JSON, call a no-op, LREM. It keeps no results, knows no
task by name, retries nothing."""

from __future__ import annotations

import json
import time
from typing import Any

LINE, TAKEN = "bare:line", "bare:taken"


def fill(client: Any, count: int) -> None:
    """Queue ``count`` messages, as small as a call without arguments is."""
    for start in range(0, count, 1000):
        client.rpush(
            LINE,
            *(
                json.dumps({"id": one, "task": "nothing", "args": [], "kwargs": {}})
                for one in range(start, min(start + 1000, count))
            ),
        )


def drain(client: Any) -> int:
    """Take them all; returns how many there were."""
    done = 0
    while (raw := client.lmove(LINE, TAKEN, "LEFT", "RIGHT")) is not None:
        message = json.loads(raw)
        nothing(*message["args"], **message["kwargs"])
        client.lrem(TAKEN, 1, raw)
        done += 1
    return done


def nothing() -> None:
    """The no-op."""


def rate(client: Any, count: int) -> float:
    """Messages per second."""
    fill(client, count)
    began = time.perf_counter()
    done = drain(client)
    took = time.perf_counter() - began
    assert done == count, f"{done} of {count}"
    return done / took
