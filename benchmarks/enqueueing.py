"""What an enqueue costs, beside the bare INSERT of the same row; and what each option costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from benchmarks import tasks
from benchmarks.project import QUEUE, Project
from benchmarks.report import Report
from django_tasks import django_task, enqueue_many
from django_tasks.broker import get_broker
from django_tasks.calls.retries import Backoff

BLOCK = 100  # calls that are timed at once


@django_task(record="first", database="sqlite")
def on_sqlite(a: int, b: int) -> None:
    """Nothing."""


def best_us(variants: dict[str, Callable[[], Any]], count: int) -> dict[str, float]:
    """Microseconds of each call: blocks in turns, so that what disturbs one disturbs all; the
    median of the blocks."""
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(max(count // BLOCK, 1)):
        for name, call in variants.items():
            began = time.perf_counter()
            for _ in range(BLOCK):
                call()
            spent[name].append((time.perf_counter() - began) / BLOCK * 1_000_000)
    return {name: sorted(found)[len(found) // 2] for name, found in spent.items()}


def one_call(project: Project, report: Report, count: int) -> None:
    """One recorded call in autocommit, against ``save()`` of an equal row."""
    databases = {"sqlite": ("SQLite", on_sqlite)}
    if project.postgres:
        databases["default"] = ("PostgreSQL", tasks.with_arguments.using(record="first"))
    for alias, (name, task) in databases.items():
        project.fresh()
        costs = best_us(
            {
                "enqueue": partial(task.enqueue, 1, 2),
                "INSERT": partial(_insert, alias, task.task_name),
            },
            count,
        )
        report.add("enqueue", f"ORM INSERT, {name}", costs["INSERT"], "µs")
        report.add(
            "enqueue",
            f"one recorded call, {name}",
            costs["enqueue"],
            "µs",
            ratio=costs["enqueue"] / costs["INSERT"],
            of="ORM INSERT",
            target=("≤", 1.3),
        )


def _insert(alias: str, name: str) -> None:
    """The row that ``enqueue(1, 2)`` writes, as anybody would write it."""
    from django.utils import timezone

    from django_tasks.models import TaskRecord

    now = timezone.now()
    TaskRecord.objects.using(alias).create(
        task_name=name,
        description="with_arguments(1, 2)",
        queue_name=QUEUE,
        args=[1, 2],
        kwargs={},
        max_attempts=4,
        created_at=now,
        enqueued_at=now,
    )


def many(project: Project, report: Report, count: int, bare: float) -> None:
    """Rows and messages per second of ``enqueue_many``; best of three."""
    rates = []
    for _ in range(3):
        project.fresh()
        began = time.perf_counter()
        for start in range(0, count, 1000):
            enqueue_many([tasks.first.s() for _ in range(min(1000, count - start))])
        get_broker().settle()  # until the broker has said that it has them
        rates.append(count / (time.perf_counter() - began))
        arrived = project.left()
        assert arrived == count, f"{arrived} of {count} arrived"
    database = "PostgreSQL" if project.postgres else "SQLite"
    report.add(
        "enqueue-many",
        f"enqueue_many, a thousand at once, {database}",
        max(rates),
        "rows + messages/s",
        ratio=max(rates) / bare,
        of="bare loop",
        # 20,000/s where the bare loop makes 6,100.
        target=("≥", 3.28) if project.postgres else None,
    )


def options(project: Project, report: Report, *, calls: int, runs: int) -> None:
    """Each option against the same task without it: at the enqueue, and until it is finished."""
    plain = tasks.never
    variants: dict[str, Any] = {
        "nothing": plain,
        "priority": plain.using(priority=5),
        "retries": plain.using(retries=7),
        "backoff": plain.using(backoff=Backoff(first=2.0)),
        "expires": plain.using(expires=3600),
        "run_after": plain.using(run_after=timedelta(hours=1)),
        "two arguments": tasks.with_arguments,
        "takes_context": tasks.with_context,
    }
    project.fresh()
    arguments = {"two arguments": (1, 2)}
    costs = best_us(
        {name: partial(task.enqueue, *arguments.get(name, ())) for name, task in variants.items()},
        calls,
    )
    report.add("options", 'enqueue, record="never", no option', costs["nothing"], "µs")
    for name in list(variants)[1:]:
        report.add("options", f"{name}: more at the enqueue", costs[name] - costs["nothing"], "µs")
    del variants["run_after"]
    _executions(project, report, variants, arguments, runs)
    _promotion(project, report, runs)


def _executions(
    project: Project,
    report: Report,
    variants: dict[str, Any],
    arguments: dict[str, tuple[Any, ...]],
    runs: int,
) -> None:
    """One child, the variants in turns, the best of three; then a worker that logs each task."""
    best: dict[str, float] = {}
    for verbosity, chosen in ((0, variants), (1, {"a line of log": variants["nothing"]})):
        project.fresh()
        with project.worker(1, verbosity):
            for _ in range(3):
                for name, task in chosen.items():
                    project.hold()
                    project.enqueue(task, runs, *arguments.get(name, ()))
                    began = time.perf_counter()
                    project.release()
                    project.wait_finished()
                    spent = (time.perf_counter() - began) / runs * 1_000_000
                    best[name] = min(best.get(name, spent), spent)
    report.add("options", "execution by one child, no option", best["nothing"], "µs")
    for name in list(best)[1:]:
        report.add("options", f"{name}: more per execution", best[name] - best["nothing"], "µs")


def _promotion(project: Project, report: Report, count: int) -> None:
    """What ``run_after`` adds once its time has come: scheduled → ready."""
    project.fresh()
    count = min(count, 1000)
    project.enqueue(tasks.never.using(run_after=timedelta(seconds=0.5 + count / 2000)), count)
    while project.broker.backlog(QUEUE)["scheduled"]:
        began = time.perf_counter()
        promoted = project.broker.promote(QUEUE).promoted
        took = time.perf_counter() - began
        if promoted == count:
            report.add("options", "run_after: more when due", took / count * 1_000_000, "µs")
            return
        time.sleep(0.2)
    report.skip("options", "the scheduled calls became due one after another")
