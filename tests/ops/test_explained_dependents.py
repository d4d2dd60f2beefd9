"""explain, of what waits for other tasks."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks import chord, django_task
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Outcome
from django_tasks.models import TaskRecord
from tests.ops.test_explanations import claimed, said
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(name="tests.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


def test_it_waits_for_other_tasks(hands: Broker, redis_client: Any) -> None:
    result = chord([add.s(1, 1), add.s(2, 2)], total.s()).enqueue()
    get_broker().settle()
    first, second = TaskRecord.objects.exclude(pk=result.id).order_by("id")

    assert said(result) == (
        f"Deferred: it waits for 2 tasks, among them add(1, 1) {first.pk} (Pending),"
        f" add(2, 2) {second.pk} (Pending)."
    )
    hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 2)])
    mirror(hands, "default", "default")
    assert said(result) == (f"Deferred: it waits for 1 task: add(2, 2) {second.pk} (Ready).")
    TaskRecord.objects.update(status="SUCCESSFUL")
    TaskRecord.objects.filter(pk=result.id).update(status="DEFERRED")
    assert said(result) == (
        "Deferred, though what it waits for has ended: a worker's keeper sees it soon."
    )


def test_it_waits_and_has_no_row(hands: Broker, redis_client: Any) -> None:
    result = add.using(record="never").enqueue(1, 1)
    get_broker().settle()
    redis_client.hset(hands.keys("default").message(result.id), "state", "DEFERRED")

    assert said(result).startswith("Deferred: it waits for the tasks that it depends on.")
