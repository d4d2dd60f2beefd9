"""What it takes to enqueue a large chord: time and memory, in a process that has done little.

    python -m benchmarks.large_chord 10000

tells it as one JSON line, and needs the environment that ``enqueued`` gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from benchmarks import machine
from benchmarks.project import ROOT, Project
from benchmarks.report import Report

CASE = "chord-10000"
GOAL = 1.0  # seconds, on PostgreSQL
WARM = 10  # members of the chord that comes before


def enqueued(project: Project, report: Report, count: int) -> None:
    """One chord, no worker. That all rows and messages are there is checked."""
    from django_tasks.models import TaskDependency, TaskRecord

    project.fresh()
    told = _in_a_process_of_its_own(project, count)
    members = WARM + count
    found = (TaskRecord.objects.count(), TaskDependency.objects.count(), project.left())
    assert found == (members + 2, members, members), f"{found} rows, edges and ready messages"
    database = "PostgreSQL" if project.postgres else "SQLite"
    report.add_least(
        CASE,
        f"enqueue of a chord of {count:,}, {database}",
        told["returned"],
        "s",
        target=("≤", GOAL) if project.postgres else None,
    )
    report.add_least(CASE, "until the broker has answered too", told["answered"], "s")
    report.add_least(CASE, "RSS before", told["before"], "MiB")
    report.add_least(CASE, "RSS, its peak above that", told["peak"] - told["before"], "MiB")
    report.add_least(CASE, "RSS, after it above that", told["after"] - told["before"], "MiB")


def _in_a_process_of_its_own(project: Project, count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.large_chord", str(count)],
        cwd=ROOT,
        env={**os.environ, "UNCUT_BENCH": json.dumps(project.given)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def measured(count: int) -> dict[str, float]:
    """Seconds until ``enqueue`` returned and until the broker has answered; MiB of this process
    before it, after it, and at the most."""
    from benchmarks import tasks
    from django_tasks import chord
    from django_tasks.broker import get_broker

    # Connections are open and scripts are loaded, as in a process that enqueues now and then.
    chord([tasks.first.s()] * WARM, tasks.total.s()).enqueue()
    get_broker().settle()
    before = machine.resident_kib()
    began = time.perf_counter()
    kept = chord([tasks.first.s()] * count, tasks.total.s()).enqueue()
    returned = time.perf_counter() - began
    get_broker().settle()
    answered = time.perf_counter() - began
    after = machine.resident_kib()
    assert kept.id
    mib = 1 / 1024
    return {
        "returned": returned,
        "answered": answered,
        "before": before["VmRSS"] * mib,
        "after": after["VmRSS"] * mib,
        "peak": after["VmHWM"] * mib,
    }


def main() -> None:
    import django

    from django_tasks.broker import connection

    django.setup()
    connection.PRODUCER_TIMEOUT = 10.0  # as in project.prepare
    print(json.dumps(measured(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
