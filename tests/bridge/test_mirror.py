"""The mirror: dirty messages → rows, and the marks cleaned afterwards (law 5)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from django_tasks.bridge import mirror as mirror_module
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome, to_json
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.models.bulk import insert_records
from django_tasks.states import FINAL, State
from tests.bridge.conftest import claimed, pushed

pytestmark = pytest.mark.django_db

LATER = datetime.now(UTC) + timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Interrupted(Broker):
    """A broker to which something happens between two steps of the mirror."""

    __slots__ = ("after_read", "before_clean")

    def __init__(
        self,
        settings: TaskSettings,
        after_read: Callable[[], object] = lambda: None,
        before_clean: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(settings)
        self.after_read = after_read
        self.before_clean = before_clean

    def snapshots(self, *args: Any, **kwargs: Any) -> Any:
        found = super().snapshots(*args, **kwargs)
        self.after_read()
        return found

    def clean(self, *args: Any, **kwargs: Any) -> Any:
        self.before_clean()
        return super().clean(*args, **kwargs)


@pytest.fixture
def interrupted(queue: TaskSettings) -> Iterator[Callable[..., Interrupted]]:
    made: list[Interrupted] = []

    def make(**steps: Callable[[], object]) -> Interrupted:
        made.append(Interrupted(queue, **steps))
        return made[-1]

    yield make
    for one in made:
        one.close()


def fields_of(message: Message, word: str, **fields: str) -> dict[str, str]:
    """What a run of a message that ended in ``word`` reports."""
    attempt = {
        "number": message.attempt + 1,
        "consumer": "c",
        "claimed_at": message.fence,
        "started_at": message.fence + 1,
        "finished_at": message.fence + 2,
        "outcome": word,
        **{name: text for name, text in fields.items() if name in ("error_class", "traceback")},
    }
    return {
        f"attempt:{message.fence}": to_json(attempt),
        "started_at": str(message.fence + 1),
        "finished_at": str(message.fence + 2),
        "worker_id": "c",
        **fields,
    }


def end(
    broker: Broker, message: Message, word: str = "succeeded", *, delay: float = 0, **fields: str
) -> None:
    """Ack ``message`` as the consumer "c"."""
    given = fields_of(message, word, **fields)
    broker.ack("default", "c", [Outcome(message, word, delay, 0.001, given)])


def dirty(broker: Broker) -> list[str]:
    return broker.dirty("default", "default")


def message_of(broker: Broker, record: TaskRecord) -> Any:
    return broker.snapshots("default", [str(record.id)])[str(record.id)]


def bring(broker: Broker, state: str, redis_client: Any, **given: Any) -> TaskRecord:
    """A row and a message in ``state``."""
    if state == "SCHEDULED":
        return pushed(broker, run_after=LATER, **given)
    if state == "EXPIRED":
        record = pushed(broker, expires=LONG_AGO, **given)
        claimed(broker)
        return record
    record = pushed(broker, **given)
    if state in ("RUNNING", "SUCCESSFUL", "FAILED"):
        [message] = claimed(broker)
        if state == "SUCCESSFUL":
            end(broker, message, return_value="3")
        elif state == "FAILED":
            end(broker, message, "failed", error_class="ValueError", error_message="no")
    elif state in ("CANCELLED", "DEFERRED"):  # their scripts come with actions and workflows
        key = broker.keys("default")
        redis_client.zrem(key.ready, str(record.id))
        redis_client.hset(key.message(str(record.id)), "state", state)
    return record


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


def test_while_a_later_attempt_runs_the_row_names_its_worker(broker: Broker) -> None:
    record = pushed(broker, max_attempts=3)
    [message] = claimed(broker)
    end(broker, message, "retried", error_class="ValueError")
    broker.beat(["default"], ["d"], register=True)
    broker.claim("default", "d")

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert (record.status, record.worker_id) == ("RUNNING", "d")


def test_a_batch_is_one_update_of_the_records(broker: Broker) -> None:
    for _ in range(60):
        pushed(broker)

    with CaptureQueriesContext(connection) as queries:
        assert mirror(broker, "default", "default") == 60

    updates = [one["sql"] for one in queries if "UPDATE" in one["sql"] and "task" in one["sql"]]
    assert len(updates) == 1
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
    message = mirror_module_message(broker, record, other_database)
    broker.push("default", [message])
    near = pushed(broker)

    assert mirror(broker, "default", "default") == 1
    assert TaskRecord.objects.using(other_database).get().status == "PENDING"
    assert mirror(broker, "default", other_database) == 1

    assert TaskRecord.objects.using(other_database).get().status == "READY"
    assert TaskRecord.objects.get().id == near.id


def mirror_module_message(broker: Broker, record: TaskRecord, database: str) -> Message:
    from django_tasks.bridge.translate import to_message

    return to_message(record, broker.settings, database=database)


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


# -- a row that says otherwise -----------------------------------------------------------------

MESSAGE_STATES = "DEFERRED SCHEDULED READY RUNNING SUCCESSFUL FAILED CANCELLED EXPIRED".split()


@pytest.mark.parametrize("row_state", list(State))
@pytest.mark.parametrize("message_state", MESSAGE_STATES)
def test_laws_5_and_7_the_first_final_state_of_a_round_stays(
    broker: Broker, redis_client: Any, row_state: str, message_state: str
) -> None:
    record = bring(broker, message_state, redis_client)
    TaskRecord.objects.update(status=row_state, return_value={"of": "the row"})

    mirror(broker, "default", "default")

    record.refresh_from_db()
    after = message_of(broker, record)
    if row_state in FINAL:
        assert (record.status, record.return_value) == (row_state, {"of": "the row"})
        assert after.state == row_state
        assert broker.backlog("default")["ready"] == 0
        assert broker.backlog("default")["unacked"] == 0
        assert broker.backlog("default")["scheduled"] == 0
        assert broker.holdings("default", "c") == {}
    else:
        assert record.status == message_state == after.state
    assert dirty(broker) == []


@pytest.mark.parametrize("message_state", MESSAGE_STATES)
def test_law_5_a_row_of_a_later_round_is_not_touched_by_an_earlier_one(
    broker: Broker, redis_client: Any, message_state: str
) -> None:
    record = bring(broker, message_state, redis_client)
    TaskRecord.objects.update(status="PENDING", round=2, run_after=None, expires=None)

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert (record.status, record.round) == ("PENDING", 2)
    assert dirty(broker) == []
    # Final now, whatever it was: the push of the later round starts it again.
    assert message_of(broker, record).state in FINAL
    broker.push("default", [mirror_module_message(broker, record, "default")])
    mirror(broker, "default", "default")
    record.refresh_from_db()
    assert (record.status, record.round) == ("READY", 2)


def test_law_5_a_later_round_writes_over_a_final_row(broker: Broker) -> None:
    record = pushed(broker, round=2)
    TaskRecord.objects.update(round=1, status="FAILED", revision=2**60)

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert (record.status, record.round) == ("READY", 2)


@pytest.mark.parametrize("message_state", ["SCHEDULED", "READY", "RUNNING"])
def test_law_5_a_message_behind_its_row_is_raised_above_it_and_stays_dirty(
    broker: Broker, redis_client: Any, message_state: str
) -> None:
    record = bring(broker, message_state, redis_client)
    fence = message_of(broker, record).fence
    ahead = message_of(broker, record).revision + 10**9
    TaskRecord.objects.update(status="RUNNING", revision=ahead, fence=ahead)

    mirror(broker, "default", "default")

    record.refresh_from_db()
    after = message_of(broker, record)
    assert (record.status, record.revision) == ("RUNNING", ahead)
    assert after.revision > ahead
    # A holder's fence is what it will report with.
    assert after.fence == (fence if message_state == "RUNNING" else ahead)
    assert dirty(broker) == [str(record.id)]

    mirror(broker, "default", "default")
    record.refresh_from_db()
    assert (record.status, record.revision) == (message_state, after.revision)
    assert dirty(broker) == []


def test_law_5_a_row_of_the_same_revision_is_written(broker: Broker) -> None:
    record = pushed(broker)
    revision = message_of(broker, record).revision
    TaskRecord.objects.update(status="PENDING", revision=revision)

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert (record.status, record.revision) == ("READY", revision)


def test_law_8_a_message_whose_row_was_deleted_is_dropped_and_counted(
    broker: Broker, redis_client: Any
) -> None:
    record, kept = pushed(broker), pushed(broker)
    record.delete()

    mirror(broker, "default", "default")

    assert list(broker.snapshots("default", [str(record.pk), str(kept.id)])) == [str(kept.id)]
    assert [str(one.id) for one in TaskRecord.objects.all()] == [str(kept.id)]
    assert broker.backlog("default", ["default"]) == {
        "ready": 1,
        "scheduled": 0,
        "unacked": 0,
        "dirty": 0,
    }
    [counts] = [
        redis_client.hgetall(key)
        for key in redis_client.keys(broker.keys("default").count(0)[:-1] + "*")
    ]
    assert counts["dropped"] == "1"


def test_law_5_a_row_deleted_while_its_message_runs_stays_deleted(broker: Broker) -> None:
    record = pushed(broker)
    record_id = str(record.id)
    [message] = claimed(broker)
    TaskRecord.objects.all().delete()

    mirror(broker, "default", "default")
    assert broker.holder("default", record_id) == ("c", message.fence)
    end(broker, message, return_value="3")
    mirror(broker, "default", "default")

    assert not TaskRecord.objects.exists()
    assert not TaskAttempt.objects.exists()
    assert broker.snapshots("default", [record_id]) == {}
    assert dirty(broker) == []


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
    broker.reap("default", "c", [message.id])
    mirror(broker, "default", "default")
    [told] = record.attempts.all()
    record.refresh_from_db()
    assert (told.outcome, record.lost) == ("lost", 1)

    end(broker, message, return_value="3")  # its report came late, and nobody had claimed it
    mirror(broker, "default", "default")

    [told] = record.attempts.all()
    record.refresh_from_db()
    assert (told.fence, told.outcome, record.lost) == (message.fence, "succeeded", 0)
    assert record.status == "SUCCESSFUL"


# -- values that a database refuses, rows that are locked --------------------------------------


def refuse_value(
    broker: Broker, redis_client: Any, record: TaskRecord, name: str, text: str
) -> None:
    redis_client.hset(broker.keys("default").message(str(record.id)), name, text)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("return_value", "1e999"),  # no database has infinity in JSON
        ("return_value", "[" * 100_000 + "]" * 100_000),  # deeper than Python walks
    ],
)
def test_law_5_a_refused_value_is_noted_and_its_neighbours_are_written(
    broker: Broker, redis_client: Any, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    caplog.set_level(logging.WARNING)
    records = [pushed(broker) for _ in range(5)]
    for message in claimed(broker, 5):
        end(broker, message, return_value='"good"')
    poisoned = records[2]
    refuse_value(broker, redis_client, poisoned, name, text)

    mirror(broker, "default", "default")

    values = {row.id: row.return_value for row in TaskRecord.objects.successful()}
    assert len(values) == 5
    assert dirty(broker) == []
    assert "refused" in values.pop(poisoned.id)
    assert set(values.values()) == {"good"}
    warnings = {one.__dict__["message_id"] for one in caplog.records}
    assert warnings == {str(poisoned.id)}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no single row")
@pytest.mark.django_db(transaction=True)
def test_law_5_a_locked_row_goes_later_and_its_neighbours_are_written(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "LOCK_TIMEOUT", 0.1)
    records = [pushed(broker) for _ in range(4)]
    locked = records[1]
    other: Any = connections.create_connection("default")
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM django_tasks_taskrecord WHERE id = %s FOR UPDATE", [locked.id]
        )

    mirror(broker, "default", "default")

    assert set(TaskRecord.objects.ready()) == set(records) - {locked}
    assert dirty(broker) == [str(locked.id)]

    other.rollback()
    other.close()
    mirror(broker, "default", "default")
    assert set(TaskRecord.objects.ready()) == set(records)
    assert dirty(broker) == []


@pytest.mark.django_db(transaction=True)
def test_law_5_any_text_comes_back_equal(broker: Broker) -> None:
    nasty = "a\x00b \ud800 \udfff c\ue01bd \ue01b0000 \U0001f600 \\u0000"
    record = pushed(broker, "first", args=[nasty, {nasty: [nasty]}], description=nasty)
    [message] = claimed(broker)
    end(
        broker,
        message,
        "failed",
        return_value=json.dumps({nasty: [nasty]}),
        error_class="ValueError",
        error_message=nasty,
        traceback=nasty,
    )

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert record.return_value == {nasty: [nasty]}
    assert (record.error_message, record.traceback, record.description) == (nasty,) * 3
    assert record.args == [nasty, {nasty: [nasty]}]
    [attempt] = record.attempts.all()
    assert attempt.traceback == nasty


def test_law_8_foreign_things_among_the_marks_stop_nobody(
    broker: Broker, redis_client: Any
) -> None:
    keys = broker.keys("default")
    redis_client.hset(keys.message("not-a-uuid"), mapping={"state": "READY", "database": "default"})
    strange = pushed(broker)
    redis_client.hset(keys.message(str(strange.id)), "state", "DANCING")
    redis_client.lpush(keys.message("a-list"), "x")
    for name in ("not-a-uuid", "a-list", "nothing-at-all"):
        redis_client.zadd(keys.dirty("default"), {name: 1})
    good = pushed(broker)

    mirror(broker, "default", "default")

    good.refresh_from_db()
    assert good.status == "READY"
    assert dirty(broker) == []
