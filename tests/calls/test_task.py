"""@django_task and Task: a function that stays one, and is Django's Task as well."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from django_tasks import Task, TaskResult, django_task, framework
from django_tasks.broker import Broker
from django_tasks.calls.task import require_task
from django_tasks.errors import InvalidTaskOptions, NotATask, TaskQueueError
from django_tasks.framework import InvalidTask
from django_tasks.models import TaskRecord
from tests.tasks import add


@django_task(queue="mail", priority=7, retries=1)
def letter(to: str) -> str:
    """Writes a letter."""
    return f"Dear {to}"


@django_task
async def slowly(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def test_a_call_stays_a_plain_call() -> None:
    assert add(1, 2) == 3
    assert letter("Ada") == "Dear Ada"
    assert add.func(1, b=2) == 3


def test_a_task_looks_like_its_function() -> None:
    task: Any = letter

    assert (task.__name__, task.__doc__) == ("letter", "Writes a letter.")
    assert task.__qualname__ == "letter"
    assert task.__wrapped__ is letter.func
    assert task.module_path == f"{__name__}.letter"


def test_what_django_task_returns_is_the_frameworks_task() -> None:
    assert isinstance(add, framework.Task)
    assert isinstance(add, Task)
    assert add.__dict__  # a subclass without slots
    assert hash(add) == hash(dataclasses.replace(add))
    with pytest.raises(dataclasses.FrozenInstanceError):
        add.priority = 3  # type: ignore[misc]


def test_the_decorator_takes_options_or_none() -> None:
    assert (letter.queue_name, letter.priority, letter.options.retries) == ("mail", 7, 1)
    assert (add.queue_name, add.priority, add.options.retries) == ("default", 0, 3)


@pytest.mark.django_db(transaction=True)
def test_enqueue_returns_a_result_and_leaves_a_record(queue: Any) -> None:
    result = letter.enqueue("Ada")

    assert isinstance(result, framework.TaskResult)
    assert isinstance(result, TaskResult)
    record = TaskRecord.objects.get()
    assert str(record.id) == result.id
    assert (record.task_name, record.queue_name) == (f"{__name__}.letter", "mail")
    assert (record.priority, record.max_attempts, record.status) == (7, 2, "PENDING")
    assert (record.args, record.kwargs, record.description) == (["Ada"], {}, "letter('Ada')")
    assert record.created_at == record.enqueued_at == result.enqueued_at
    assert (result.status, result.state) == ("READY", "PENDING")
    assert (result.args, result.kwargs, result.backend) == (["Ada"], {}, "default")
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    assert result.task is letter


@pytest.mark.django_db(transaction=True)
def test_delay_and_aenqueue_do_what_enqueue_does(queue: Any) -> None:
    delayed = add.delay(1, b=2)
    awaited = async_to_sync(add.aenqueue)(3, 4)

    records = TaskRecord.objects.order_by("id")
    assert [str(record.id) for record in records] == [delayed.id, awaited.id]
    assert [(record.args, record.kwargs) for record in records] == [([1], {"b": 2}), ([3, 4], {})]


@pytest.mark.django_db(transaction=True)
def test_an_async_function_runs(work: Callable[..., None]) -> None:
    result = slowly.enqueue(21)

    work()

    assert result.get(timeout=5) == 42


# -- using -------------------------------------------------------------------------------------


def test_using_returns_another_task_and_leaves_the_first_alone() -> None:
    later = timezone.now() + timedelta(hours=1)

    other = letter.using(queue_name="slow", priority=-3, run_after=later, retries=0, expires=60)

    assert (other.queue_name, other.priority, other.run_after) == ("slow", -3, later)
    assert (other.options.retries, other.options.expires) == (0, 60.0)
    assert (letter.queue_name, letter.priority, letter.run_after) == ("mail", 7, None)
    assert other("Ada") == "Dear Ada"
    assert type(other) is type(letter)


def test_using_leaves_what_it_is_not_told() -> None:
    assert letter.using() == letter
    assert letter.using(priority=None).priority == 7
    assert letter.using(queue="slow").priority == 7


def test_queue_and_queue_name_are_one_option() -> None:
    assert add.using(queue="a").queue_name == add.using(queue_name="a").queue_name == "a"
    assert add.using(queue="a", queue_name="a").queue_name == "a"
    with pytest.raises(InvalidTaskOptions, match="two words for one option"):
        add.using(queue="a", queue_name="b")
    with pytest.raises(InvalidTaskOptions, match="two words for one option"):
        django_task(queue="a", queue_name="b")


@pytest.mark.parametrize(
    "given",
    [
        {"name": "other"},
        {"aliases": ("other",)},
        {"retry_for": (OSError,)},
        {"throws": (OSError,)},
        {"database": "default"},
    ],
)
def test_using_refuses_what_a_worker_reads_from_the_task_itself(given: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="belongs to the task") as caught:
        add.using(**given)

    assert f"@django_task({next(iter(given))}=" in str(caught.value)


@pytest.mark.django_db(transaction=True)
def test_a_timedelta_in_run_after_becomes_a_time_at_the_enqueue(queue: Any) -> None:
    in_an_hour = add.using(run_after=timedelta(hours=1))
    before = datetime.now(UTC)

    in_an_hour.enqueue(1, 2)
    in_an_hour.enqueue(1, 2)

    first, second = TaskRecord.objects.order_by("id")
    assert first.run_after is not None
    assert second.run_after is not None
    assert before + timedelta(hours=1) <= first.run_after < second.run_after
    assert second.run_after <= datetime.now(UTC) + timedelta(hours=1)
    broker = Broker(queue)
    assert broker.backlog("default") | {"dirty": 0} == {
        "ready": 0,
        "scheduled": 2,
        "unacked": 0,
        "dirty": 0,
    }
    broker.close()


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidTaskOptions, match="aware"):
        add.using(run_after=datetime(2030, 1, 1))


@pytest.mark.django_db(transaction=True)
def test_where_the_project_has_no_zones_a_time_is_local(queue: Any, settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"

    draft = add.using(run_after=datetime(2030, 1, 1, 12)).s(1, 2).draft()

    assert draft.record.run_after is not None
    assert draft.record.run_after.astimezone(UTC) == datetime(2030, 1, 1, 11, tzinfo=UTC)


def test_run_after_belongs_to_a_call() -> None:
    with pytest.raises(InvalidTaskOptions, match=r"task\.using\(run_after="):
        django_task(run_after=timedelta(1))


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_priority_has_bounds_that_it_may_reach(priority: int) -> None:
    assert add.using(priority=priority).priority == priority


@pytest.mark.parametrize("priority", [-101, 101, 1.5, "5", float("nan"), True])
def test_a_priority_out_of_bounds_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="between -100 and 100") as caught:
        add.using(priority=priority)

    assert isinstance(caught.value, InvalidTask)


@pytest.mark.django_db(transaction=True)
def test_a_whole_number_written_as_a_float_is_a_priority(work: Callable[..., None]) -> None:
    task: Any = add

    result = task.using(priority=5.0).enqueue(1, 2)
    work()

    assert result.get(timeout=5) == 3
    assert TaskRecord.objects.get().priority == 5


@pytest.mark.django_db(transaction=True)
def test_using_more_retries_than_the_definition_has_them(work: Callable[..., None]) -> None:
    result = never_works.using(retries=4).enqueue()

    work()

    result.refresh()
    assert (result.state, result.attempts) == ("FAILED", 5)
    assert TaskRecord.objects.get().attempt == 5


@pytest.mark.django_db(transaction=True)
def test_a_calls_own_backoff_is_obeyed(work: Callable[..., None]) -> None:
    patient = never_works.using(backoff=(3600, 1, 3600, False)).enqueue()
    hasty = never_works.enqueue()

    work()

    hasty.refresh()
    patient.refresh()
    assert (hasty.state, patient.state) == ("FAILED", "SCHEDULED")


@django_task(retries=1, backoff=0)
def never_works() -> None:
    raise ValueError("no")


# -- what is no task ---------------------------------------------------------------------------


def plain(number: int) -> int:
    return number


def test_a_plain_function_where_a_task_is_wanted_is_told_the_cure() -> None:
    with pytest.raises(NotATask, match="Put @django_task above") as caught:
        require_task(plain)

    assert "plain.enqueue(…)" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, TaskQueueError)
    assert require_task(add) is add


def test_an_option_by_position_is_told_the_cure() -> None:
    decorate: Any = django_task

    with pytest.raises(NotATask, match=r"@django_task\(queue='mail'\)"):
        decorate("mail")


def test_a_task_of_a_task_is_refused() -> None:
    decorate: Any = django_task

    with pytest.raises(InvalidTaskOptions, match="is a task already"):
        decorate(add)


def test_a_function_that_is_not_a_modules_is_refused() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidTask, match="module level"):
        django_task(inner)
    with pytest.raises(InvalidTask, match="module level"):
        django_task(lambda: None)


def test_takes_context_wants_a_parameter_of_that_name() -> None:
    decorate: Any = django_task(takes_context=True)

    with pytest.raises(InvalidTask, match="context"):
        decorate(plain)


class Called:
    """Can be called, and is no function of a module."""

    def __call__(self) -> None: ...

    def method(self) -> None: ...


@pytest.mark.parametrize(
    "wrong", [functools.partial(plain, 1), Called(), Called, Called().method, len]
)
def test_what_only_behaves_like_a_function_is_told_the_cure(wrong: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="Write a function that calls it") as caught:
        django_task(wrong)

    assert isinstance(caught.value, InvalidTask)


def test_a_copy_of_a_task_is_itself() -> None:
    assert copy.deepcopy(letter) is letter
