"""inspect: what both stores hold of a task."""

from __future__ import annotations

from typing import Any

import pytest
from model_bakery import baker

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.errors import ResultNotFound
from django_tasks.models import TaskRecord
from django_tasks.ops.inspection import Inspection, inspect
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def looked_at(result: Any) -> Inspection:
    get_broker().settle()
    return inspect(result.id)


def claimed(hands: Broker) -> Message:
    get_broker().settle()
    hands.beat(["default"], ["host:1"], register=True)
    [message] = hands.claim("default", "host:1")
    return message


# -- what is where -----------------------------------------------------------------------------


def test_a_waiting_call_is_in_the_line_and_nowhere_else(hands: Broker) -> None:
    first, second = add.enqueue(1, 2), add.enqueue(3, 4)
    keys = hands.keys("default")

    found = looked_at(second)

    assert found.row is not None
    assert found.broker is not None
    assert (found.row["args"], found.broker["args"]) == ([3, 4], "[3,4]")
    assert [one.key for one in found.keys] == [
        keys.message(second.id),
        keys.ready,
        keys.dirty("default"),
    ]
    assert (found.position, found.lease) == (1, None)
    assert looked_at(first).position == 0
    assert next((one.name, one.row, one.broker) for one in found.differences) == (
        "status",
        "PENDING",
        "READY",
    )


def test_after_the_mirror_nothing_differs(hands: Broker) -> None:
    result = add.enqueue(1, 2)
    get_broker().settle()
    mirror(hands, "default", "default")

    assert looked_at(result).differences == []


def test_a_running_call_is_held_and_its_holder_has_a_lease(hands: Broker) -> None:
    result = add.enqueue(1, 2)
    message = claimed(hands)
    keys = hands.keys("default")

    found = looked_at(result)

    held = {one.key: one.value for one in found.keys}
    assert held[keys.consumer("host:1")] == str(message.fence)
    assert keys.unacked in held
    assert keys.ready not in held
    assert found.lease == pytest.approx(10, abs=1)


def test_a_finished_call_says_when_its_message_leaves(hands: Broker) -> None:
    result = add.enqueue(1, 2)
    hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 3)])
    mirror(hands, "default", "default")

    found = looked_at(result)

    assert found.ttl == pytest.approx(3600, abs=5)
    assert found.broker is not None
    assert "args" not in found.broker


def test_a_call_without_a_row_is_found_by_its_id_alone(hands: Broker) -> None:
    result = add.using(record="never", queue="mail").enqueue(1, 2)

    found = looked_at(result)

    assert found.row is None
    assert found.broker is not None
    assert found.broker["record"] == "never"


@pytest.mark.parametrize("unknown", ["0192aaaa-0000-7000-8000-000000000000", "no-id", ""])
def test_an_unknown_id_is_an_error_that_says_so(hands: Broker, unknown: str) -> None:
    with pytest.raises(ResultNotFound, match=r"No record|is not the id"):
        inspect(unknown)


def test_with_the_broker_away_the_row_is_shown_and_it_says_so(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}
    record = baker.make(TaskRecord, status="READY")

    found = inspect(record.pk)

    assert found.row is not None
    assert found.broker is None
    assert found.explain[1:] == found.away
    assert found.away[0].startswith("The broker does not serve")
