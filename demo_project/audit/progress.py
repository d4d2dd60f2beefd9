"""How far an audit is, and waiting for its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db.models import Count
from django.utils import timezone

from demo_project.audit import tasks
from demo_project.audit.models import Audit
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL, State

IDLE_HINT = 5.0  # seconds without any result after which a worker is likely to be missing
_LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Cell:
    """One distribution. ``state``: waiting, running, given-up or the verdict: sound, unverified
    or unsound."""

    name: str
    state: str


@dataclass(frozen=True)
class Step:
    """One step of the workflow: of how many distributions it is done."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Progress:
    """An audit at one instant. ``given_up``: the names of those of which a task failed for good."""

    audit: Audit
    cells: list[Cell]
    steps: list[Step]
    inspected: int
    given_up: list[str]
    seconds: float  # since the audit began, or that it took

    @property
    def total(self) -> int:
        """How many distributions there are to inspect."""
        return len(self.cells)

    @property
    def done(self) -> int:
        """How many of the workflow's ``tasks`` have succeeded, but for the report's."""
        return sum(step.done for step in self.steps) if self.steps else self.inspected

    @property
    def tasks(self) -> int:
        """How many there are, but for the report's."""
        return sum(step.total for step in self.steps) if self.steps else self.total

    @property
    def is_finished(self) -> bool:
        """Whether the report is there."""
        return self.audit.finished_at is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen unless a person retries a task."""
        return self.is_finished or bool(self.given_up)

    @property
    def is_idle(self) -> bool:
        """Whether nothing has come back for so long that no worker seems to run."""
        return not self.is_over and not self.done and self.seconds > IDLE_HINT


def look_at(audit_id: int) -> Progress:
    """How far the audit is. Raises ``Audit.DoesNotExist``."""
    audit = Audit.objects.get(pk=audit_id)
    rows = list(audit.distributions.defer("lines", "remarks"))
    awaited = {row.task_id: row.name for row in rows if row.inspected_at is None}
    if audit.report_task_id and not audit.finished_at:
        awaited[audit.report_task_id] = "the report"
    statuses = {
        pk: State(status)
        for pk, status in TaskRecord.objects.filter(pk__in=awaited).values_list("pk", "status")
    }
    # A record that someone deleted will not run either.
    dead = {
        task_id
        for task_id in awaited
        if (status := statuses.get(task_id)) is None
        or (status in FINAL and status != State.SUCCESSFUL)
    }
    if len(dead) > 1:
        dead.discard(audit.report_task_id)  # since the others are
    begun = _begun(audit)
    cells = []
    for row in rows:
        if row.inspected_at is not None:
            state = row.verdict.value
        elif row.task_id in dead:
            state = "given-up"
        else:
            state = "running" if row.name in begun else "waiting"
        cells.append(Cell(row.name, state))
    ended_at = audit.finished_at or timezone.now()
    return Progress(
        audit=audit,
        cells=cells,
        steps=[] if audit.finished_at else _steps(audit, len(rows)),
        inspected=sum(row.inspected_at is not None for row in rows),
        given_up=sorted(awaited[task_id] for task_id in dead),
        seconds=(ended_at - audit.created_at).total_seconds(),
    )


def _begun(audit: Audit) -> set[str]:
    """The names of those of which a task runs, or has run."""
    if audit.workflow_id is None or audit.finished_at:
        return set()
    records = TaskRecord.objects.filter(workflow=audit.workflow_id)
    begun = records.filter(status__in=(State.RUNNING, State.SUCCESSFUL))
    return {args[-1] for args in begun.values_list("args", flat=True)}


def _steps(audit: Audit, total: int) -> list[Step]:
    if audit.workflow_id is None:  # of an earlier release
        return []
    done = TaskRecord.objects.filter(workflow=audit.workflow_id).successful().order_by()
    counts = dict(done.values_list("task_name").annotate(count=Count("pk")))
    return [
        Step(words, counts.get(task.task_name, 0), total)
        for words, task in (
            ("Files verified", tasks.verify),
            ("Licences read", tasks.read_licence),
            ("Lines counted", tasks.count_lines),
        )
    ]


def watch(audit_id: int, *, timeout: float) -> Iterator[Progress]:
    """Look at the audit again and again, the last time when its report is there.

    Raises ``CommandError`` if the audit is given up or not finished after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        progress = look_at(audit_id)
        yield progress
        if progress.is_finished:
            return
        if progress.given_up:
            raise CommandError(
                f"Audit {audit_id} can't finish: a task of {', '.join(progress.given_up)} has"
                " failed for good. Its record in the admin (Task records) says why."
            )
        if time.monotonic() > deadline:
            raise CommandError(
                f"Audit {audit_id} is not finished after {timeout:.0f} s"
                f" ({progress.inspected} of {progress.total} distributions inspected)."
                " Is a worker running? Start one with: python manage.py runworker"
            )
        time.sleep(_LOOK_EVERY)
