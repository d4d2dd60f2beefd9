"""Our backend, the same on every Django: what becomes of a call's options, errors and log."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.test import override_settings

from django_tasks import Snooze, django_task, framework
from django_tasks.broker import get_broker
from django_tasks.framework import TaskResultStatus
from django_tasks.models import TaskRecord
from tests.wheels import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

OURS: dict[str, Any] = {"BACKEND": "django_tasks.RedisBackend"}
IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
NOON = datetime(2020, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
ERRORS = {one.__name__: one for one in (ValueError, SystemExit, KeyboardInterrupt)}


def plainly(number: int) -> int:
    """A function for Django's own decorator."""
    return number + 1


with override_settings(TASKS={"default": IMMEDIATE}):
    # A task of the framework's class, as those made for another backend are.
    plain: Any = framework.task(plainly)


@django_task
def double(number: int) -> int:
    """Twice the number."""
    return number * 2


@django_task(retries=0)
def stop_with(name: str) -> None:
    """Raises an error by name."""
    raise ERRORS[name]("it rained")


@django_task(retries=0, throws=(ValueError,))
def expects_rain() -> None:
    """Fails as it may."""
    raise ValueError("it rained")


@django_task(takes_context=True)
def told(context: Any) -> list[Any]:
    """What the context says of the call."""
    task = context.task_result.task
    return [task.queue_name, task.priority, task.backend]


@django_task(takes_context=True)
def later(context: Any) -> None:
    """Puts itself off for long."""
    raise Snooze(in_=3600)


@pytest.fixture(autouse=True)
def _aliases(queue: Any, settings: Any) -> None:
    second = {**OURS, "OPTIONS": {"PREFIX": f"{queue.prefix}-b"}}
    settings.TASKS = {"default": OURS, "second": second, "now": IMMEDIATE}


def work(*queues: str, backend: str = "default") -> None:
    call_command("runworker", *queues, burst=True, backend=backend)


def forget(alias: str = "default", queue: str = "default") -> None:
    """Let the broker lose all it knew: from now on the row alone answers."""
    broker = get_broker(alias)
    for key in broker.client.scan_iter(f"{broker.keys(queue).root}*"):
        broker.client.delete(key)


# -- using() and get_result --------------------------------------------------------------------


@pytest.mark.parametrize("only", ["before it ran", "after it ran", "from the row"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"queue_name": "mail", "priority": -7},
        {"run_after": NOON},
        {"backend": "second"},
        {"retries": 0, "max_lost": 9},
        {"backoff": (5, 2, 60, False), "expires": 90.5},
        {"record": "after", "queue": "mail", "run_after": NOON},
        {"record": "first", "backend": "second", "priority": 100, "retries": 7},
    ],
)
def test_what_using_said_survives_get_result(values: dict[str, Any], only: str) -> None:
    task = double.using(**values)
    result = task.enqueue(21)
    if only != "before it ran":
        work(task.queue_name, backend=task.backend)
    if only == "from the row":
        forget(task.backend, task.queue_name)

    for asked in (task, double):
        found = asked.get_result(result.id)
        assert found.task == task
        assert (found.backend, found.task.__name__) == (task.backend, "double")
        found.refresh()
        assert found.is_finished == (only != "before it ran")
    assert async_to_sync(task.aget_result)(result.id).task == task


@pytest.mark.parametrize("values", [{}, {"queue_name": "mail", "priority": 5, "run_after": NOON}])
def test_so_it_does_for_a_task_of_the_frameworks_own_class(values: dict[str, Any]) -> None:
    task = plain.using(**values)
    result = task.enqueue(1)
    work(task.queue_name)

    found = plain.get_result(result.id)

    assert type(found.task) is framework.Task
    assert (found.task, found.return_value) == (task, 2)


def test_so_it_does_for_a_call_that_has_no_row() -> None:
    task = double.using(record="never", priority=5, run_after=NOON, backend="second")

    result = task.enqueue(21)

    assert not TaskRecord.objects.exists()
    assert task.get_result(result.id).task == task


def test_a_time_that_a_task_gave_itself_is_not_what_using_said() -> None:
    results = [one.enqueue() for one in (later, later.using(run_after=NOON))]
    work()

    assert [later.get_result(one.id).task.run_after for one in results] == [None, NOON]
    assert {one.status for one in TaskRecord.objects.all()} == {"SCHEDULED"}


def test_a_result_is_found_though_its_queue_is_listed_no_more(settings: Any) -> None:
    result = double.using(queue="mail").enqueue(1)
    settings.TASKS = {"default": {**OURS, "QUEUES": ["default"]}}

    assert double.get_result(result.id).task.queue_name == "mail"


def test_a_running_task_is_told_what_using_said() -> None:
    results = [
        told.enqueue(),
        told.using(queue="mail", priority=5).enqueue(),
        told.using(backend="second").enqueue(),
    ]
    work("default", "mail")
    work(backend="second")

    assert [one.get(timeout=5) for one in results] == [
        ["default", 0, "default"],
        ["mail", 5, "default"],
        ["default", 0, "second"],
    ]


# -- errors and their log ----------------------------------------------------------------------


def test_ctrl_c_is_for_the_immediate_mode_alone() -> None:
    results = [stop_with.enqueue("KeyboardInterrupt"), double.enqueue(1)]

    work()

    with pytest.raises(KeyboardInterrupt):
        stop_with.using(backend="now").enqueue("KeyboardInterrupt")
    found = [stop_with.get_result(results[0].id), double.get_result(results[1].id)]
    assert [one.status for one in found] == [TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL]
    assert [one.exception_class for one in found[0].errors] == [KeyboardInterrupt]


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_one_failure_is_one_error_record(name: str, caplog: Any) -> None:
    result = stop_with.enqueue(name)

    with caplog.at_level(logging.DEBUG):
        work()

    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert (record.levelname, record.name) == ("ERROR", "django_tasks.worker")
    assert record.getMessage() == f"stop_with({name!r}) {result.id} failed: {name}: it rained"
    assert (record.message_id, record.exc_info[0]) == (result.id, ERRORS[name])


def test_what_a_task_throws_as_expected_is_no_error_record(caplog: Any) -> None:
    expects_rain.enqueue()

    with caplog.at_level(logging.DEBUG):
        work()

    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_burst_in_place_leaves_the_frameworks_own_log_as_it_was(caplog: Any) -> None:
    work()

    with caplog.at_level(logging.DEBUG):
        stop_with.using(backend="now").enqueue("ValueError")

    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert (record.levelname, record.name) == ("ERROR", "django.tasks")


def test_an_immediate_backend_first_used_inside_a_worker_logs_none_of_ours_again() -> None:
    # On 5.2 its log is connected by a module that nobody may have imported yet.
    program = (
        "from django.conf import settings\n"
        f"settings.configure(TASKS={{'default': {IMMEDIATE}}})\n"
        "from django_tasks import framework, task_signals\n"
        "task_signals.quieten_framework_log()\n"
        "framework.task_backends['default']\n"
        "assert not task_signals.task_finished.receivers\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)

    assert done.returncode == 0, done.stderr.decode()
