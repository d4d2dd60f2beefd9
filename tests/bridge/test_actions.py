"""Deeds on records: what they change in both stores, and what they leave as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from model_bakery import baker

from django_tasks.bridge import actions
from django_tasks.bridge.deeds import Deed
from django_tasks.bridge.deliver import deliver
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable, InvalidDeed
from django_tasks.models import TaskRecord
from django_tasks.states import State
from tests.bridge.steps import (
    LATER,
    bring,
    claimed,
    dirty,
    end,
    message_of,
    pushed,
    written,
)
from tests.servers import Server
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def final(broker: Broker, redis_client: Any, state: str = "FAILED", **given: Any) -> TaskRecord:
    record = bring(broker, state, redis_client, **given)
    mirror(broker, "default", "default")
    record.refresh_from_db()
    assert record.status == state
    return record


def fresh(record: TaskRecord) -> TaskRecord:
    return TaskRecord.objects.get(pk=record.pk)


# -- retry ---------------------------------------------------------------------------------------


def test_a_retried_record_runs_again_with_all_its_attempts(
    broker: Broker, redis_client: Any
) -> None:
    record = final(broker, redis_client, max_attempts=3)
    assert fresh(record).attempt == 1

    done = actions.retry(TaskRecord.objects.failed(), by="anna", reason="the bank is back")

    assert (done.matched, done.changed, done.skipped) == (1, 1, {})
    row = fresh(record)
    assert (row.round, row.attempt, row.error_class, row.finished_at) == (2, 0, "", None)
    said = row.metadata["deed"]
    assert (said["deed"], said["by"], said["reason"]) == ("retry", "anna", "the bank is back")
    get_broker().settle()
    [message] = claimed(broker)
    assert (message.id, message.round, message.attempt) == (str(record.id), 2, 0)
    assert message.args == "[1,2]"
    end(broker, message, return_value="3")
    mirror(broker, "default", "default")
    assert (fresh(record).status, fresh(record).return_value) == ("SUCCESSFUL", 3)
    assert record.attempts.count() == 2


def test_a_retry_is_rolled_back_with_its_transaction(broker: Broker, redis_client: Any) -> None:
    record = final(broker, redis_client)

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        actions.retry(record)
        raise ZeroDivisionError

    assert fresh(record).status == "FAILED"
    assert claimed(broker) == []


def test_a_retry_while_the_broker_is_away_is_delivered_later(
    broker: Broker, redis_client: Any, settings: Any
) -> None:
    record = final(broker, redis_client)
    mine = settings.DJANGO_TASKS
    settings.DJANGO_TASKS = {**mine, "BROKER": "redis://127.0.0.1:1/0"}

    done = actions.retry(record)

    assert done.changed == 1
    assert fresh(record).status == "PENDING"
    settings.DJANGO_TASKS = mine
    assert deliver(broker, "default").pushed == 1
    assert (message_of(broker, record).state, message_of(broker, record).round) == ("READY", 2)


def test_what_can_not_be_retried_is_no_error_and_is_told(broker: Broker, redis_client: Any) -> None:
    failed = final(broker, redis_client)
    final(broker, redis_client, "SUCCESSFUL")
    pushed(broker)
    baker.make(TaskRecord, status=State.FAILED, task_name="?", dead_letter="can't be read")
    everything = TaskRecord.objects.all()

    seen = actions.preview(Deed.RETRY, everything)
    done = actions.retry(everything)

    why = {"succeeded": 1, "has not ended": 1, "was never readable": 1}
    assert (seen.matched, seen.eligible, seen.skipped) == (4, 1, why)
    assert (done.matched, done.changed, done.skipped) == (4, 1, why)
    assert fresh(failed).round == 2
    assert "1 record changed" in str(done)


def test_what_succeeded_is_run_again_only_if_that_is_said(
    broker: Broker, redis_client: Any
) -> None:
    record = final(broker, redis_client, "SUCCESSFUL")

    assert actions.retry(record).changed == 0
    assert actions.retry(record, again=True).changed == 1

    assert (fresh(record).round, fresh(record).return_value) == (2, None)


def test_an_expired_record_that_is_retried_does_not_expire_again(
    broker: Broker, redis_client: Any
) -> None:
    record = final(broker, redis_client, "EXPIRED")

    actions.retry(record)

    get_broker().settle()
    assert [one.id for one in claimed(broker)] == [str(record.id)]


def test_many_are_retried_in_batches_and_each_is_told_of(broker: Broker) -> None:
    made = baker.prepare(
        TaskRecord, 1201, status=State.FAILED, task_name="tests.tasks.add", args=[1, 2]
    )
    TaskRecord.objects.bulk_create(made)
    seen: list[int] = []

    done = actions.retry(
        TaskRecord.objects.failed().for_task(add), tell=lambda so_far: seen.append(so_far.matched)
    )

    assert (done.changed, seen) == (1201, [500, 1000, 1201])
    get_broker().settle()
    assert broker.backlog("default")["ready"] == 1201
    assert TaskRecord.objects.pending().filter(round=2).count() == 1201


def test_a_list_a_slice_and_a_record_are_taken_too(broker: Broker, redis_client: Any) -> None:
    records = [final(broker, redis_client) for _ in range(3)]

    assert actions.retry(records[0]).changed == 1
    assert actions.retry([records[1]]).changed == 1
    assert actions.retry(TaskRecord.objects.failed()[:5]).changed == 1
    assert actions.retry([]).matched == 0
    with pytest.raises(InvalidDeed, match="not a saved TaskRecord"):
        actions.retry(["no record"])  # type: ignore[list-item]
    with pytest.raises(InvalidDeed, match="not a saved TaskRecord"):
        actions.retry(TaskRecord())


# -- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["PENDING", "READY", "SCHEDULED"])
def test_what_waits_is_cancelled_in_both_stores_at_once(
    broker: Broker, redis_client: Any, queue: TaskSettings, state: str
) -> None:
    if state == "PENDING":
        record = written(queue)
    else:
        record = bring(broker, state, redis_client)

    done = actions.cancel(record, by="anna", reason="not wanted")

    assert (done.changed, done.told) == (1, 0)
    row = fresh(record)
    assert (row.status, row.metadata["deed"]["reason"]) == ("CANCELLED", "not wanted")
    assert row.finished_at is not None
    assert message_of(broker, record).state == "CANCELLED"
    assert claimed(broker) == []
    mirror(broker, "default", "default")
    assert dirty(broker) == []
    assert fresh(record).metadata == row.metadata
    assert deliver(broker, "default").pushed == 0


def test_a_cancel_that_the_mirror_was_faster_to_copy_is_told_and_noted_all_the_same(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pushed(broker)
    cancel = Broker.cancel

    def copied(self: Broker, *given: Any) -> Any:
        verdicts = cancel(self, *given)
        mirror(broker, "default", "default")
        return verdicts

    monkeypatch.setattr(Broker, "cancel", copied)

    done = actions.cancel(record, reason="not wanted")

    assert (done.changed, done.skipped) == (1, {})
    row = fresh(record)
    assert (row.status, row.metadata["deed"]["reason"]) == ("CANCELLED", "not wanted")


def test_a_lagging_row_does_not_lie_about_what_runs(broker: Broker) -> None:
    record = pushed(broker)
    mirror(broker, "default", "default")
    [message] = claimed(broker)  # the row still says READY

    done = actions.cancel(record)

    assert (done.changed, done.told) == (0, 1)
    assert fresh(record).status == "READY"
    end(broker, message, return_value="3")
    mirror(broker, "default", "default")
    assert fresh(record).status == "SUCCESSFUL"


def test_a_cancel_in_the_transaction_of_the_enqueue_leaves_nothing_to_run(
    broker: Broker, queue: TaskSettings
) -> None:
    with transaction.atomic():
        kept, result = add.enqueue(1, 1), add.enqueue(1, 2)
        assert result.cancel() is True

    get_broker().settle()
    assert [one.id for one in claimed(broker, 5)] == [kept.id]
    assert TaskRecord.objects.get(pk=result.id).status == "CANCELLED"


def test_while_the_broker_is_away_only_what_it_never_saw_is_cancelled(
    broker: Broker, queue: TaskSettings, settings: Any
) -> None:
    pending = written(queue)
    ready = pushed(broker)
    mirror(broker, "default", "default")
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": "redis://127.0.0.1:1/0"}

    with pytest.raises(BrokerUnavailable):
        actions.cancel(TaskRecord.objects.all())

    assert fresh(pending).status == "CANCELLED"
    assert fresh(ready).status == "READY"


def test_a_cancel_survives_the_loss_of_the_broker(settings: Any) -> None:
    with Server() as server:
        settings.DJANGO_TASKS = {"BROKER": server.url, "MODULES": ["tests.tasks"]}
        broker = get_broker()
        record = pushed(broker)
        mirror(broker, "default", "default")
        actions.cancel(record)
        with server.client() as client:
            client.flushall()

        deliver(broker, "default", statuses=("PENDING", "READY"))

        assert fresh(record).status == "CANCELLED"
        assert broker.backlog("default")["ready"] == 0


def test_a_result_is_cancelled_with_and_without_a_row(broker: Broker, queue: TaskSettings) -> None:
    from django_tasks import TaskResult

    def enqueued(recording: str) -> TaskResult:
        return add.using(record=recording).enqueue(1, 2)

    results = [enqueued(word) for word in ("first", "after", "never")]
    get_broker().settle()

    assert [one.cancel() for one in results] == [True, True, True]
    assert [one.cancel() for one in results] == [False, False, False]

    for one in results:
        one.refresh()
        assert one.state == "CANCELLED"
    assert claimed(broker, 5) == []


# -- run now, reschedule, prioritize, front --------------------------------------------------------


def test_what_waits_for_a_time_is_run_now(broker: Broker, queue: TaskSettings) -> None:
    scheduled, pending = pushed(broker, run_after=LATER), written(queue, run_after=LATER)
    ready = pushed(broker)
    mirror(broker, "default", "default")

    done = actions.run_now(TaskRecord.objects.all())

    assert (done.changed, done.skipped) == (2, {"is ready already": 1})
    deliver(broker, "default")
    for record in (scheduled, pending, ready):
        assert message_of(broker, record).state == "READY"
    mirror(broker, "default", "default")
    assert abs((fresh(scheduled).run_after - datetime.now(UTC)).total_seconds()) < 60  # type: ignore[operator]


def test_a_record_is_rescheduled(broker: Broker) -> None:
    record = pushed(broker)
    mirror(broker, "default", "default")
    when = datetime.now(UTC) + timedelta(hours=3)

    assert actions.reschedule(record, when, reason="at night").changed == 1

    assert claimed(broker) == []
    mirror(broker, "default", "default")
    assert (fresh(record).status, fresh(record).run_after) == ("SCHEDULED", when)


def test_a_priority_is_changed_in_both_stores_and_kept_by_a_rebuild(
    broker: Broker, queue: TaskSettings
) -> None:
    first, second = pushed(broker), pushed(broker)
    mirror(broker, "default", "default")

    assert actions.prioritize(second, 50).changed == 1

    assert fresh(second).priority == 50
    assert [one.id for one in claimed(broker)] == [str(second.id)]
    for wrong in (101, -101, 1.5, True, "5"):
        with pytest.raises(InvalidDeed, match="whole number"):
            actions.prioritize(first, wrong)  # type: ignore[arg-type]


def test_several_come_to_the_front_in_their_order(broker: Broker) -> None:
    urgent = pushed(broker, priority=7)
    one, two, three = (pushed(broker) for _ in range(3))
    mirror(broker, "default", "default")

    assert actions.move_to_front([two, three]).changed == 2

    expected = [str(record.id) for record in (two, three, urgent, one)]
    assert [message.id for message in claimed(broker, 9)] == expected
    assert fresh(two).priority == 7


def test_what_runs_is_not_moved_though_its_row_lags(broker: Broker) -> None:
    record = pushed(broker)
    mirror(broker, "default", "default")
    claimed(broker)

    for done in (actions.prioritize(record, 5), actions.move_to_front(record)):
        assert (done.changed, done.skipped) == (0, {"is running": 1})
    assert fresh(record).priority == 0


# -- discard ---------------------------------------------------------------------------------------


def test_a_discarded_dead_letter_stays_failed_and_keeps_its_reason(broker: Broker) -> None:
    dead = baker.make(TaskRecord, status=State.FAILED, dead_letter="killed its process 3 times")
    plain = baker.make(TaskRecord, status=State.FAILED)

    done = actions.discard(TaskRecord.objects.failed(), by="anna", reason="known")

    assert (done.changed, done.skipped) == (1, {"is no dead letter": 1})
    row = fresh(dead)
    assert (row.status, row.dead_letter) == ("FAILED", "")
    assert row.metadata["deed"]["dead_letter"] == "killed its process 3 times"
    assert not TaskRecord.objects.dead_letters().exists()
    assert fresh(plain).metadata == {}


def test_a_deed_keeps_what_the_metadata_said(broker: Broker, redis_client: Any) -> None:
    record = final(broker, redis_client, metadata={"max_lost": 7})

    actions.retry(record)

    row = fresh(record)
    assert row.metadata["max_lost"] == 7
    get_broker().settle()
    [message] = claimed(broker)
    assert message.max_lost == 7
