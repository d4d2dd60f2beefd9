"""Immediate and Dummy: our tasks keep their promises with backends that are not ours."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from django_tasks import TaskContext, TaskResult, django_task, enqueue_many, framework
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    InvalidTaskOptions,
    ResultTimeout,
    TaskFailed,
)
from django_tasks.framework import InvalidTask, task_backends, task_enqueued

IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
DUMMY = {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}


def define(**options: Any) -> Any:
    """Tasks that are made while ``TASKS`` names the backend, as in a project's tests."""
    return django_task(name=f"foreign.{len(options)}", **options)(double)


def double(number: int) -> int:
    return number * 2


@django_task(takes_context=True)
def tell(context: Any) -> list[Any]:
    result: Any = context.result
    return [context.attempt, result.id, result.state, type(context).__name__, type(result).__name__]


@django_task(takes_context=True)
async def atell(context: Any) -> list[Any]:
    return [context.attempt, context.result.state]


@django_task
def fails(text: str) -> None:
    raise LookupError(text)


@django_task
def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture(params=[IMMEDIATE, DUMMY], ids=["immediate", "dummy"])
def foreign(request: pytest.FixtureRequest, settings: Any) -> Any:
    settings.TASKS = {"default": request.param}
    return request.param


@pytest.fixture
def immediate(settings: Any) -> None:
    settings.TASKS = {"default": IMMEDIATE}


@pytest.fixture
def dummy(settings: Any) -> Any:
    settings.TASKS = {"default": DUMMY}
    return task_backends["default"]


# -- queues ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign")
def test_without_queues_any_name_is_one() -> None:
    mail = define(queue="mail")

    result = mail.enqueue(2)

    assert (mail.queue_name, result.task.queue_name) == ("mail", "mail")
    assert add.using(queue="other").enqueue(1, 2).task.queue_name == "other"
    assert async_to_sync(mail.aenqueue)(2).task.queue_name == "mail"


def test_queues_that_are_named_restrict(foreign: Any, settings: Any) -> None:
    settings.TASKS = {"default": {**foreign, "QUEUES": ["default", "mail"]}}

    assert add.using(queue="mail").enqueue(1, 2).task.queue_name == "mail"
    with pytest.raises(InvalidTaskOptions, match="Queue 'post' is not valid") as caught:
        add.using(queue="post")
    assert isinstance(caught.value, InvalidTask)


@pytest.mark.usefixtures("foreign")
def test_the_frameworks_own_tasks_know_the_default_queue_only() -> None:
    add.using(queue="mail").enqueue(1, 2)

    with pytest.raises(InvalidTask, match="Queue 'mail'"):
        framework.task(queue_name="mail")(double)


@pytest.mark.usefixtures("foreign")
def test_our_own_rules_hold() -> None:
    for wrong in ({"queue": "a b"}, {"priority": 101}, {"run_after": 5}):
        call: Any = wrong
        with pytest.raises(InvalidTaskOptions):
            add.using(**call)


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign")
def test_arguments_are_bound_and_in_jsons_types() -> None:
    wrong: Any = add
    seen: list[Any] = []

    def note(**given: Any) -> None:
        seen.append(given["task_result"].args)

    task_enqueued.connect(note)
    try:
        with pytest.raises(ArgumentMismatch, match="too many positional"):
            wrong.enqueue(1, 2, 3)
        with pytest.raises(ArgumentMismatch):
            async_to_sync(wrong.aenqueue)(1)
        with pytest.raises(ArgumentNotSerializable, match=r"'a' is .* set"):
            wrong.enqueue({1}, 2)
        with pytest.raises(ArgumentMismatch):
            enqueue_many([wrong.s(1, 2), wrong.s(1)])  # nothing of it runs
        assert seen == []
        assert wrong.enqueue((1,), (2,)).args == [[1], [2]]
    finally:
        task_enqueued.disconnect(note)

    assert seen == [[[1], [2]]]


# -- run_after ---------------------------------------------------------------------------------


def test_a_timedelta_becomes_a_time_at_the_enqueue(dummy: Any) -> None:
    later = add.using(run_after=timedelta(hours=1))
    before = timezone.now()

    later.enqueue(1, 2)

    [kept] = dummy.results
    assert isinstance(kept.task.run_after, datetime)
    assert timedelta(0) <= kept.task.run_after - before - timedelta(hours=1) < timedelta(minutes=1)


@pytest.mark.usefixtures("immediate")
def test_immediate_runs_nothing_later() -> None:
    with pytest.raises(InvalidTaskOptions, match="does not support run_after"):
        add.using(run_after=timedelta(hours=1))


