"""The mirror: dirty messages → rows, and the marks cleaned afterwards (law 5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.bridge import mirror as mirror_module
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.errors import BrokerUnavailable
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import insert_records
from tests.bridge.steps import (
    Interrupted,
    claimed,
    dirty,
    end,
    message_for,
    message_of,
    pushed,
)

pytestmark = pytest.mark.django_db


# -- what is copied ----------------------------------------------------------------------------


def test_law_5_every_step_of_a_message_reaches_its_row(broker: Broker) -> None:
    record = pushed(broker)
    seen = []

    def look() -> None:
        mirror(broker, "default", "default")
        record.refresh_from_db()
        seen.append((record.status, record.worker_id, record.attempt))

    look()
    [message] = claimed(broker)
    look()
    end(broker, message, "retried", delay=3600, error_class="ValueError", error_message="once")
    look()

    assert seen == [("READY", "", 0), ("RUNNING", "c", 0), ("SCHEDULED", "c", 1)]
    assert record.error_message == "once"
    assert record.run_after is not None
    assert 3590 < (record.run_after - datetime.now(UTC)).total_seconds() < 3610
    assert dirty(broker) == []


def test_law_5_a_result_reaches_its_row_with_all_that_is_known(broker: Broker) -> None:
    record = pushed(broker)
    [message] = claimed(broker)
    end(broker, message, return_value='{"sum":3}')

    assert mirror(broker, "default", "default") == 1

    record.refresh_from_db()
    assert (record.status, record.return_value) == ("SUCCESSFUL", {"sum": 3})
    assert record.fence == message.fence < record.revision
    assert record.started_at is not None
    assert record.finished_at is not None
    assert (record.finished_at - record.started_at) == timedelta(microseconds=1)
    [attempt] = record.attempts.all()
    assert (attempt.number, attempt.fence, attempt.outcome) == (1, message.fence, "succeeded")
    assert (attempt.consumer, attempt.claimed_at) == (
        "c",
        record.started_at - timedelta(microseconds=1),
    )


def test_what_is_final_is_copied_before_what_is_a_little_older_and_is_not(
    broker: Broker, redis_client: Any
) -> None:
    long_ago, first, waiting = (pushed(broker, priority=priority) for priority in (0, 9, 0))
    redis_client.zincrby(broker.keys("default").dirty("default"), -60_000_000, str(long_ago.id))
    [message] = claimed(broker)

    end(broker, message)

    assert message.id == str(first.id)
    assert dirty(broker) == [str(one.id) for one in (long_ago, first, waiting)]


def test_while_a_later_attempt_runs_the_row_names_its_worker(broker: Broker) -> None:
    record = pushed(broker, max_attempts=3)
    [message] = claimed(broker)
    end(broker, message, "retried", error_class="ValueError")
    broker.beat(["default"], ["d"], register=True)
    broker.claim("default", "d")

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert (record.status, record.worker_id) == ("RUNNING", "d")


def test_a_batch_is_one_update_and_nothing_else(broker: Broker) -> None:
    for _ in range(60):
        pushed(broker)

    with CaptureQueriesContext(connection) as queries:
        assert mirror(broker, "default", "default") == 60

    asked = [one["sql"] for one in queries if "django_tasks_taskrecord" in one["sql"]]
    assert [sql.split()[0] for sql in asked] == ["UPDATE"]
    assert TaskRecord.objects.ready().count() == 60


def test_a_batch_ends_at_500_rows(broker: Broker) -> None:
    records = [pushed(broker) for _ in range(501)]

    assert mirror(broker, "default", "default") == 500
    assert len(dirty(broker)) == 1
    assert mirror(broker, "default", "default") == 1
    assert mirror(broker, "default", "default") == 0
    assert TaskRecord.objects.ready().count() == len(records)


def test_a_batch_ends_at_one_megabyte_but_holds_at_least_one(broker: Broker) -> None:
    for size in (400_000, 400_000, 400_000, 1_500_000):
        pushed(broker, args=["x" * size, 1])

    assert [mirror(broker, "default", "default") for _ in range(4)] == [2, 1, 1, 0]


def test_the_oldest_change_is_copied_first(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "BATCH_ROWS", 1)
    first, second = pushed(broker), pushed(broker)

    mirror(broker, "default", "default")

    statuses = dict(TaskRecord.objects.values_list("id", "status"))
    assert (statuses[first.id], statuses[second.id]) == ("READY", "PENDING")


def test_each_database_has_its_own_marks(broker: Broker, other_database: str) -> None:
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2])
    insert_records([record], using=other_database)
    message = message_for(broker, record, other_database)
    broker.push("default", [message])
    near = pushed(broker)

    assert mirror(broker, "default", "default") == 1
    assert TaskRecord.objects.using(other_database).get().status == "PENDING"
    assert mirror(broker, "default", other_database) == 1

    assert TaskRecord.objects.using(other_database).get().status == "READY"
    assert TaskRecord.objects.get().id == near.id


# -- what is cleaned ---------------------------------------------------------------------------


def test_law_5_a_finished_message_leaves_only_after_its_row_says_so(
    broker: Broker, redis_client: Any
) -> None:
    record = pushed(broker)
    key = broker.keys("default").message(str(record.id))
    [message] = claimed(broker)
    end(broker, message, return_value="3")
    before = redis_client.ttl(key)

    mirror(broker, "default", "default")

    assert before == -1  # no time to live
    assert 0 < redis_client.ttl(key) <= broker.settings.result_ttl


def test_law_5_what_changed_between_read_and_clean_stays_dirty(
    broker: Broker, interrupted: Callable[..., Interrupted]
) -> None:
    record = pushed(broker)
    [message] = claimed(broker)
    mirroring = interrupted(before_clean=lambda: end(broker, message, return_value="3"))

    mirror(mirroring, "default", "default")

    record.refresh_from_db()
    assert record.status == "RUNNING"
    assert dirty(broker) == [str(record.id)]
    mirror(broker, "default", "default")
    record.refresh_from_db()
    assert (record.status, record.return_value) == ("SUCCESSFUL", 3)
    assert dirty(broker) == []


def test_law_5_attempts_copied_leave_the_message_even_if_it_changed_meanwhile(
    broker: Broker, interrupted: Callable[..., Interrupted]
) -> None:
    record = pushed(broker, max_attempts=5)
    [message] = claimed(broker)
    end(broker, message, "retried", error_class="ValueError")

    mirror(interrupted(before_clean=lambda: claimed(broker)), "default", "default")

    assert message_of(broker, record).attempts == ()
    assert dirty(broker) == [str(record.id)]
    assert record.attempts.count() == 1


def test_law_5_a_mirror_that_comes_late_does_not_take_a_row_back(
    broker: Broker, interrupted: Callable[..., Interrupted]
) -> None:
    record = pushed(broker)
    [message] = claimed(broker)

    def end_and_mirror() -> None:
        end(broker, message, return_value="3")
        mirror(broker, "default", "default")

    mirror(interrupted(after_read=end_and_mirror), "default", "default")

    record.refresh_from_db()
    assert (record.status, record.return_value) == ("SUCCESSFUL", 3)
    assert message_of(broker, record).state == "SUCCESSFUL"
    assert message_of(broker, record).return_value == "3"


def test_law_5_a_clean_that_never_came_is_made_up_for(
    broker: Broker, interrupted: Callable[..., Interrupted]
) -> None:
    def die() -> None:
        raise BrokerUnavailable("gone between commit and clean")

    record = pushed(broker)
    [message] = claimed(broker)
    end(broker, message, return_value="3")
    with pytest.raises(BrokerUnavailable):
        mirror(interrupted(before_clean=die), "default", "default")

    assert dirty(broker) == [str(record.id)]
    mirror(broker, "default", "default")
    assert dirty(broker) == []
    assert record.attempts.count() == 1


# -- record="after" ----------------------------------------------------------------------------


def test_record_after_gets_its_row_from_the_mirror(broker: Broker) -> None:
    made = pushed(broker, "after", queue_name="default", priority=7, kwargs={"b": [1]})

    mirror(broker, "default", "default")

    row = TaskRecord.objects.get()
    assert (row.id, row.status, row.priority) == (made.id, "READY", 7)
    assert (row.task_name, row.description) == (made.task_name, made.description)
    assert (row.args, row.kwargs, row.queue_name) == ([1, 2], {"b": [1]}, "default")
    assert row.created_at is not None


def test_law_5_record_after_is_inserted_once_and_stays_deleted(broker: Broker) -> None:
    pushed(broker, "after")
    mirror(broker, "default", "default")
    [message] = claimed(broker)
    TaskRecord.objects.all().delete()

    mirror(broker, "default", "default")
    end(broker, message, return_value="3")
    mirror(broker, "default", "default")

    assert not TaskRecord.objects.exists()
    assert broker.snapshots("default", [message.id]) == {}


def test_record_after_that_was_written_meanwhile_is_updated(broker: Broker) -> None:
    made = pushed(broker, "after")
    insert_records([made], using="default")  # the answer of its push was lost

    mirror(broker, "default", "default")

    assert TaskRecord.objects.get().status == "READY"


def test_record_after_that_ended_before_the_mirror_saw_it_has_its_arguments(
    broker: Broker,
) -> None:
    pushed(broker, "after")
    [message] = claimed(broker)
    end(broker, message, return_value="3")

    mirror(broker, "default", "default")

    row = TaskRecord.objects.get()
    assert (row.status, row.return_value, row.args) == ("SUCCESSFUL", 3, [1, 2])
    assert row.attempts.count() == 1


def test_record_never_is_never_dirty(broker: Broker) -> None:
    pushed(broker, "never")
    [message] = claimed(broker)
    end(broker, message, return_value="3")

    assert mirror(broker, "default", "default") == 0
    assert not TaskRecord.objects.exists()


# -- attempts ----------------------------------------------------------------------------------


def test_each_run_is_one_attempt(broker: Broker) -> None:
    record = pushed(broker, max_attempts=5)
    for word in ("retried", "snoozed", "retried", "succeeded"):
        [message] = claimed(broker)
        end(broker, message, word, error_class="" if word == "succeeded" else "ValueError")
        mirror(broker, "default", "default")

    attempts = list(record.attempts.values_list("number", "outcome"))
    assert attempts == [(1, "retried"), (2, "snoozed"), (2, "retried"), (3, "succeeded")]


def test_an_attempt_that_was_told_lost_and_then_reports_is_corrected(broker: Broker) -> None:
    record = pushed(broker)
    [message] = claimed(broker)
    broker.reap("default", "c", [message.id], "SIGKILL")
    mirror(broker, "default", "default")
    [told] = record.attempts.all()
    record.refresh_from_db()
    assert (told.outcome, told.error_message, record.lost) == ("lost", "SIGKILL", 1)

    end(broker, message, return_value="3")  # its report came late, and nobody had claimed it
    mirror(broker, "default", "default")

    [told] = record.attempts.all()
    record.refresh_from_db()
    assert (told.fence, told.outcome, record.lost) == (message.fence, "succeeded", 0)
    assert told.error_message == ""
    assert record.status == "SUCCESSFUL"
