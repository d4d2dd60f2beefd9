"""Delivery: rows that the broker does not know are pushed; known ones stay (laws 2, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.bridge.deliver import UNFINISHED, deliver
from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from django_tasks.models import TaskRecord
from django_tasks.states import State
from tests.bridge.steps import claimed, pushed, written

pytestmark = pytest.mark.django_db


def known(broker: Broker, *records: TaskRecord) -> list[bool]:
    ids = [str(record.id) for record in records]
    unknown = broker.unknown_ids("default", ids)
    return [one not in unknown for one in ids]


def test_law_2_pending_rows_are_pushed_once(broker: Broker, queue: Any) -> None:
    records = [written(queue) for _ in range(3)]

    first, second = deliver(broker, "default"), deliver(broker, "default")

    assert (first.pushed, second.pushed) == (3, 0)
    assert known(broker, *records) == [True] * 3
    assert broker.backlog("default")["ready"] == 3


def test_law_2_a_known_message_is_left_as_it_is(broker: Broker, queue: Any) -> None:
    record = pushed(broker)
    [message] = claimed(broker)  # its row still says PENDING

    assert deliver(broker, "default").pushed == 0

    assert broker.holder("default", str(record.id)) == ("c", message.fence)


class Late(Broker):
    """A broker whose deliverer looked which ids are unknown some time ago."""

    def unknown_ids(self, queue: str, record_ids: Sequence[str]) -> set[str]:
        return set(record_ids)


@pytest.mark.parametrize("end", [False, True])
def test_law_2_a_stale_delivery_does_not_run_a_message_again(
    broker: Broker, queue: TaskSettings, end: bool
) -> None:
    pushed(broker)
    [message] = claimed(broker)
    if end:
        broker.ack("default", "c", [Outcome.successful(message, 3)])
    late = Late(queue)

    assert deliver(late, "default").pushed == 0

    assert broker.backlog("default")["ready"] == 0
    assert broker.holder("default", message.id) == (None if end else ("c", message.fence))
    late.close()


def test_law_6_what_is_delivered_is_in_doubt(broker: Broker, queue: Any, redis_client: Any) -> None:
    record = written(queue)

    deliver(broker, "default")

    key = broker.keys("default").message(str(record.id))
    assert redis_client.hget(key, "doubt") == "1"
    assert claimed(broker) == []  # an era's first seconds
    redis_client.hset(broker.keys("default").meta, "since", "1")
    [message] = claimed(broker)
    assert (message.id, message.doubt) == (str(record.id), True)


def test_law_6_a_rebuild_pushes_every_unfinished_row_and_no_final_one(
    broker: Broker, queue: Any
) -> None:
    records = {state: written(queue, status=state, revision=7, fence=5) for state in State}

    delivered = deliver(broker, "default", statuses=UNFINISHED)

    assert delivered.pushed == 5
    assert {state for state, record in records.items() if known(broker, record) == [True]} == set(
        UNFINISHED
    )


def test_law_3_what_is_delivered_keeps_what_its_row_knew(broker: Broker, queue: Any) -> None:
    year = datetime(2200, 1, 1, tzinfo=UTC)  # later than any clock of a test
    future = (year - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    record = written(
        queue, status="RUNNING", revision=future, fence=future, attempt=2, lost=1, round=3
    )

    deliver(broker, "default", statuses=UNFINISHED)

    found = broker.snapshots("default", [str(record.id)])[str(record.id)]
    assert (found.attempt, found.lost, found.round) == (2, 1, 3)
    assert found.fence == future < found.revision


def test_what_waits_for_a_time_is_delivered_to_wait_for_it(broker: Broker, queue: Any) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    written(queue, run_after=later)

    deliver(broker, "default")

    assert broker.backlog("default")["scheduled"] == 1
    assert broker.backlog("default")["ready"] == 0


def test_the_walk_goes_on_by_id_and_ends_with_none(broker: Broker, queue: Any) -> None:
    records = [written(queue) for _ in range(5)]

    first = deliver(broker, "default", batch=2)
    second = deliver(broker, "default", batch=2, after=first.last_id)
    third = deliver(broker, "default", batch=2, after=second.last_id)

    assert [first.last_id, second.last_id] == [records[1].id, records[3].id]
    assert (third.last_id, third.looked_at, third.pushed) == (None, 1, 1)


def test_one_queue_alone_can_be_delivered(broker: Broker, queue: Any) -> None:
    written(queue, queue_name="mail")
    written(queue)

    assert deliver(broker, "default", queue="mail").pushed == 1
    assert broker.backlog("mail")["ready"] == 1
    assert broker.backlog("default")["ready"] == 0


def test_rows_of_another_alias_are_left_to_its_worker(
    broker: Broker, queue: Any, settings: Any
) -> None:
    backend = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {"default": backend, "second": {**backend, "OPTIONS": {"PREFIX": "elsewhere"}}}
    theirs = written(queue, metadata={"backend": "second"})
    ours = written(queue)

    assert deliver(broker, "default").pushed == 1

    assert known(broker, ours, theirs) == [True, False]
    assert deliver(broker, "default", aliases=["second"]).pushed == 1


def test_a_walk_over_known_rows_costs_one_query(broker: Broker, queue: Any) -> None:
    for _ in range(20):
        pushed(broker)

    with CaptureQueriesContext(connection) as queries:
        deliver(broker, "default")

    assert len(queries) == 1


def test_a_broker_that_is_away_is_said_and_the_rows_wait(queue: Any, settings: Any) -> None:
    from django_tasks.conf import task_settings

    written(queue)
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0"}
    away = Broker(task_settings())

    with pytest.raises(BrokerUnavailable):
        deliver(away, "default")

    assert TaskRecord.objects.pending().count() == 1
    away.close()
