"""Doubt: a message whose row may know better is looked up before it runs (law 6)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import Error as DatabaseError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.bridge.doubt import settle_doubts
from django_tasks.broker import Broker, get_broker
from django_tasks.states import FINAL, State
from tests.bridge.steps import claimed, pushed, written
from tests.conftest import make_message

pytestmark = pytest.mark.django_db


def doubtful(record_id: object, **given: Any) -> Any:
    return make_message(id=str(record_id), doubt=True, fence=5, **given)


def words(*messages: Any) -> dict[str, str]:
    return {outcome.message.id: outcome.word for outcome in settle_doubts(messages, get_broker())}


@pytest.mark.parametrize("state", list(State))
def test_law_6_a_final_row_settles_its_message_and_no_other_does(queue: Any, state: str) -> None:
    record = written(queue, status=state)

    expected = {str(record.id): "settled"} if state in FINAL else {}
    assert words(doubtful(record.id)) == expected


@pytest.mark.parametrize(
    ("row", "message", "word"),
    [
        ({"round": 2}, {"round": 1}, "settled"),  # of a later round: not this one's business
        ({"round": 1, "status": "FAILED"}, {"round": 2}, ""),  # made to run again
        ({"round": 2, "status": "FAILED"}, {"round": 2}, "settled"),
    ],
)
def test_law_6_rounds_are_compared(queue: Any, row: Any, message: Any, word: str) -> None:
    record = written(queue, **row)

    assert words(doubtful(record.id, **message)).get(str(record.id), "") == word


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"record": "first"}, "dropped"),
        ({"record": "after", "is_recorded": True}, "dropped"),
        ({"record": "after"}, ""),  # its row may not be written yet
        ({"record": "never", "database": ""}, ""),  # it will never have one
    ],
)
def test_law_6_a_row_that_is_gone_drops_what_was_written_once(given: Any, word: str) -> None:
    message = doubtful(uuid.uuid4(), **given)

    assert words(message).get(message.id, "") == word


def test_law_6_a_batch_is_one_query_and_what_is_not_in_doubt_is_none(queue: Any) -> None:
    batch = [doubtful(written(queue).id) for _ in range(10)]

    with CaptureQueriesContext(connection) as queries:
        settle_doubts(batch, get_broker())
    assert len(queries) == 1

    with CaptureQueriesContext(connection) as queries:
        assert settle_doubts([make_message(), make_message()], get_broker()) == []
    assert len(queries) == 0


def test_law_8_an_id_that_no_row_can_have_stops_nobody(queue: Any) -> None:
    record = written(queue, status="FAILED")

    assert words(doubtful("not-a-uuid"), doubtful(record.id)) == {
        "not-a-uuid": "dropped",
        str(record.id): "settled",
    }


def test_law_6_settled_and_dropped_messages_leave_without_a_run(
    broker: Broker, redis_client: Any
) -> None:
    redis_client.hset(broker.keys("default").meta, "since", "1")
    final, deleted, alive = pushed(broker), pushed(broker), pushed(broker)
    for record in (final, deleted, alive):
        redis_client.hset(broker.keys("default").message(str(record.id)), "doubt", "1")
    type(final).objects.filter(id=final.id).update(status="SUCCESSFUL")
    type(final).objects.filter(id=deleted.id).delete()
    messages = claimed(broker, 3)

    broker.ack("default", "c", settle_doubts(messages, broker))

    assert list(broker.holdings("default", "c")) == [str(alive.id)]
    ids = [str(record_id) for record_id in (final.id, deleted.id)]
    assert broker.snapshots("default", ids) == {}


@pytest.mark.django_db(transaction=True)
def test_after_the_connection_broke_the_next_look_opens_another(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pushed(broker)
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    connection.ensure_connection()
    connection.connection.close()  # as when the database is restarted

    with pytest.raises(DatabaseError):
        words(doubtful(record.id))

    assert words(doubtful(record.id)) == {}
