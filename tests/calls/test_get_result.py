"""Results by id, and the twins of every call for asyncio."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_tasks.calls.result import load
from django_tasks.errors import (
    ResultNotFound,
    ResultTimeout,
    TaskFailed,
)
from django_tasks.framework import TaskResultDoesNotExist, TaskResultMismatch
from django_tasks.models import TaskRecord
from tests.bridge.calls import numbers
from tests.calls.outcomes import breaks
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def test_get_result_finds_by_id(work: Callable[..., None]) -> None:
    result = add.using(queue_name="mail", priority=3).enqueue(1, 2)
    work("mail")

    for given in (result.id, uuid.UUID(result.id), result.id.upper()):
        asked: Any = given
        found = add.get_result(asked)
        assert (found.id, found.return_value, found.args) == (result.id, 3, [1, 2])
        assert (found.task.queue_name, found.task.priority) == ("mail", 3)
    assert found.get(timeout=1) == 3


@pytest.mark.parametrize(
    ("record_id", "said"),
    [
        ("0192aaaa-0000-7000-8000-000000000000", "No task result has the id"),
        (uuid.UUID("0192aaaa-0000-7000-8000-000000000001"), "No task result has the id"),
        ("", "is not the id of a task result"),
        ("42", "is not the id of a task result"),
        ("../../etc", "is not the id of a task result"),
        ("a\x00b", "is not the id of a task result"),
        (None, "is not the id of a task result"),
        (42, "is not the id of a task result"),
    ],
)
def test_an_unknown_or_malformed_id_is_a_result_that_does_not_exist(
    queue: Any, record_id: Any, said: str
) -> None:
    with pytest.raises(ResultNotFound, match=said) as caught:
        add.get_result(record_id)

    assert isinstance(caught.value, TaskResultDoesNotExist)
    with pytest.raises(TaskResultDoesNotExist):
        async_to_sync(add.aget_result)(record_id)


def test_the_result_of_another_task_is_a_mismatch(queue: Any) -> None:
    result = add.enqueue(1, 2)

    with pytest.raises(TaskResultMismatch):
        breaks.get_result(result.id)
    with pytest.raises(TaskResultMismatch):
        async_to_sync(breaks.aget_result)(result.id)
    assert add.using(queue_name="other").get_result(result.id).id == result.id


def test_a_record_of_a_task_that_is_no_more_says_so(queue: Any) -> None:
    result = add.enqueue(1, 2)
    TaskRecord.objects.update(task_name="tests.tasks.ad")

    with pytest.raises(ResultNotFound, match=r"exists\. No task is named 'tests.tasks.ad'"):
        add.get_result(result.id)


# -- asyncio -----------------------------------------------------------------------------------


def test_the_twins_for_asyncio(work: Callable[..., None]) -> None:
    good = async_to_sync(add.aenqueue)(1, 2)
    bad = async_to_sync(breaks.aenqueue)("no")
    late = async_to_sync(add.using(run_after=datetime(2100, 1, 1, tzinfo=UTC)).aenqueue)(1, 2)
    work()

    async def read() -> None:
        assert await good.aget(timeout=5) == 3
        with pytest.raises(TaskFailed):
            await bad.aget(timeout=5)
        with pytest.raises(ResultTimeout):
            await late.aget(timeout=0.01)
        found = await add.aget_result(good.id)
        await found.arefresh()
        assert found.return_value == 3

    async_to_sync(read)()


def test_a_new_result_has_all_that_a_later_one_has(queue: Any) -> None:
    new = add.using(priority=3).enqueue(1, 2)

    loaded = load(new.id, "default")

    def told(result: Any) -> dict[str, Any]:
        names = {one.name for one in fields(result)} - {"state", "task"}
        return {name: getattr(result, name) for name in names}

    assert told(loaded) == told(new)
    assert (loaded.state, new.state) == ("READY", "PENDING")


def test_a_result_that_is_changed_changes_no_call(queue: Any) -> None:
    with transaction.atomic():
        result = add.enqueue([1], [2])
        result.args[0].append(3)

    assert numbers(queue) == [[1]]