# -- results -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("immediate")
def test_immediate_has_a_result_to_get() -> None:
    for result in (
        add.enqueue(1, 2),
        add.delay(1, 2),
        async_to_sync(add.aenqueue)(1, 2),
        *enqueue_many([add.s(1, 2)]),
    ):
        assert isinstance(result, TaskResult)
        assert isinstance(result, framework.TaskResult)
        assert (result.get(), result.return_value, result.state) == (3, 3, "SUCCESSFUL")
        assert async_to_sync(result.aget)(timeout=1) == 3
        result.refresh()
        async_to_sync(result.arefresh)()
        assert (result.status, result.attempts, result.errors) == ("SUCCESSFUL", 1, [])


@pytest.mark.django_db
@pytest.mark.usefixtures("immediate")
def test_immediate_has_a_result_inside_a_transaction() -> None:
    with transaction.atomic():
        assert add.enqueue(1, 2).get() == 3


@pytest.mark.usefixtures("immediate")
@pytest.mark.parametrize("text", ["lost: and\nnot found", ""])
def test_a_failure_of_immediate_is_raised_as_ours(text: str) -> None:
    result = fails.enqueue(text)

    with pytest.raises(TaskFailed) as caught:
        result.get()

    assert (caught.value.record_id, caught.value.error_class) == (result.id, "builtins.LookupError")
    assert caught.value.error_message == text
    assert "in fails" in caught.value.traceback
    assert (result.state, result.status, len(result.errors)) == ("FAILED", "FAILED", 1)


@pytest.mark.usefixtures("immediate")
def test_a_context_of_immediate_is_ours() -> None:
    result = tell.enqueue()

    told = [1, result.id, "RUNNING", TaskContext.__name__, "ForeignResult"]
    assert result.get() == told
    assert atell.enqueue().get() == [1, "RUNNING"]


def test_dummy_says_that_waiting_does_not_help(dummy: Any) -> None:
    result = add.enqueue(1, 2)
    began = time.monotonic()

    for wait in (result.get, async_to_sync(result.aget)):
        with pytest.raises(ResultTimeout, match="runs no task later"):
            wait()

    assert time.monotonic() - began < 2
    assert (result.state, result.status) == ("READY", "READY")
    assert [one.id for one in dummy.results] == [result.id]
    assert add.get_result(result.id) == result
    assert async_to_sync(add.aget_result)(result.id) == result


def test_a_dummy_result_is_read_again(dummy: Any) -> None:
    result = add.enqueue(1, 2)
    [kept] = dummy.results
    changes = {"status": framework.TaskResultStatus.SUCCESSFUL, "_return_value": 3}
    for name, value in changes.items():
        object.__setattr__(kept, name, value)

    assert result.get(timeout=1) == 3
    assert result.state == "SUCCESSFUL"


# -- who it is ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign")
def test_the_backend_is_still_itself() -> None:
    backend = add.get_backend()

    assert isinstance(backend, type(task_backends["default"]))
    assert backend.alias == "default"
    assert backend.supports_get_result is False


@pytest.mark.usefixtures("foreign")
def test_what_traces_the_frameworks_tasks_sees_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    enqueue = framework.Task.enqueue

    def traced(task: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return enqueue(task, *args, **kwargs)

    monkeypatch.setattr(framework.Task, "enqueue", traced)

    add.enqueue(1, 2)
    add.delay(3, 4)

    assert seen == [(1, 2), (3, 4)]


def test_signals_come_from_the_backend(dummy: Any) -> None:
    senders: list[Any] = []

    def note(sender: Any, **_: Any) -> None:
        senders.append(sender)

    task_enqueued.connect(note, sender=type(dummy))
    try:
        add.enqueue(1, 2)
    finally:
        task_enqueued.disconnect(note, sender=type(dummy))

    assert senders == [type(dummy)]


with override_settings(TASKS={"default": IMMEDIATE}):

    @django_task(queue="mail")
    def made_with_immediate(number: int) -> int:
        return number


@pytest.mark.django_db(transaction=True)
def test_a_task_defined_with_another_backend_is_ours_afterwards(queue: Any) -> None:
    assert made_with_immediate.enqueue(1).state == "PENDING"


def test_a_result_equals_what_its_backend_keeps_of_it(settings: Any) -> None:
    settings.TASKS = {"default": DUMMY}

    result = add.enqueue(1, 2)

    assert result in add.get_backend().results
    assert result == add.get_backend().results[0]
    assert result != add.enqueue(1, 2)
    assert result != "a result"
