"""Results and rows show what runs told: while they go on, after they ended, and of which run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from model_bakery import baker

from django_tasks import Retry, Snooze, django_task
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Outcome
from django_tasks.calls.progress import Reporter, read_report
from django_tasks.models import TaskAttempt, TaskRecord

IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
HOSTILE = '\x00\x1b[2J\u202e<script>"\\ \ud800 \U0001f600'


@django_task(takes_context=True, retries=3)
def import_rows(context: Any, count: int, ending: str = "") -> int:
    """Tells how far it is; ends as asked."""
    for number in range(count):
        context.progress(number + 1, count, f"row {number + 1}")
        context.log("read %s of %d", number + 1, count)
    match ending:
        case "retry":
            raise Retry(in_=3600)
        case "snooze":
            raise Snooze(in_=3600)
        case "fail":
            raise LookupError("no more retries")
    return count


# -- the logger --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_whole_lines_go_to_the_logger_with_the_tasks_name_and_id(
    work: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_tasks.task")
    result = import_rows.enqueue(2)

    work()

    records = [one for one in caplog.records if one.name == "django_tasks.task"]
    assert [one.getMessage() for one in records] == ["read 1 of 2", "read 2 of 2"]
    extra: Any = records[0]
    assert (extra.task_name, extra.message_id) == (f"{__name__}.import_rows", result.id)
    assert (extra.queue, extra.levelname) == ("default", "INFO")
    assert (extra.filename, extra.funcName) == ("test_result_progress.py", "import_rows")


# -- after the run -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ["", "retry", "snooze", "fail"])
def test_what_it_told_last_is_in_its_result_and_in_its_attempt(
    work: Callable[..., None], ending: str, settings: Any
) -> None:
    task = import_rows.using(retries=0) if ending == "fail" else import_rows
    result = task.enqueue(3, ending)
    assert result.progress is None

    work()
    result.refresh()

    attempt = TaskAttempt.objects.get()
    by_message, by_row = result.progress, read_report(attempt.report)
    assert by_message is not None
    assert (by_message.done, by_message.total, by_message.text) == (3, 3, "row 3")
    assert [line.text for line in by_message.log] == [f"read {n} of 3" for n in (1, 2, 3)]
    assert by_row == by_message
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": "redis://127.0.0.1:1/0"}
    result.refresh()  # from the row alone
    assert result.progress == by_message


@pytest.mark.django_db(transaction=True)
def test_a_run_that_told_nothing_has_no_report(work: Callable[..., None]) -> None:
    result = import_rows.enqueue(0)

    work()
    result.refresh()

    assert result.progress is None
    assert TaskAttempt.objects.get().report is None
    assert TaskAttempt.objects.filter(report__isnull=True).exists(), "no null of JSON"
    snapshot = get_broker().snapshots("default", [result.id])[result.id]
    assert "report" not in snapshot.fields


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("record", ["after", "never"])
def test_it_is_told_without_a_row_too(work: Callable[..., None], record: str) -> None:
    result = import_rows.using(record=record).enqueue(1)

    work()
    result.refresh()

    assert result.progress is not None
    assert result.progress.fraction == 1


@pytest.mark.django_db(transaction=True)
def test_hostile_words_come_through_both_stores(work: Callable[..., None], queue: Any) -> None:
    result = import_rows.enqueue(0)
    hands = Broker(queue)
    get_broker().settle()
    hands.beat(["default"], ["a"], register=True)
    [message] = hands.claim("default", "a")
    reporter = Reporter(message.fence)
    reporter.progress(1e16, 2, HOSTILE)
    reporter.log(HOSTILE)

    hands.ack("default", "a", [Outcome(message, "succeeded", fields={"report": reporter.report})])
    work()
    hands.close()

    result.refresh()
    assert result.progress is not None
    assert result.progress.text == result.progress.log[0].text == HOSTILE
    assert read_report(TaskAttempt.objects.get().report) == result.progress


# -- while it runs, step by step ----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_run_does_not_show_the_words_of_the_one_before(queue: Any) -> None:
    hands = Broker(queue)
    result = import_rows.enqueue(1)
    get_broker().settle()
    hands.beat(["default"], ["a"], register=True)

    def shown() -> float | None:
        result.refresh()
        return None if result.progress is None else result.progress.done

    def run(done: int) -> tuple[Any, str]:
        [message] = hands.claim("default", "a")
        reporter = Reporter(message.fence)
        if done:
            reporter.progress(done, 9, "")
        return message, reporter.report

    first, report = run(1)
    assert shown() is None
    hands.progress("default", [("a", first.id, first.fence, report)])
    assert shown() == 1, "live"
    hands.ack("default", "a", [Outcome(first, "snoozed", fields={"report": report})])
    assert shown() == 1, "of the last run, while it waits"

    second, _ = run(0)
    assert shown() is None, "it told nothing yet"
    hands.ack("default", "a", [Outcome(second, "snoozed")])
    assert shown() is None, "nor did it ever"

    third, report = run(3)
    hands.progress("default", [("a", third.id, third.fence, report)])
    hands.reap("default", "a", [third.id])
    assert shown() == 3, "its last words"
    hands.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("status", "shown"), [("RUNNING", None), ("SCHEDULED", 2), ("FAILED", 2)])
def test_a_row_alone_tells_of_the_last_run_that_ended(
    settings: Any, status: str, shown: int | None
) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}
    record = baker.make(
        TaskRecord, task_name=f"{__name__}.import_rows", status=status, enqueued_at=timezone.now()
    )
    for number in (1, 2):
        reporter = Reporter(number)
        reporter.progress(number, 2, "")
        report = json.loads(reporter.report)
        baker.make(TaskAttempt, record=record, fence=number, number=number, report=report)

    result = import_rows.get_result(str(record.id))

    assert (result.progress.done if result.progress else None) == shown


# -- without a worker --------------------------------------------------------------------------


def test_with_djangos_immediate_backend_to_tell_does_no_harm(settings: Any) -> None:
    settings.TASKS = {"default": IMMEDIATE}

    result = import_rows.enqueue(2)

    assert result.get() == 2
    assert result.progress is None
