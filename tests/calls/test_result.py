"""TaskResult: read from the broker while it is fresh, from the row afterwards."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_tasks import TaskResult
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from django_tasks.errors import (
    ResultInsideTransaction,
    ResultNotFound,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskQueueError,
)
from django_tasks.models import TaskRecord
from tests.calls.outcomes import breaks, hesitates, noted, third_time, thrown_away
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def forget(queue: Any, redis_client: Any, result: TaskResult) -> None:
    """As if ``RESULT_TTL`` were over."""
    key = Broker(queue).keys(result.task.queue_name).message(result.id)
    assert redis_client.delete(key) == 1


# -- get ---------------------------------------------------------------------------------------


def test_get_returns_what_the_task_returned(work: Callable[..., None]) -> None:
    result = add.enqueue(1, 2)

    work()

    assert result.get(timeout=5) == 3
    assert (result.return_value, result.status, result.state) == (3, "SUCCESSFUL", "SUCCESSFUL")
    assert result.is_finished
    assert result.started_at is not None
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert (result.attempts, result.errors) == (1, [])


def test_get_waits_for_a_task_that_ends_meanwhile(queue: Any) -> None:
    result = add.enqueue(1, 2)
    broker = Broker(queue)
    broker.beat(["default"], ["c"], register=True)
    [message] = broker.claim("default", "c")
    ending = threading.Timer(
        0.1, lambda: broker.ack("default", "c", [Outcome.successful(message, 3)])
    )
    began = time.monotonic()

    ending.start()
    value = result.get(timeout=10)

    assert value == 3
    assert 0.1 <= time.monotonic() - began < 1
    ending.join()
    broker.close()


def test_a_failure_is_raised_with_all_that_is_known(work: Callable[..., None]) -> None:
    result = breaks.enqueue("the reason")
    work()

    with pytest.raises(TaskFailed) as caught:
        result.get(timeout=5)

    error = caught.value
    assert error.record_id == result.id
    assert (error.error_class, error.error_message) == ("builtins.ValueError", "the reason")
    assert error.traceback.rstrip().endswith("ValueError: the reason")
    assert "in breaks" in error.traceback
    assert str(error) == f"Task {result.id} failed: builtins.ValueError: the reason"
    assert type(error) is TaskFailed
    assert isinstance(error, TaskQueueError)
    [told] = result.errors
    assert told.exception_class is ValueError
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_each_attempt_is_told(work: Callable[..., None]) -> None:
    result = third_time.enqueue()

    work()

    assert result.get(timeout=5) == 3
    assert result.attempts == 3
    assert [error.exception_class for error in result.errors] == [OSError, OSError]
    assert result.worker_ids == [TaskRecord.objects.get().worker_id] * 3
    assert result.last_attempted_at == result.started_at


def test_a_snooze_is_neither_an_attempt_nor_an_error(
    queue: Any, redis_client: Any, work: Callable[..., None]
) -> None:
    result = hesitates.enqueue(uuid.uuid4().hex)

    work()

    assert result.get(timeout=5) == 2
    fresh = (result.attempts, [error.exception_class for error in result.errors])
    forget(queue, redis_client, result)
    result.refresh()  # from the row
    assert fresh == (result.attempts, [error.exception_class for error in result.errors])
    assert fresh == (2, [OSError])


def test_runs_before_a_snooze_are_told_though_the_mirror_copied_them(queue: Any) -> None:
    result = hesitates.enqueue(uuid.uuid4().hex)
    broker = Broker(queue)
    broker.beat(["default"], ["c"], register=True)
    for word in ("retried", "snoozed"):
        [message] = broker.claim("default", "c")
        run = f'{{"number":1,"consumer":"c","outcome":"{word}","error_class":"task.{word}"}}'
        ended = Outcome(message, word, fields={f"attempt:{message.fence}": run})
        broker.ack("default", "c", [ended])
        if word == "retried":
            mirror(broker, "default", "default")
    broker.close()

    result.refresh()

    assert result.attempts == 1
    assert [error.exception_class_path for error in result.errors] == ["task.retried"]


@pytest.mark.parametrize(
    ("state", "kind", "ended"),
    [
        ("CANCELLED", TaskCancelled, "was cancelled"),
        ("EXPIRED", TaskExpired, "expired before it was started"),
    ],
)
def test_what_was_cancelled_or_expired_failed_in_its_own_way(
    queue: Any, redis_client: Any, state: str, kind: type[TaskFailed], ended: str
) -> None:
    result = add.enqueue(1, 2)
    forget(queue, redis_client, result)
    TaskRecord.objects.update(status=state)

    with pytest.raises(kind, match=ended) as caught:
        result.get(timeout=1)

    assert isinstance(caught.value, TaskFailed)
    assert (result.status, result.state) == ("FAILED", state)


def test_what_expired_in_the_line_is_never_started(work: Callable[..., None]) -> None:
    result = add.using(expires=timedelta(microseconds=1)).enqueue(1, 2)

    work()

    with pytest.raises(TaskExpired):
        result.get(timeout=1)
    assert TaskRecord.objects.get().status == "EXPIRED"
    assert result.attempts == 0


def test_a_dead_letter_says_its_reason(queue: Any, redis_client: Any) -> None:
    result = add.using(max_lost=1).enqueue(1, 2)
    broker = Broker(queue)
    broker.beat(["default"], ["c"], register=True)
    [message] = broker.claim("default", "c")
    broker.reap("default", "c", [message.id])  # its process died

    with pytest.raises(TaskFailed, match="killed its process once"):
        result.get(timeout=1)

    mirror(broker, "default", "default")
    forget(queue, redis_client, result)
    with pytest.raises(TaskFailed, match="killed its process once"):
        result.get(timeout=1)
    broker.close()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_wait_that_is_over_is_a_timeout_with_the_cure(queue: Any, timeout: float) -> None:
    result = add.enqueue(1, 2)
    began = time.monotonic()

    with pytest.raises(ResultTimeout, match="runworker") as caught:
        result.get(timeout=timeout)

    assert timeout <= time.monotonic() - began < timeout + 0.5
    assert isinstance(caught.value, TimeoutError)
    assert "READY" in str(caught.value)
    assert "'default'" in str(caught.value)


@pytest.mark.parametrize("task", [add.s(1, 2), noted.s(1), thrown_away.s(1)])
def test_get_inside_the_transaction_that_enqueued_is_an_error_at_once(
    queue: Any, task: Any
) -> None:
    began = time.monotonic()

    with transaction.atomic():
        result = task.task.enqueue(*task.args)
        with pytest.raises(ResultInsideTransaction, match="after the `atomic` block") as caught:
            result.get()
        with pytest.raises(ResultInsideTransaction), transaction.atomic():
            result.get(timeout=60)

    assert time.monotonic() - began < 1
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("task", [noted, thrown_away])
def test_what_is_not_committed_is_not_called_deleted(queue: Any, task: Any) -> None:
    with transaction.atomic():
        result = task.enqueue(1)

        for ask in (result.refresh, lambda: task.get_result(result.id)):
            with pytest.raises(ResultNotFound, match="not committed yet"):
                ask()

    result.refresh()
    assert result.state == "READY"


@pytest.mark.django_db(transaction=False)
def test_what_ran_inside_a_tests_transaction_is_got(work: Callable[..., None]) -> None:
    result = add.enqueue(1, 2)
    with pytest.raises(ResultInsideTransaction):
        result.get()

    work()  # its relay pushes the row; as in a TestCase

    assert transaction.get_connection().in_atomic_block
    assert result.get() == 3
    assert async_to_sync(result.aget)() == 3


def test_get_inside_another_transaction_is_none(work: Callable[..., None]) -> None:
    result = add.enqueue(1, 2)
    work()

    with transaction.atomic():
        add.enqueue(3, 4)
        assert result.get(timeout=5) == 3


# -- where it is read --------------------------------------------------------------------------


def test_a_fresh_result_asks_the_database_nothing(queue: Any) -> None:
    results = [add.enqueue(1, 2), add.using(run_after=timedelta(hours=1)).enqueue(1, 2)]

    with CaptureQueriesContext(connection) as queries:
        for result in results:
            result.refresh()

    assert [result.state for result in results] == ["READY", "SCHEDULED"]
    assert len(queries) == 0


def test_a_result_is_the_same_from_the_broker_and_from_its_row(
    queue: Any, redis_client: Any, work: Callable[..., None]
) -> None:
    for task, args in ((add, (1, 2)), (breaks, ("no",)), (third_time, ())):
        result: Any = task.enqueue(*args)
        work()
        result.refresh()
        fresh = replace(result)
        object.__setattr__(fresh, "_return_value", result._return_value)

        forget(queue, redis_client, result)
        result.refresh()

        assert result == fresh
        assert task.get_result(result.id) == fresh


def test_attempts_that_the_mirror_copied_are_still_told(
    queue: Any, work: Callable[..., None]
) -> None:
    failed, retried = breaks.enqueue("no"), third_time.enqueue()
    work()
    broker = Broker(queue)
    kept = broker.snapshots("default", [failed.id, retried.id])
    broker.close()
    noted = [fence for one in kept.values() for fence in one.noted]
    assert noted == []  # they are rows now

    failed.refresh()
    retried.refresh()

    assert (failed.attempts, len(failed.errors)) == (1, 1)
    assert (retried.attempts, len(retried.errors)) == (3, 2)


def test_a_message_that_was_settled_by_its_row_sends_readers_there(queue: Any) -> None:
    result = add.enqueue(1, 2)
    TaskRecord.objects.update(status="SUCCESSFUL", return_value=3)  # Redis came back older
    broker = Broker(queue)
    mirror(broker, "default", "default")
    broker.close()

    assert result.get(timeout=1) == 3


def test_while_the_broker_is_away_the_row_is_read(queue: Any, settings: Any) -> None:
    result = add.enqueue(1, 2)
    TaskRecord.objects.update(status="SUCCESSFUL", return_value=3)
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0"}

    assert result.get(timeout=5) == 3


def test_a_result_of_a_deleted_row_is_read_while_it_is_fresh(
    queue: Any, redis_client: Any, work: Callable[..., None]
) -> None:
    result = add.enqueue(1, 2)
    work()
    TaskRecord.objects.all().delete()

    assert result.get(timeout=1) == 3

    forget(queue, redis_client, result)
    with pytest.raises(ResultNotFound, match="its record was deleted"):
        result.refresh()


def test_record_never_has_a_result_while_it_is_fresh(
    queue: Any, redis_client: Any, work: Callable[..., None]
) -> None:
    result = thrown_away.enqueue(1)
    work()

    assert result.get(timeout=1) == 2
    assert thrown_away.get_result(result.id).return_value == 2
    assert result.attempts == 1

    forget(queue, redis_client, result)
    with pytest.raises(ResultNotFound, match="RESULT_TTL"):
        result.get(timeout=1)


def test_record_after_has_a_result_before_and_after_its_row(
    queue: Any, redis_client: Any, work: Callable[..., None]
) -> None:
    result = noted.enqueue(1)
    found = noted.get_result(result.id)
    assert (found.state, found.args, found.database) == ("READY", [1], "default")
    work()
    assert result.get(timeout=1) == 2

    forget(queue, redis_client, result)
    assert result.get(timeout=1) == 2
    assert noted.get_result(result.id).return_value == 2


def test_get_is_told_by_the_broker_and_asks_it_seldom(
    queue: Any, redis_client: Any, transactional_db: None
) -> None:
    result: Any = add.enqueue(1, 2)
    broker = Broker(queue)
    broker.beat(["default"], ["c"], register=True)
    [message] = broker.claim("default", "c")
    redis_client.config_resetstat()
    ended: list[float] = []

    def end() -> None:
        broker.ack("default", "c", [Outcome.successful(message, 3)])
        ended.append(time.monotonic())

    timer = threading.Timer(0.4, end)
    timer.start()

    assert result.get(timeout=10) == 3

    timer.join()
    assert time.monotonic() - ended[0] < 0.1
    stats = redis_client.info("commandstats")
    assert stats["cmdstat_hgetall"]["calls"] < 8, "it blocks between its looks"
    assert broker.snapshots("default", [result.id])[result.id].fields.get("watched") is None
    broker.close()
