"""Tasks of the tests for who comes from Celery or RQ, and what became of their calls."""

from __future__ import annotations

from typing import Any

from django_tasks import TaskContext, django_task, group
from django_tasks.calls.registry import find
from django_tasks.models import TaskRecord


@django_task(name="coming.minus", retries=0)
def minus(a: int, b: int) -> int:
    return a - b


@django_task(name="coming.total", retries=0)
def total(numbers: list[int], plus: int = 0) -> int:
    return sum(numbers) + plus


@django_task(name="coming.shown", retries=0)
def shown(*values: Any) -> Any:
    return list(values)


@django_task(name="coming.far", queue="news", retries=0)
def far(*values: Any) -> Any:
    return list(values)


@django_task(name="coming.broken", retries=0)
def broken(*values: Any) -> None:
    raise ValueError("no")


@django_task(name="coming.flaky", retries=1, backoff=0, takes_context=True)
def flaky(context: TaskContext, fails: int) -> int:
    if context.attempt <= fails:
        raise ValueError("not yet")
    return context.attempt


@django_task(name="coming.tell", retries=0)
def tell(record_id: str, error_class: str, text: str, *more: Any) -> list[Any]:
    return [record_id, error_class, text, *more]


@django_task(name="coming.gone", record="never")
def gone() -> None: ...


@django_task(name="coming.replaced", takes_context=True, retries=0)
def replaced(context: TaskContext, *values: int) -> str:
    context.replace(group(minus.using(queue="news").s(value, 1) for value in values))
    return "not this"


@django_task(name="coming.grows", takes_context=True, retries=0)
def grows(context: TaskContext) -> str:
    context.workflow.add(shown.s("more"))
    return "grown"


@django_task(name="coming.reads", takes_context=True, retries=0)
def reads(context: TaskContext) -> list[Any]:
    # Not parent.return_value: the mirror may not have copied it yet.
    parents = TaskRecord.objects.get(pk=context.result.id).parents.order_by("id")
    return [find(one.task_name).get_result(str(one.pk)).get(0) for one in parents]


class Gate:
    """Of a task that fails until it is let through."""

    is_open = False


@django_task(name="coming.gate", retries=0)
def gate() -> None:
    if not Gate.is_open:
        raise ValueError("closed")


def states() -> list[str]:
    """In the order in which they were enqueued."""
    return list(TaskRecord.objects.order_by("id").values_list("status", flat=True))


def records_of(task: Any) -> list[TaskRecord]:
    return list(TaskRecord.objects.for_task(task).order_by("id"))


def returned(task: Any) -> list[Any]:
    return [record.return_value for record in records_of(task)]
