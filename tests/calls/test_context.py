"""TaskContext: what a running task may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_tasks import Retry, TaskContext, TaskResult, django_task, framework
from django_tasks.framework import TaskContext as FrameworkTaskContext
from django_tasks.models import TaskRecord

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(takes_context=True, retries=2, backoff=0)
def ask(context: Any, number: int, *, key: str = "") -> dict[str, Any]:
    if context.attempt < 3:
        raise Retry(in_=0)
    result: Any = context.result
    assert isinstance(context, TaskContext)
    assert isinstance(context, FrameworkTaskContext)
    kinds = [isinstance(result, kind) for kind in (TaskResult, framework.TaskResult)]
    return {
        "attempt": context.attempt,
        "kinds": kinds,
        "id": result.id,
        "same": context.task_result is result,
        "args": result.args,
        "kwargs": result.kwargs,
        "status": result.status,
        "enqueued": result.enqueued_at.isoformat(),
        "task": result.task.task_name,
        "workers": len(set(result.worker_ids)),
        "number": number,
    }


def test_a_task_may_ask_which_attempt_it_is_and_what_was_called(work: Callable[..., None]) -> None:
    result = ask.enqueue(7, key="k")

    work()

    told = result.get(timeout=5)
    record = TaskRecord.objects.get()
    assert record.enqueued_at is not None
    assert told == {
        "attempt": 3,
        "kinds": [True, True],
        "id": str(record.id),
        "same": True,
        "args": [7],
        "kwargs": {"key": "k"},
        "status": "RUNNING",
        "enqueued": record.enqueued_at.isoformat(),
        "task": f"{__name__}.ask",
        "workers": 1,
        "number": 7,
    }


def test_the_context_is_no_argument_of_the_call(queue: Any) -> None:
    ask.enqueue(7)

    assert TaskRecord.objects.get().args == [7]
    assert TaskRecord.objects.get().description == "ask(7)"
