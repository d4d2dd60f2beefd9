"""A row and its message that say different things: which of them is right (laws 5, 7, 8)."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.states import FINAL, State
from tests.bridge.steps import (
    bring,
    claimed,
    dirty,
    end,
    message_for,
    message_of,
    pushed,
)

pytestmark = pytest.mark.django_db


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
    broker.push("default", [message_for(broker, record, "default")])
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
