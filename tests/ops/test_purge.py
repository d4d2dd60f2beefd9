"""purge: nothing of a queue waits any longer, and every record is still there."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.models import TaskRecord
from django_tasks.ops.control import purge
from tests.bridge.steps import LATER, pushed, written
from tests.conftest import make_message
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_that_waits_is_cancelled_and_what_runs_goes_on(hands: Broker) -> None:
    hands.beat(["default"], ["c"], register=True)
    running = pushed(hands, priority=1)
    hands.claim("default", "c")
    for given in ({}, {"run_after": LATER}):
        pushed(hands, **given)
    written(hands.settings)
    other = written(hands.settings, queue_name="mail")
    add.using(record="never").enqueue(1, 2)
    add.using(record="after").enqueue(1, 2)
    get_broker().settle()

    done = purge("default", by="anna", reason="a mistake")

    assert (done.changed, done.told) == (5, 0)
    backlog = hands.backlog("default")
    assert (backlog["ready"], backlog["scheduled"], backlog["unacked"]) == (0, 0, 1)
    mirror(hands, "default", "default")
    rows: Any = TaskRecord.objects.in_queue("default").values_list("status", flat=True)
    assert sorted(rows) == ["CANCELLED"] * 4 + ["RUNNING"]
    running.refresh_from_db()
    other.refresh_from_db()
    assert (running.status, other.status) == ("RUNNING", "PENDING")


def test_who_and_why_stand_in_the_record(hands: Broker) -> None:
    record = pushed(hands)

    purge("default", by="anna", reason="a mistake")

    record.refresh_from_db()
    assert (record.metadata["deed"]["by"], record.metadata["deed"]["reason"]) == (
        "anna",
        "a mistake",
    )


def test_calls_without_a_row_are_cancelled_in_steps(hands: Broker) -> None:
    hands.push("default", [make_message(record="never", database="") for _ in range(350)])

    assert purge("default", by="anna").changed == 350

    assert hands.backlog("default")["ready"] == 0
