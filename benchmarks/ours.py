"""Our throughput: real ``runworker`` processes, messages queued before, results kept.

The clock runs from the moment the waiting workers may claim until nothing is left: without how a
worker starts, with how its batches grow. With rows: until every row is final."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import machine, tasks
from benchmarks.project import PATIENCE, QUEUE, Project, Worker


@dataclass
class Run:
    """One round. ``rate``: tasks per second; ``cpu``: microseconds per task, by role;
    ``scripts``: what the server says of its commands."""

    rate: float
    cpu: dict[str, float] = field(default_factory=dict)
    scripts: dict[str, Any] = field(default_factory=dict)


def throughput(project: Project, *, recording: str, processes: int, count: int) -> Run:
    """``count`` no-ops, enqueued by ``enqueue_many`` before the workers may claim."""
    from django_tasks.worker.keeper import mirror_lease

    project.fresh()
    project.hold()
    project.enqueue(tasks.BY_RECORDING[recording], count)
    lease = mirror_lease(QUEUE, "default")
    if recording == "after":
        # The INSERTs belong to what is measured: no keeper copies anything before the start.
        assert project.broker.lease(lease, "bench", PATIENCE)
    with project.worker(processes) as worker:
        if recording == "first":
            project.wait_clean()  # the rows say READY
        project.server.reset_statistics()
        before = _cpu(project, worker)
        began = time.perf_counter()
        if recording == "after":
            project.broker.lease(lease, "bench", 0)
        project.release()
        project.wait_finished()
        if recording != "never":
            project.wait_clean()
        took = time.perf_counter() - began
        after = _cpu(project, worker)
    _verify(project, recording, count)
    cpu = {role: (after[role] - before[role]) / count for role in after}
    return Run(count / took, cpu, project.server.script_times())


def _cpu(project: Project, worker: Worker) -> dict[str, float]:
    return {
        "children": machine.cpu_us(worker.children),
        "supervisor": machine.cpu_us([worker.supervisor]),
        "keeper": machine.cpu_us(worker.keeper),
        "Redis": machine.cpu_us([project.server.pid]),
        "database": machine.cpu_us(project.database_pids()),
    }


def _verify(project: Project, recording: str, count: int) -> None:
    """Every task ran once and ended well; with rows, every row says so."""
    succeeded = project.succeeded()
    assert succeeded == count, f"{succeeded} of {count} tasks succeeded"
    if recording != "never":
        final = _records().successful().count()
        assert final == count, f"{final} of {count} rows are final"


def _records() -> Any:
    from django_tasks.models import TaskRecord

    return TaskRecord.objects


def cases(counts: dict[str, int]) -> dict[str, Any]:
    """Name → function of a project that gives a ``Run``."""
    return {
        "never-1": partial(throughput, recording="never", processes=1, count=counts["never"]),
        "never-2": partial(throughput, recording="never", processes=2, count=counts["never"]),
        "first-2": partial(throughput, recording="first", processes=2, count=counts["recorded"]),
        "after-2": partial(throughput, recording="after", processes=2, count=counts["recorded"]),
    }


# The ratio to the bare loop that each is to reach.
TARGETS = {"never-1": 2.5, "never-2": 4.5, "first-2": 1.6, "after-2": 1.6}
