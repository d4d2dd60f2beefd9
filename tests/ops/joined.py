"""Workflows of a test's own making: rows and edges as an enqueue would have written them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.utils import timezone

from django_tasks.models import TaskDependency, TaskRecord, Workflow
from django_tasks.models.record import new_record

Edge = tuple[int, int] | tuple[int, int, str]


def workflow(name: str = "", kind: str = "graph", **given: Any) -> Workflow:
    return Workflow.objects.create(name=name, kind=kind, **given)


def members(
    of: Workflow | None,
    tasks: Sequence[str],
    states: Sequence[str] | str = "SUCCESSFUL",
    **given: Any,
) -> list[TaskRecord]:
    """One of each task; ``states``: of each, or of all."""
    known = [states] * len(tasks) if isinstance(states, str) else states
    now = timezone.now()
    made = [
        new_record(
            task_name=task,
            description=f"{task.rpartition('.')[2]}({place})",
            status=state,
            workflow_id=of.pk if of is not None else None,
            **{"args": [], "kwargs": {}, "metadata": {}, "created_at": now, **given},
        )
        for place, (task, state) in enumerate(zip(tasks, known, strict=True))
    ]
    return TaskRecord.objects.bulk_create(made, batch_size=1000)


def join(made: Sequence[TaskRecord], edges: Iterable[Edge]) -> None:
    """``edges``: (parent, child), and a policy where that is not success, by their places."""
    rows = []
    for parent, child, *policy in edges:
        ends = {"parent_id": made[parent].pk, "child_id": made[child].pk}
        rows.append(TaskDependency(**ends, policy=policy[0] if policy else "success"))
    TaskDependency.objects.bulk_create(rows, batch_size=1000)


def chord(
    count: int, states: Sequence[str] | str = "SUCCESSFUL", name: str = "thumbnails", **given: Any
) -> tuple[Workflow, list[TaskRecord]]:
    """As many ``shop.clean`` and a ``shop.total`` that waits for all of them."""
    made_of = workflow(name, "chord")
    tasks = ["shop.tasks.clean"] * count + ["shop.tasks.total"]
    made = members(made_of, tasks, states, **given)
    join(made, [(place, count) for place in range(count)])
    return made_of, made
