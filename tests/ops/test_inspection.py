"""inspect and explain: what both stores hold of a task, and why it is where it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from model_bakery import baker

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.errors import ResultNotFound
from django_tasks.models import TaskRecord
from django_tasks.ops.control import pause, resume
from django_tasks.ops.inspection import Inspection, explain, inspect
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def looked_at(result: Any) -> Inspection:
    get_broker().settle()
    return inspect(result.id)


def said(result: Any) -> str:
    return " ".join(looked_at(result).explain)


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
    assert found.explain == found.away
    assert found.away[0].startswith("The broker does not serve")


# -- explain -----------------------------------------------------------------------------------


def test_nothing_takes_its_queue(hands: Broker) -> None:
    results = [add.enqueue(number, 1) for number in range(3)]

    assert said(results[2]) == (
        "No worker takes default: python manage.py runworker default 2 are ahead of it in default."
    )
    assert said(results[1]).endswith("1 is ahead of it in default.")


def test_how_long_the_line_is_and_how_fast_it_moves(hands: Broker) -> None:
    results = [add.enqueue(number, 1) for number in range(61)]
    for _ in range(60):
        hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 1)])
    more = [add.enqueue(number, 1) for number in range(30)]

    text = said(more[-1])

    assert text.startswith("30 are ahead of it in default, ")
    assert " a second leave: about " in text
    assert said(results[0]).startswith("Succeeded")


def test_its_queue_is_paused(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    pause("default", by="anna", reason="bank holiday", until=timezone.now() + timedelta(hours=2))

    text = said(result)

    assert text.startswith("The queue default is paused since ")
    assert ' by anna: "bank holiday", until ' in text
    resume("default", by="anna")
    assert "paused" not in said(result)


def test_it_waits_for_its_time(hands: Broker, settings: Any) -> None:
    result = add.using(run_after=timedelta(hours=4, minutes=1)).enqueue(1, 1)

    text = said(result)

    assert text.startswith("Scheduled for ")
    assert text.endswith((", in 4 h.", "in 4 h 1 min."))


def test_it_failed_and_waits_for_its_next_attempt(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    fields = {"error_class": "builtins.TimeoutError"}
    outcome = Outcome(claimed(hands), "retried", 41.5, 0.1, fields)
    hands.ack("default", "host:1", [outcome])

    assert said(result) == "Attempt 1 of 4 failed with TimeoutError; the next is in 41 s."


def test_nobody_makes_it_ready(hands: Broker, redis_client: Any) -> None:
    result = add.using(run_after=timedelta(hours=1)).enqueue(1, 1)
    get_broker().settle()
    before = int((timezone.now() - timedelta(minutes=2)).timestamp() * 1e6)
    redis_client.hset(hands.keys("default").message(result.id), "run_after", before)

    assert said(result).startswith("It was due 2 min ago")


def test_it_was_claimed_a_moment_ago(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    claimed(hands)

    assert said(result) == "Claimed by host:1 a moment ago."


def test_its_holder_is_gone(hands: Broker, redis_client: Any) -> None:
    result = add.enqueue(1, 1)
    claimed(hands)
    redis_client.zadd(hands.keys("default").workers, {"host:1": 1})
    assert said(result) == "Held by host:1, whose lease ran out: it is taken back now."

    redis_client.zrem(hands.keys("default").workers, "host:1")
    assert said(result).startswith("Held by host:1, which the broker does not know")


def test_it_is_committed_and_not_pushed(hands: Broker) -> None:
    record = baker.make(TaskRecord, status="PENDING")
    assert explain(record) == [
        "Committed, and not yet in the broker: a worker's keeper pushes it within a second."
    ]

    record.created_at = timezone.now() - timedelta(minutes=3)
    record.save()
    assert "It has waited for 3 min" in explain(record)[1]


def test_the_broker_forgot_it(hands: Broker) -> None:
    record = baker.make(TaskRecord, status="READY")

    assert explain(record) == [
        "The row says READY; the broker does not know it, and its row is delivered again."
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"status": "SUCCESSFUL"}, "Succeeded 3 min ago."),
        ({"status": "CANCELLED"}, "Cancelled 3 min ago."),
        ({"status": "EXPIRED"}, "Expired 3 min ago, before a worker began it."),
        (
            {"status": "FAILED", "error_class": "shop.errors.NoStock", "attempt": 4},
            "Failed 3 min ago with NoStock, after 4 attempts.",
        ),
        (
            {"status": "FAILED", "dead_letter": "killed its process 3 times"},
            "Dead letter: killed its process 3 times",
        ),
    ],
)
def test_it_is_over(hands: Broker, given: dict[str, Any], text: str) -> None:
    ended = timezone.now() - timedelta(minutes=3)

    assert explain(baker.make(TaskRecord, finished_at=ended, **given)) == [text]


def test_its_row_is_a_moment_behind(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 1)])

    assert said(result).endswith("Its row does not say so yet: the mirror is a moment behind.")
