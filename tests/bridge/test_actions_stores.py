"""Deeds where there are several stores, where one goes away midway, and beside the mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError

from django_tasks import django_task
from django_tasks.bridge import actions
from django_tasks.bridge.deeds import Done
from django_tasks.bridge.deliver import deliver
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import insert_records
from django_tasks.ops import control
from django_tasks.worker.burst import burst
from tests.bridge.steps import bring, claimed, end, message_of, pushed, written
from tests.servers import Server
from tests.tasks import add
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def fresh(record: TaskRecord, database: str = "default") -> TaskRecord:
    return TaskRecord.objects.using(database).get(pk=record.pk)


def in_database(database: str, **given: Any) -> TaskRecord:
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2], **given)
    insert_records([record], using=database)
    return fresh(record, database)


# -- several databases -----------------------------------------------------------------------------


def test_records_of_several_databases_are_retried_each_in_its_own(
    broker: Broker, other_database: str
) -> None:
    here = in_database("default", status="FAILED")
    there = in_database(other_database, status="FAILED")

    done = actions.retry([here, there], by="anna", reason="both")

    assert (done.matched, done.changed) == (2, 2)
    get_broker().settle()
    found = {one.id: one.database for one in claimed(broker, 5)}
    assert found == {str(here.id): "default", str(there.id): other_database}
    for record, database in ((here, "default"), (there, other_database)):
        row = fresh(record, database)
        assert (row.status, row.round) == ("PENDING", 2)
        assert row.metadata["deed"]["reason"] == "both"


def test_what_waits_in_several_databases_is_cancelled_and_purged(
    broker: Broker, other_database: str, settings: Any
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "DATABASE": "same"}
    one, two = in_database("default"), in_database(other_database)
    three, four = in_database("default"), in_database(other_database)
    for database in ("default", other_database):
        deliver(broker, database)

    assert actions.cancel([one, two]).changed == 2
    heard: list[int] = []
    done = control.purge("default", by="anna", tell=lambda so_far: heard.append(so_far.matched))

    assert (done.matched, done.changed) == (2, 2)
    assert heard == [1, 2]  # one sum over all databases
    for record, database in (
        (one, "default"),
        (two, other_database),
        (three, "default"),
        (four, other_database),
    ):
        assert fresh(record, database).status == "CANCELLED"
    assert claimed(broker) == []


# -- several brokers -------------------------------------------------------------------------------


@pytest.fixture
def second(queue: TaskSettings, settings: Any) -> Iterator[Broker]:
    """The broker of another alias of TASKS, on a server of its own."""
    backend = {"BACKEND": "django_tasks.RedisBackend"}
    with Server() as server:
        settings.TASKS = {
            "default": backend,
            "second": {**backend, "OPTIONS": {"BROKER": server.url, "PREFIX": "second"}},
        }
        made = get_broker("second")
        made.beat(["default"], ["c"], register=True)
        yield made


def test_a_deed_goes_to_the_broker_by_which_a_record_was_enqueued(
    broker: Broker, second: Broker, queue: TaskSettings
) -> None:
    ours = written(queue)
    theirs = written(queue, metadata={"backend": "second"})
    deliver(broker, "default")
    deliver(second, "default", aliases=["second"])
    failed = written(queue, status="FAILED", metadata={"backend": "second"})

    assert actions.prioritize([ours, theirs], 9).changed == 2
    assert actions.retry(failed).changed == 1

    second.settle()
    assert {
        message_of(broker, ours).fields["priority"],
        message_of(second, theirs).fields["priority"],
    } == {"9"}
    assert message_of(second, failed).state == "READY"
    assert actions.cancel(TaskRecord.objects.all()).changed == 3
    assert claimed(second, 9) == claimed(broker, 9) == []


def test_a_purge_leaves_another_alias_s_queue_of_that_name(
    broker: Broker, second: Broker, queue: TaskSettings
) -> None:
    ours = written(queue)
    named = written(queue, metadata={"backend": "default"})
    theirs = written(queue, metadata={"backend": "second"})

    assert control.purge("default", by="anna").changed == 2

    states = [fresh(one).status for one in (ours, named, theirs)]
    assert states == ["CANCELLED", "CANCELLED", "PENDING"]
    assert control.purge("default", by="anna", alias="second").changed == 1
    assert fresh(theirs).status == "CANCELLED"


# -- away midway -----------------------------------------------------------------------------------


@contextmanager
def gone_at(
    monkeypatch: pytest.MonkeyPatch, server: Server, name: str, call: int
) -> Iterator[None]:
    """The server dies right before the so-many-th call of a script."""
    real: Callable[..., Any] = getattr(Broker, name)
    seen: list[int] = []

    def counted(self: Broker, *args: Any, **given: Any) -> Any:
        seen.append(1)
        if len(seen) == call:
            server.kill()
        return real(self, *args, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Broker, name, counted)
        yield


@pytest.fixture
def backlog(settings: Any) -> Iterator[tuple[Server, Broker]]:
    """700 that are ready, in a broker of its own."""
    with Server() as server:
        settings.DJANGO_TASKS = {"BROKER": server.url, "MODULES": ["tests.tasks"]}
        records = [
            TaskRecord(task_name="tests.tasks.add", args=[1, 2], metadata={"number": number})
            for number in range(700)
        ]
        insert_records(records, using="default")
        broker = get_broker()
        assert deliver(broker, "default", batch=1000).pushed == 700
        while mirror(broker, "default", "default"):
            pass
        yield server, broker


def test_a_cancel_whose_broker_dies_midway_is_finished_by_its_repetition(
    backlog: tuple[Server, Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, broker = backlog

    with gone_at(monkeypatch, server, "cancel", 6), pytest.raises(BrokerUnavailable):
        actions.cancel(TaskRecord.objects.all(), reason="first")
    assert TaskRecord.objects.filter(status="CANCELLED").count() == 500
    server.restart()  # and it has lost its memory
    wait_until(server.answers)
    again = actions.cancel(TaskRecord.objects.all(), reason="again")

    assert (again.matched, again.changed, again.skipped) == (700, 200, {"has ended": 500})
    assert TaskRecord.objects.filter(status="CANCELLED").count() == 700
    assert TaskRecord.objects.filter(metadata__deed__reason="first").count() == 500
    deliver(broker, "default", statuses=("PENDING", "READY"), batch=1000)
    assert broker.backlog("default")["ready"] == 0


def test_a_change_of_priority_is_repeated_without_harm(
    backlog: tuple[Server, Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, broker = backlog

    with gone_at(monkeypatch, server, "move", 3), pytest.raises(BrokerUnavailable):
        actions.prioritize(TaskRecord.objects.all(), 5)
    assert TaskRecord.objects.filter(priority=5).count() == 200
    server.restart()
    wait_until(server.answers)
    deliver(broker, "default", statuses=("PENDING", "READY"), batch=1000)

    assert actions.prioritize(TaskRecord.objects.all(), 5).changed == 700
    assert TaskRecord.objects.filter(priority=5).count() == 700


def test_a_retry_whose_broker_dies_midway_loses_none(
    backlog: tuple[Server, Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, broker = backlog
    TaskRecord.objects.update(status="FAILED")

    def kill(so_far: Done) -> None:
        if so_far.matched == 500:
            server.kill()

    first = actions.retry(TaskRecord.objects.failed(), tell=kill)
    assert (first.changed, TaskRecord.objects.pending().count()) == (700, 700)
    again = actions.retry(TaskRecord.objects.all())
    server.restart()
    wait_until(server.answers)

    assert (again.changed, again.skipped) == (0, {"has not ended": 700})
    assert deliver(broker, "default", batch=1000).pushed == 700
    assert set(TaskRecord.objects.values_list("round", flat=True)) == {2}


def test_a_purge_whose_broker_dies_midway_is_finished_by_its_repetition(
    backlog: tuple[Server, Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _broker = backlog

    with gone_at(monkeypatch, server, "cancel", 4), pytest.raises(BrokerUnavailable):
        control.purge("default", by="anna")
    server.restart()
    wait_until(server.answers)

    assert control.purge("default", by="anna").changed == 400
    assert TaskRecord.objects.filter(status="CANCELLED").count() == 700


# -- beside the mirror -----------------------------------------------------------------------------


def test_a_retry_between_the_mirror_s_write_and_its_clean_is_not_undone(
    broker: Broker, redis_client: Any, interrupted: Any
) -> None:
    record = bring(broker, "FAILED", redis_client)
    changed: list[int] = []

    def retry() -> None:
        changed.append(actions.retry(fresh(record)).changed)
        get_broker().settle()

    mirror(interrupted(before_clean=retry), "default", "default")

    assert changed == [1]
    while mirror(broker, "default", "default"):
        pass
    assert (fresh(record).status, fresh(record).round) == ("READY", 2)
    assert message_of(broker, record).state == "READY"
    [message] = claimed(broker)
    end(broker, message, return_value="3")
    mirror(broker, "default", "default")
    assert (fresh(record).status, fresh(record).return_value) == ("SUCCESSFUL", 3)


def test_a_retry_between_the_mirror_s_read_and_its_write_waits_for_the_row_to_end(
    broker: Broker, redis_client: Any, interrupted: Any
) -> None:
    record = bring(broker, "FAILED", redis_client)  # its row knows nothing of it yet
    done: list[Done] = []

    mirror(
        interrupted(after_read=lambda: done.append(actions.retry(fresh(record)))),
        "default",
        "default",
    )

    assert (done[0].changed, done[0].skipped) == (0, {"has not ended": 1})
    assert fresh(record).status == "FAILED"
    assert actions.retry(fresh(record)).changed == 1


def test_an_old_mirror_s_batch_does_not_end_a_round_that_was_begun_meanwhile(
    broker: Broker, redis_client: Any, interrupted: Any
) -> None:
    record = bring(broker, "FAILED", redis_client)

    def another_mirror_and_a_retry() -> None:
        mirror(broker, "default", "default")
        assert actions.retry(fresh(record)).changed == 1
        get_broker().settle()

    mirror(interrupted(after_read=another_mirror_and_a_retry), "default", "default")

    assert fresh(record).status in ("PENDING", "READY")
    assert fresh(record).round == 2
    assert [one.round for one in claimed(broker)] == [2]


# -- atomic, rows to come --------------------------------------------------------------------------

is_failing = True


@django_task(atomic=True, retries=0)
def book(text: str) -> str:
    add.enqueue(1, 2)  # what it writes: a row of its own
    if is_failing:
        raise ValueError(text)
    return text


def test_a_retried_atomic_task_leaves_its_effects_exactly_once(
    broker: Broker, queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = book.enqueue("once")
    burst(queue, ["default"])
    assert TaskRecord.objects.count() == 1  # rolled back

    monkeypatch.setattr("tests.bridge.test_actions_stores.is_failing", False)
    assert actions.retry(TaskRecord.objects.failed()).changed == 1
    get_broker().settle()
    burst(queue, ["default"])

    row = TaskRecord.objects.get(pk=result.id)
    assert (row.status, row.round, row.return_value) == ("SUCCESSFUL", 2, "once")
    assert TaskRecord.objects.for_task(add).count() == 1
    assert actions.retry(row, again=True).changed == 1
    get_broker().settle()
    burst(queue, ["default"])
    assert TaskRecord.objects.for_task(add).count() == 2


def test_a_call_whose_row_is_still_to_come_is_cancelled_and_its_row_says_so(
    broker: Broker, queue: TaskSettings
) -> None:
    results = [add.using(record="after").enqueue(1, number) for number in range(3)]
    get_broker().settle()
    assert TaskRecord.objects.count() == 0

    assert results[0].cancel() is True
    places = control.find_rowless([results[1].id, results[2].id])
    done = control.cancel_rowless({results[1].id: places[results[1].id]}, by="anna")

    assert (done.matched, done.changed) == (1, 1)
    while mirror(broker, "default", "default"):
        pass
    rows = dict(TaskRecord.objects.values_list("id", "status"))
    assert [rows[TaskRecord._meta.pk.to_python(one.id)] for one in results] == [
        "CANCELLED",
        "CANCELLED",
        "READY",
    ]
    assert [one.id for one in claimed(broker, 5)] == [results[2].id]


def test_a_deed_in_a_database_that_is_away_changes_nothing(
    broker: Broker, take_table_away: Callable[[], None]
) -> None:
    record = pushed(broker)
    take_table_away()

    for deed in (actions.retry, actions.cancel, actions.run_now, actions.discard):
        with pytest.raises(DatabaseError):
            deed([record])
    assert message_of(broker, record).state == "READY"
