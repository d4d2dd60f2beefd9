"""execute: one message → one outcome; errors of every kind end the attempt, not the worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_tasks.errors import TaskFailed
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.running import Site


def errors(site: Site, record_id: str) -> list[str]:
    return site.workers[0].lines(" ERROR ", record_id)


def starts(site: Site, key: str) -> list[float]:
    return [line.at for line in site.told(f"run {key}")]


@pytest.mark.parametrize("kind", sorted(tasks.FAILURES))
def test_an_error_of_any_kind_ends_the_attempt_and_not_the_worker(live: Site, kind: str) -> None:
    children = live.consumers()
    # Python turns what a coroutine may not raise into another error.
    raised = {"builtins.StopIteration": "builtins.RuntimeError"}.get(kind, kind)

    plain, awaited = tasks.fail.enqueue(kind), tasks.fail_async.enqueue(kind)

    for result, error_class in ((plain, kind), (awaited, raised)):
        record = live.record(result, "FAILED")
        assert record.error_class == error_class
        assert (record.attempt, record.lost, record.dead_letter) == (1, 0, "")
        assert live.attempts(record) == ["failed"]
        assert "raise" in record.traceback or "Error" in record.traceback
        assert len(errors(live, result.id)) == 1
    assert live.value(tasks.add.enqueue(1, 2)) == 3
    assert live.consumers() == children


@pytest.mark.parametrize(
    "task",
    [
        tasks.return_set,
        tasks.return_nan,
        tasks.return_generator,
        tasks.return_coroutine,
        tasks.return_async_generator,
        tasks.return_loop,
    ],
    ids=lambda task: str(task.func.__name__),
)
def test_what_has_no_json_form_can_not_be_returned(live: Site, task: Any) -> None:
    result = task.enqueue()

    record = live.record(result, "FAILED")
    assert record.error_class == "django_tasks.errors.ReturnValueNotSerializable"
    assert f"{task.func.__name__}()" in record.error_message
    assert len(errors(live, result.id)) == 1


def test_values_come_back_equal(live: Site) -> None:
    value = {"text": "a\0b\ud800 é", "list": [1, 2.5, None, True], "deep": {"": {}}}

    result = tasks.echo.enqueue(value)

    assert live.value(result) == value
    assert live.record(result, "SUCCESSFUL").return_value == value


def test_an_expected_error_is_no_error_in_the_log_and_not_retried(live: Site) -> None:
    result = tasks.fail_as_expected.enqueue()

    record = live.record(result, "FAILED")
    assert (record.error_class, record.error_message, record.attempt) == (
        "tests.worker.live_tasks.Expected",
        "no stock",
        1,
    )
    assert errors(live, result.id) == []
    assert live.workers[0].lines(" WARNING ", result.id) == []


def test_a_retried_attempt_is_no_error_in_the_log(live: Site) -> None:
    result = tasks.at_once.enqueue("log", 2)

    record = live.record(result, "SUCCESSFUL")
    assert record.return_value == 3
    assert (record.attempt, record.error_class) == (2, "")
    assert live.attempts(record) == ["retried", "retried", "succeeded"]
    assert errors(live, result.id) == []
    assert len(live.workers[0].lines(" WARNING ", result.id)) == 2


def test_exhausted_retries_are_one_failure(live: Site) -> None:
    result = tasks.at_once.enqueue("exhausted", 9)

    with pytest.raises(TaskFailed, match="run 3"):
        live.value(result)

    record = live.record(result, "FAILED")
    assert (record.attempt, record.max_attempts) == (3, 3)
    assert live.attempts(record) == ["retried", "retried", "failed"]
    numbers = record.attempts.order_by("fence").values_list("number", "error_message")
    assert list(numbers) == [(1, "run 1"), (2, "run 2"), (3, "run 3")]
    assert len(errors(live, result.id)) == 1
    assert len(live.workers[0].lines("run 3", "OSError")) >= 1


def test_backoff_zero_retries_at_once(live: Site) -> None:
    live.value(tasks.at_once.enqueue("zero", 2))

    first, _, third = starts(live, "zero")
    assert third - first < 1


@pytest.mark.parametrize("task", [tasks.by_tuple, tasks.by_dict], ids=["tuple", "dict"])
def test_backoff_says_how_long_to_wait(live: Site, task: Any) -> None:
    key = task.func.__name__

    result = task.enqueue(key)

    assert live.value(result) == 2
    first, second = starts(live, key)
    assert 0.3 <= second - first < 1.3


def test_backoff_as_a_timedelta_has_jitter_below_it(live: Site) -> None:
    live.value(tasks.by_timedelta.enqueue("timedelta"))

    first, second = starts(live, "timedelta")
    assert second - first < 1.1


def test_only_the_named_errors_are_retried(live: Site) -> None:
    result = tasks.only_for_connections.enqueue("named")

    record = live.record(result, "FAILED")
    assert (record.attempt, record.error_class) == (1, "builtins.OSError")
    assert len(live.told("run named")) == 1


def test_retry_says_when_and_counts(live: Site) -> None:
    result = tasks.retry_in.enqueue("retry", 0.2, 1)

    record = live.record(result, "SUCCESSFUL")
    assert live.attempts(record) == ["retried", "succeeded"]
    assert record.attempt == 1
    first, second = starts(live, "retry")
    assert 0.2 <= second - first < 1.2


def test_retry_gives_up_where_the_retries_end(live: Site) -> None:
    result = tasks.retry_in.enqueue("given-up", 0, 9)

    record = live.record(result, "FAILED")
    assert (record.attempt, record.error_class) == (2, "django_tasks.calls.retries.Retry")
    assert live.attempts(record) == ["retried", "failed"]
    assert len(errors(live, result.id)) == 1


def test_snooze_is_later_and_never_counted(live: Site) -> None:
    result = tasks.snooze_in.enqueue("snooze", 0.1, 3)

    record = live.record(result, "SUCCESSFUL")
    assert (record.attempt, record.max_attempts, record.return_value) == (0, 1, 4)
    assert live.attempts(record) == ["snoozed"] * 3 + ["succeeded"]
    first, second, *_ = starts(live, "snooze")
    assert 0.1 <= second - first < 1.1
    assert errors(live, result.id) == []


def test_run_after_waits_for_its_time(live: Site) -> None:
    due = timezone.now() + timedelta(seconds=0.6)

    result = tasks.tell.using(run_after=due).enqueue("due")

    assert live.record(result, "SCHEDULED").run_after == due
    [line] = live.wait_for("ran due")
    assert 0 <= line.at - due.timestamp() < 1


def test_what_expired_is_not_started(live: Site) -> None:
    result = tasks.tell.using(
        expires=0.2, run_after=timezone.now() + timedelta(seconds=0.4)
    ).enqueue("expired")

    record = live.record(result, "EXPIRED")
    assert record.started_at is None
    assert record.finished_at is not None
    assert live.told("ran expired") == []


def test_the_context_tells_attempt_and_result(live: Site) -> None:
    result = tasks.look_around.enqueue("context")

    told = live.value(result)
    record = live.record(result, "SUCCESSFUL")
    assert told["attempt"] == 2
    assert told["id"] == result.id
    assert told["args"] == ["context"]
    assert told["worker_ids"][-1] == record.worker_id
    assert record.worker_id in live.consumers()
    assert told["enqueued"] == str(result.enqueued_at)


def test_an_async_task_may_use_the_orm(live: Site) -> None:
    tasks.tell.using(run_after=timedelta(hours=1)).enqueue("many-a")
    tasks.tell.using(run_after=timedelta(hours=1)).enqueue("many-b")

    assert live.value(tasks.count_records.enqueue("many-")) == 3  # and its own


def test_signals_tell_what_became_of_a_call(live: Site) -> None:
    from django_tasks.task_signals import task_enqueued

    enqueued: list[str] = []

    def receive(sender: Any, task_result: Any, **_: Any) -> None:
        enqueued.append(task_result.id)

    task_enqueued.connect(receive)
    try:
        good, bad = tasks.add.enqueue(1, 2), tasks.fail.enqueue("builtins.ValueError")
    finally:
        task_enqueued.disconnect(receive)

    assert enqueued == [good.id, bad.id]
    live.wait_for(f"signal started {good.id} RUNNING ")
    live.wait_for(f"signal finished {good.id} SUCCESSFUL 3")
    live.wait_for(f"signal started {bad.id} RUNNING ")
    live.wait_for(f"signal finished {bad.id} FAILED builtins.ValueError")


def test_a_receiver_that_raises_stops_no_task(live: Site) -> None:
    result = tasks.tell.enqueue("noisy-signal")

    assert live.record(result, "SUCCESSFUL")
    wait_until(lambda: live.workers[0].lines("A receiver of a task signal failed for", result.id))


def test_per_task_lines_name_the_record(live: Site) -> None:
    result = tasks.tell.enqueue("line")

    live.record(result, "SUCCESSFUL")
    assert live.workers[0].lines(" INFO ", f"tell('line') {result.id} succeeded in")


def test_no_run_made_the_log_fail(live: Site) -> None:
    log = live.workers[0].log

    assert "Logging error" not in log
    assert "Warning: " not in log
    assert "never retrieved" not in log
