"""How long an idle worker takes to begin, and how long short tasks stand behind long ones."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import tasks
from benchmarks.project import Project
from benchmarks.report import Report
from benchmarks.waiting import percentile

TIMEOUT = 60.0  # seconds
FROM_RETURN = "enqueue returned to first line"
FROM_CALL = "enqueue called to first line"
TO_RESULT = "enqueue called to result"


def idle(project: Project, report: Report, count: int) -> None:
    """From ``enqueue()`` called, and from its return, to the body's first line (which may be the
    earlier); and from ``enqueue()`` to ``get()``'s answer. Two children with nothing else to do,
    ``record="never"``."""
    project.fresh()
    started, reached, answered = [], [], []
    with project.worker(2):
        for _ in range(20):
            tasks.stamp.enqueue().get(timeout=TIMEOUT)
        for _ in range(count):
            _pause()
            called = time.monotonic_ns()
            result = tasks.stamp.enqueue()
            returned = time.monotonic_ns()
            time.sleep(0.005)  # so that what waits for the result does not disturb
            body = result.get(timeout=TIMEOUT)
            started.append((body - returned) / 1000)
            reached.append((body - called) / 1000)
        for _ in range(count):
            _pause()
            began = time.monotonic_ns()
            tasks.stamp.enqueue().get(timeout=TIMEOUT)
            answered.append((time.monotonic_ns() - began) / 1000)
    told = {FROM_RETURN: started, FROM_CALL: reached, TO_RESULT: answered}
    for name, found in told.items():
        for share in (0.5, 0.95):
            report.add_least("idle", f"{name}, p{share * 100:.0f}", percentile(found, share), "µs")


def of_peer(report: Report, case: str, told: dict[str, float]) -> None:
    """The same of a peer, as its file tells it."""
    for name, key in ((FROM_RETURN, "started"), (FROM_CALL, "reached"), (TO_RESULT, "answered")):
        report.add_least(case, f"{name}, p50", told[key], "µs")


def _pause() -> None:
    """Until both children wait again; not in step with anything of theirs."""
    time.sleep(random.uniform(0.003, 0.008))


def behind_long(project: Project, report: Report, *, long: int, short: int, seconds: float) -> None:
    """``long`` tasks of ``seconds`` among ``short`` ones of 1 ms, two children. What is told: the
    longest time that a child stood free while a short task waited; and the whole wait."""
    project.fresh()
    project.hold()
    with project.worker(2):
        each = short // long
        results = []
        for _ in range(long):
            results.append((True, tasks.busy_long.enqueue(seconds)))
            results += [(False, tasks.busy.enqueue(0.001)) for _ in range(each)]
        released = time.monotonic()
        project.release()
        runs = [(is_long, result.get(timeout=600)) for is_long, result in results]
    pids = sorted({run[2] for _, run in runs})
    free = {pid: _free(released, [run for _, run in runs if run[2] == pid]) for pid in pids}
    stood, waited = [], []
    for is_long, (began, _, _) in runs:
        if not is_long:
            waited.append(began - released)
            stood.append(
                max(
                    min(end, began) - start
                    for gaps in free.values()
                    for start, end in gaps
                    if start < began
                )
            )
    milliseconds = 1000.0
    report.add(
        "behind-long",
        "a child free while a short task waits, p99",
        percentile(stood, 0.99) * milliseconds,
        "ms",
        target=("≤", 100.0),
    )
    report.add(
        "behind-long", "the same, longest", max(stood) * milliseconds, "ms", target=("≤", 100.0)
    )
    report.add("behind-long", "whole wait of a short task, p99", percentile(waited, 0.99), "s")
    report.add("behind-long", "until all are done", max(run[1] for _, run in runs) - released, "s")


def _free(released: float, runs: Sequence[Any]) -> list[tuple[float, float]]:
    """When a child ran nothing, from the release on; also after its last run."""
    own = sorted((began, ended) for began, ended, _ in runs)
    edges = [(released, released), *own, (math.inf, math.inf)]
    return [(one[1], other[0]) for one, other in itertools.pairwise(edges)]
