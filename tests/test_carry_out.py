"""Our own background tasks: they come first, tell how far they are, and may be run twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from model_bakery import baker

from django_tasks import tasks
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.models import TaskRecord
from django_tasks.worker.burst import burst
from tests.bridge.steps import pushed
from tests.ops.conftest import hands as hands
from tests.ops.made import make
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def run(hands: Broker) -> None:
    get_broker().settle()
    burst(hands.settings, ["default"])


def test_a_purge_takes_away_the_backlog_of_its_own_queue(hands: Broker) -> None:
    made = [pushed(hands, priority=50) for _ in range(600)]
    call = tasks.purge.enqueue("default", "anna", "a mistake", "default")

    run(hands)

    call.refresh()
    assert (call.state, call.return_value["changed"]) == ("SUCCESSFUL", 600)
    rows = TaskRecord.objects.filter(pk__in=[one.pk for one in made])
    assert set(rows.values_list("status", flat=True)) == {"CANCELLED"}
    assert rows.filter(metadata__deed__by="anna").count() == 600


def test_it_cancels_all_that_waits_but_itself(hands: Broker) -> None:
    for _ in range(3):
        pushed(hands)
    call = tasks.carry_out.enqueue("cancel", {"state": "unfinished"}, "anna", "no", {})

    run(hands)

    call.refresh()
    assert (call.state, call.return_value["changed"]) == ("SUCCESSFUL", 3)
    assert TaskRecord.objects.filter(status="CANCELLED").for_task(add).count() == 3


def test_run_twice_it_finds_nothing_more_to_do(hands: Broker) -> None:
    made = baker.prepare(
        TaskRecord, 700, status="FAILED", task_name=add.module_path, queue_name="x"
    )
    TaskRecord.objects.bulk_create(made)
    given = ("retry", {"state": "failed"}, "anna", "", {})
    first, second = tasks.carry_out.enqueue(*given), tasks.carry_out.enqueue(*given)

    run(hands)

    for call, changed in ((first, 700), (second, 0)):
        call.refresh()
        assert call.return_value["changed"] == changed
    assert set(TaskRecord.objects.for_task(add).values_list("round", flat=True)) == {2}


def test_what_a_deed_takes_besides_travels_as_json(hands: Broker) -> None:
    record = pushed(hands, queue_name="default", priority=-5)
    mirror(hands, "default", "default")
    wanted = {"q": str(record.pk)}
    when = datetime(2099, 1, 2, 3, 4, tzinfo=UTC)
    tasks.carry_out.enqueue("prioritize", wanted, "anna", "", {"priority": -7})
    tasks.carry_out.enqueue("reschedule", wanted, "anna", "", {"when": when.isoformat()})

    run(hands)

    record.refresh_from_db()
    assert (record.status, record.priority, record.run_after) == ("SCHEDULED", -7, when)


@pytest.mark.parametrize(
    ("deed", "wanted", "error"),
    [
        ("retry", {"state": "nope"}, "InvalidFilter"),
        ("retry", {"colour": "red"}, "InvalidFilter"),
        ("explode", {"state": "failed"}, "ValueError"),
    ],
)
def test_what_means_nothing_fails_and_changes_nothing(
    hands: Broker, deed: str, wanted: dict[str, Any], error: str
) -> None:
    make("FAILED")
    call = tasks.carry_out.using(retries=0).enqueue(deed, wanted, "anna", "", {})

    run(hands)

    call.refresh()
    record = TaskRecord.objects.get(pk=call.id)
    assert (record.status, record.error_class.endswith(error)) == ("FAILED", True)
    assert TaskRecord.objects.filter(round=1).count() == 2
