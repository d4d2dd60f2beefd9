"""map and starmap: one task called many times in one run, as in Celery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_tasks import TaskContext, chain, django_task, group
from django_tasks.conf import TaskSettings
from django_tasks.errors import ArgumentMismatch, InvalidTaskOptions, TaskFailed
from django_tasks.models import TaskRecord
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, far, mul, states, total

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(name="flow.tells", takes_context=True)
def tells(context: TaskContext, number: int) -> int:
    context.progress(number)
    return number * context.attempt


@django_task(name="flow.slow")
async def slow(number: int) -> int:
    return number + 1


@django_task(name="flow.picky", retries=0)
def picky(number: int) -> int:
    return 10 // number


@django_task(name="flow.secret", sensitive=("pass_phrase",))
def secret(pass_phrase: str) -> None: ...


def test_map_calls_with_each_and_starmap_with_the_arguments_of_each(
    work: Callable[..., None],
) -> None:
    results = [
        add.starmap([(1, 2), (3, 4)]).enqueue(),
        far.map(range(3)).enqueue(),
        tells.map([1, 2]).enqueue(),
        slow.map([1, 2]).enqueue(),
        add.starmap([]).enqueue(),
    ]
    assert TaskRecord.objects.count() == 5
    work("default", "news")

    assert [one.get(0) for one in results] == [[3, 7], [100, 101, 102], [1, 2], [2, 3], []]


def test_they_go_where_the_task_goes(queue: TaskSettings) -> None:
    far.using(priority=5, retries=7).map([1]).enqueue()

    record = TaskRecord.objects.get()
    assert (record.task_name, record.queue_name) == ("django_tasks.map", "news")
    assert (record.priority, record.max_attempts, record.args) == (
        5,
        8,
        ["tests.calls.test_workflows.far", [1]],
    )


def test_they_stand_in_chains_and_groups(work: Callable[..., None]) -> None:
    result = chain(add.starmap([(1, 2), (3, 4)]), total.s()).enqueue()
    both = group(add.starmap([(1, 2)]), mul.s(3, 4)).enqueue()
    work("default")

    assert (result.get(0), both.get(0)) == (10, [[3], 12])


def test_one_call_that_fails_fails_the_whole(work: Callable[..., None]) -> None:
    result = picky.map([1, 0, 2]).enqueue()
    work("default")

    with pytest.raises(TaskFailed, match="ZeroDivisionError"):
        result.get(0)
    assert states() == ["FAILED"]


def test_what_does_not_fit_is_refused_at_once(queue: TaskSettings) -> None:
    with pytest.raises(ArgumentMismatch):
        add.map([1])
    with pytest.raises(ArgumentMismatch):
        add.starmap([(1, 2), (1, 2, 3)])
    with pytest.raises(InvalidTaskOptions, match="group of calls"):
        secret.map(["a"])


def test_a_task_made_by_a_call_is_found_too(work: Callable[..., None]) -> None:
    given: Any = [(1, 2)]
    result = add.using(queue="news").starmap(given).enqueue()
    work("news")

    assert result.get(0) == [3]
