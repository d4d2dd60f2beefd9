"""Calls that wait for each other: a chain and a chord, until the caller holds the value.

Two children that wait for work; rows are recorded first, as joined calls must be."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import tasks
from benchmarks.comparing import TO_VALUE
from benchmarks.project import Project
from benchmarks.report import Report
from benchmarks.waiting import TRIES, shortest

TIMEOUT = 60.0  # seconds
WARM = 20  # small ones before


def chain(count: int) -> int:
    """The end's value, once it is here: each link has added one."""
    from django_tasks import chain

    links = [tasks.link.s(0), *(tasks.link.s() for _ in range(count - 1))]
    return int(chain(*links).enqueue().get(timeout=TIMEOUT))


def chord(count: int) -> int:
    """The body's value, once it is here: how many values it got."""
    from django_tasks import chord

    header = [tasks.first.s() for _ in range(count)]
    return int(chord(header, tasks.total.s()).enqueue().get(timeout=TIMEOUT))


FORMS: dict[str, Callable[[int], int]] = {"chain": chain, "chord": chord}


def until_value(project: Project, report: Report, form: str, count: int) -> None:
    """From before the enqueue until the value is here; and until the rows say so too, for which no
    caller waits. The least of some."""
    run = FORMS[form]
    project.fresh()
    held, final = [], []
    with project.worker(2):
        shortest(lambda: run(2), 2, WARM)
        for _ in range(TRIES):
            project.wait_clean()
            began = time.perf_counter()
            held.append(shortest(lambda: run(count), count, 1))
            project.wait_clean()
            final.append(time.perf_counter() - began)
    _verify(WARM * _records(form, 2) + TRIES * _records(form, count))
    report.add_least(form, TO_VALUE, min(held) * 1000, "ms")
    report.add_least(form, "enqueue called to every row final", min(final) * 1000, "ms")


def _records(form: str, count: int) -> int:
    return count + 1 if form == "chord" else count


def _verify(expected: int) -> None:
    from django_tasks.models import TaskRecord

    found = TaskRecord.objects.successful().count()
    assert found == expected, f"{found} of {expected} rows are final"


def of_peer(report: Report, case: str, told: dict[str, float]) -> None:
    """The same of a peer, as its file tells it."""
    report.add_least(case, TO_VALUE, told["seconds"] * 1000, "ms")
