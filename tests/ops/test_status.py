"""status: the numbers of each queue, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from model_bakery import baker

from django_tasks.broker import Broker, get_broker
from django_tasks.broker.connection import Wire
from django_tasks.broker.message import Outcome
from django_tasks.conf import TaskSettings
from django_tasks.errors import InvalidTaskOptions
from django_tasks.models import TaskRecord
from django_tasks.ops.control import pause, resume
from django_tasks.ops.status import QueueLine, status
from tests.servers import Server
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def line(queue: str = "default") -> QueueLine:
    get_broker().settle()
    return next(one for one in status().queues if one.queue == queue)


def texts() -> list[str]:
    get_broker().settle()
    return [f"{one.text} {one.cure}".strip() for one in status().alarms]


def places() -> tuple[int, int, int]:
    """Ready, unacked, total."""
    seen = line()
    return seen.ready, seen.unacked, seen.total


def test_the_talks_sequence(hands: Broker) -> None:
    add.enqueue(1, 2)
    assert places() == (1, 0, 1)

    hands.beat(["default"], ["c"], register=True)
    [message] = hands.claim("default", "c")
    assert places() == (0, 1, 1)

    hands.ack("default", "c", [Outcome.successful(message, 3)])
    assert places() == (0, 0, 0)


def test_every_place_counts_and_only_those_of_the_line_make_the_total(hands: Broker) -> None:
    hands.beat(["default"], ["c", "d"], register=True)
    for number in range(4):
        add.enqueue(number, 1)
    add.using(run_after=timedelta(hours=1)).enqueue(9, 1)
    get_broker().settle()
    hands.claim("default", "c")
    for text in ("killed its process 3 times", ""):
        baker.make(TaskRecord, status="FAILED", dead_letter=text, queue_name="default")

    seen = line()

    assert (seen.ready, seen.unacked, seen.scheduled, seen.dead) == (3, 1, 1, 1)
    assert (seen.total, seen.consumers, seen.paused) == (5, 2, False)
    assert seen.incoming == pytest.approx(5 / 60, rel=0.5)


def test_the_oldest_that_waits_is_found_behind_a_higher_priority(
    hands: Broker, redis_client: Any
) -> None:
    add.using(priority=5).enqueue(1, 1)
    old = add.enqueue(2, 1)
    get_broker().settle()
    keys = hands.keys("default")
    redis_client.zincrby(keys.ready, -90_000, old.id)  # ms
    redis_client.hincrby(keys.message(old.id), "score", -90_000)

    assert line().oldest_waiting_seconds == pytest.approx(90, abs=5)


def test_what_nobody_takes_is_told_with_the_command_that_does(hands: Broker) -> None:
    add.using(queue="mail").enqueue(1, 1)
    add.using(queue="mail").enqueue(2, 1)

    assert texts() == [
        "Queue mail: 2 ready, and nothing takes them. python manage.py runworker mail"
    ]

    hands.beat(["mail"], ["c"], register=True)
    assert texts() == []


def test_a_paused_queue_is_told_with_who_and_why(hands: Broker) -> None:
    hands.beat(["default"], ["c"], register=True)
    add.enqueue(1, 1)
    assert pause("default", by="anna", reason="bank holiday") is True

    [text] = texts()

    assert text.startswith("The queue default is paused since ")
    assert ' by anna: "bank holiday". 1 ready one waits.' in text
    assert text.endswith("python manage.py tasks resume default")
    seen = line()
    assert seen.paused
    assert seen.pause is not None
    assert (seen.pause.who, seen.pause.until) == ("anna", None)
    assert resume("default", by="bob") is True
    assert texts() == []


def test_a_name_that_no_queue_can_have_is_refused(hands: Broker) -> None:
    with pytest.raises(InvalidTaskOptions):
        pause("a b", by="anna")


def test_a_row_that_waits_for_its_push_is_told(hands: Broker) -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    baker.make(TaskRecord, status="PENDING", created_at=long_ago)

    assert status().outbox == pytest.approx(300, abs=5)
    [said] = texts()
    assert "has waited 300 s for its push" in said or "has waited 301 s" in said


def test_rows_that_are_behind_are_told(hands: Broker, redis_client: Any) -> None:
    hands.beat(["default"], ["c"], register=True)
    result = add.enqueue(1, 1)
    get_broker().settle()
    redis_client.zincrby(hands.keys("default").dirty("default"), -60_000_000, result.id)

    [said] = texts()

    assert said.startswith("Queue default: rows are ")
    assert line().mirror_lag_seconds == pytest.approx(50, abs=5)


def test_a_broker_that_is_away_is_an_alarm_and_the_rows_are_shown(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://user:s3cret@127.0.0.1:1/0", "PREFIX": "x"}
    baker.make(TaskRecord, status="FAILED", dead_letter="why", queue_name="mail")

    seen = status()

    assert [(one.queue, one.dead) for one in seen.queues] == [("mail", 1)]
    [alarm] = seen.alarms
    assert alarm.text.startswith("The broker does not serve")
    assert "s3cret" not in alarm.text


def test_a_database_that_is_away_is_an_alarm_and_the_queues_are_shown(
    hands: Broker, take_table_away: Callable[[], None]
) -> None:
    add.enqueue(1, 1)
    get_broker().settle()
    take_table_away()

    seen = status()

    assert [(one.queue, one.ready) for one in seen.queues] == [("default", 1)]
    assert seen.alarms[0].text.startswith("The database 'default' does not serve")


def test_its_cost_does_not_grow_with_what_is_queued(
    hands: Broker, queue: TaskSettings, redis_client: Any
) -> None:
    def cost() -> tuple[int, int]:
        status()  # scripts are known, connections open
        redis_client.config_resetstat()
        with CaptureQueriesContext(connection) as queries:
            status()
        calls = redis_client.info("commandstats")
        return len(queries), sum(facts["calls"] for facts in calls.values())

    add.enqueue(0, 1)
    get_broker().settle()
    few = cost()
    for number in range(300):
        add.enqueue(number, 1)
    get_broker().settle()

    assert cost() == few
    assert few[0] == 2


def test_one_pipeline_tells_all_and_another_only_what_is_new(
    hands: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    send = Wire.send

    def noted(wire: Wire, commands: Any) -> Any:
        writes.append(len(commands))
        return send(wire, commands)

    add.enqueue(0, 1)
    get_broker().settle()
    status()
    monkeypatch.setattr(Wire, "send", noted)

    status()
    assert len(writes) == 1

    hands.announce(["news"])
    hands.describe("host:7", 60.0, {"queues": '["news"]', "children": '{"host:7:1": 11}'})
    writes.clear()
    seen = status()
    assert [one.queue for one in seen.queues] == ["default", "news"]
    assert [one.name for one in seen.workers] == ["host:7"]
    writes.clear()
    assert [one.queue for one in status().queues] == ["default", "news"]
    assert len(writes) == 1


def test_a_server_that_forgot_the_script_is_asked_again(hands: Broker, redis_client: Any) -> None:
    add.enqueue(0, 1)
    assert line().ready == 1
    redis_client.script_flush()

    assert line().ready == 1


def test_a_broker_that_evicts_is_told(queue: Any, settings: Any) -> None:
    with Server(maxmemory_policy="allkeys-lru") as own:
        settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": own.url}

        seen = status()

        assert seen.broker["policy"] == "allkeys-lru"
        assert seen.alarms[-1].cure == "CONFIG SET maxmemory-policy noeviction"
