"""One test per law of docs/contributing/design.md, by number: the promises as a page.

Each shows the law at its simplest; what else keeps it true, and the mutation that each test
catches, is listed in docs/contributing/laws.md."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.db import transaction

from django_tasks.bridge.deliver import deliver
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL, State
from django_tasks.worker.board import Board
from django_tasks.worker.burst import burst
from django_tasks.worker.child import Consumer
from django_tasks.worker.exchange import Exchange
from tests import tasks
from tests.conftest import make_message


def places(broker: Broker, client: Any, record_id: str) -> list[str]:
    """Every place of the queue "mail" in which the broker has a message."""
    keys = broker.keys("mail")
    sets = {"ready": keys.ready, "scheduled": keys.scheduled, "unacked": keys.unacked}
    found = [name for name, key in sets.items() if client.zscore(key, record_id) is not None]
    state = client.hget(keys.message(record_id), "state")
    return found + (["finished"] if state in FINAL else [])


def test_law_1_a_message_is_in_exactly_one_place(broker: Broker, redis_client: Any) -> None:
    message = make_message()
    seen = []

    def look() -> None:
        seen.append(places(broker, redis_client, message.id))

    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [message])
    look()
    [held] = broker.claim("mail", "a")
    look()
    broker.give_back("mail", "a", [(held.id, held.fence, "")])
    look()
    [held] = broker.claim("mail", "a")
    broker.ack("mail", "a", [Outcome(held, "retried", delay=60.0)])
    look()
    redis_client.zadd(broker.keys("mail").scheduled, {message.id: 1})
    broker.promote("mail")
    look()
    [held] = broker.claim("mail", "a")
    broker.ack("mail", "a", [Outcome.successful(held, 3)])
    look()

    assert seen == [["ready"], ["unacked"], ["ready"], ["scheduled"], ["ready"], ["finished"]]


def test_law_1_what_is_cancelled_or_moved_is_in_exactly_one_place(
    broker: Broker, redis_client: Any
) -> None:
    waits, runs = make_message(), make_message()
    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [runs])
    [held] = broker.claim("mail", "a")
    broker.push("mail", [waits])

    moved = []
    for change in ({"at": 4e9}, {"priority": 5}, {"priority": "front"}):
        broker.move("mail", [(waits.id, 1)], **change)
        moved.append(places(broker, redis_client, waits.id))
    broker.cancel("mail", [(waits.id, 1, ""), (runs.id, 1, "")])
    cancelled = [places(broker, redis_client, one.id) for one in (waits, runs)]
    broker.give_back("mail", "a", [(held.id, held.fence, "")])

    assert moved == [["scheduled"], ["scheduled"], ["ready"]]
    assert cancelled == [["finished"], ["unacked"]]
    assert places(broker, redis_client, runs.id) == ["finished"], "it goes no further"


@pytest.mark.django_db(transaction=True)
def test_law_2_a_row_first_a_message_after_the_commit_nothing_after_a_rollback(
    queue: TaskSettings,
) -> None:
    broker = Broker(queue)

    with transaction.atomic():
        kept = tasks.add.enqueue(1, 2)
        unseen = broker.unknown_ids("default", [kept.id])
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        lost = tasks.add.enqueue(3, 4)
        raise ZeroDivisionError

    assert unseen == {kept.id}
    assert broker.unknown_ids("default", [kept.id, lost.id]) == {lost.id}
    assert list(TaskRecord.objects.values_list("id", flat=True).order_by("id")) == [
        TaskRecord.objects.get(id=kept.id).id
    ]


def test_law_3_an_ack_is_accepted_if_no_later_claim_exists(broker: Broker) -> None:
    broker.beat(["mail"], ["a", "b"], register=True)
    broker.push("mail", [make_message()])
    [zombie] = broker.claim("mail", "a")
    broker.reap("mail", "a")
    [heir] = broker.claim("mail", "b")

    late = broker.ack("mail", "a", [Outcome.successful(zombie, "late")])
    first = broker.ack("mail", "b", [Outcome.successful(heir, "mine")])
    again = broker.ack("mail", "b", [Outcome.successful(heir, "mine")])

    assert late.refused == [zombie.id]
    assert first.accepted == again.accepted == [heir.id]
    assert heir.fence > zombie.fence


def test_law_4_only_who_does_not_beat_is_reaped_and_then_gets_nothing(broker: Broker) -> None:
    broker.settings = TaskSettings(
        broker=broker.settings.broker, prefix=broker.settings.prefix, lease=0.2
    )
    broker.beat(["mail"], ["living", "dead"], register=True)
    broker.push("mail", [make_message(), make_message()])
    broker.claim("mail", "living")
    broker.claim("mail", "dead")
    reaped = []

    # Beats more often than half a lease: else nobody would count as absent.
    while not reaped:
        broker.beat(["mail"], ["living"])
        reaped = broker.reap("mail")

    assert [one.consumer for one in reaped] == ["dead"]
    assert len(broker.holdings("mail", "living")) == 1
    assert broker.claim("mail", "dead") == []


@pytest.mark.django_db(transaction=True)
def test_law_5_the_broker_forgets_nothing_the_database_does_not_know(queue: TaskSettings) -> None:
    broker = Broker(queue)
    result = tasks.add.enqueue(1, 2)
    broker.beat(["default"], ["a"], register=True)
    [held] = broker.claim("default", "a")
    broker.ack("default", "a", [Outcome.successful(held, 3)])
    before = broker.client.ttl(broker.keys("default").message(result.id))

    mirror(broker, "default", "default")

    record = TaskRecord.objects.get(id=result.id)
    assert before == -1, "a finished message has no time to live until its row is written"
    assert (record.status, record.return_value) == (State.SUCCESSFUL, 3)
    assert broker.dirty("default", "default") == []
    assert broker.client.ttl(broker.keys("default").message(result.id)) > 0


def test_law_5_a_cancelled_message_never_runs_again_in_that_round(broker: Broker) -> None:
    known, unknown = make_message(database="default"), make_message(database="default")
    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [known])
    [held] = broker.claim("mail", "a")

    broker.cancel("mail", [(known.id, 1, "default"), (unknown.id, 1, "default")])
    broker.ack("mail", "a", [Outcome(held, "retried", delay=0.0)])

    assert broker.push("mail", [known, unknown], is_delivery=True) == [0, 0]
    assert broker.claim("mail", "a", 2) == []
    assert set(broker.dirty("mail", "default")) == {known.id, unknown.id}
    known.round = 2
    assert broker.push("mail", [known]) == [1]
    assert [one.id for one in broker.claim("mail", "a", 2)] == [known.id]


@pytest.mark.django_db(transaction=True)
def test_law_6_what_a_lost_broker_held_is_delivered_from_the_rows(queue: TaskSettings) -> None:
    broker = Broker(queue)
    waiting, done = tasks.add.enqueue(1, 2), tasks.add.enqueue(3, 4)
    TaskRecord.objects.filter(id=done.id).update(status=State.SUCCESSFUL, return_value=7)
    for key in broker.client.scan_iter(f"{queue.prefix}:*"):
        broker.client.delete(key)

    delivered = deliver(broker, "default")

    assert delivered.pushed == 1
    assert broker.unknown_ids("default", [waiting.id, done.id]) == {done.id}


@pytest.mark.django_db(transaction=True)
def test_law_8_what_cannot_run_is_a_dead_letter_with_its_reason(queue: TaskSettings) -> None:
    result = tasks.add.enqueue(1, 2)
    TaskRecord.objects.filter(id=result.id).update(task_name="tests.tasks.gone")
    broker = Broker(queue)
    broker.client.hset(broker.keys("default").message(result.id), "task", "tests.tasks.gone")

    burst(queue, ["default"])

    record = TaskRecord.objects.get(id=result.id)
    assert record.status == State.FAILED
    assert "No task is named 'tests.tasks.gone' here" in record.dead_letter


@pytest.mark.django_db(transaction=True)
def test_law_9_the_hot_path_is_one_call_a_batch_and_no_query(
    queue: TaskSettings, django_assert_num_queries: Any
) -> None:
    broker = Broker(queue)
    count = 300
    broker.beat(["default"], ["a"], register=True)
    rounds = []
    for _ in range(3):  # on a busy machine some of them take long, and are run alone
        for number in range(count):
            tasks.add.enqueue(number, 1)
        calls: list[str] = []
        exchange = Exchange("a", ["default"], Counting(queue, calls=calls), Board(["default"]))
        consumer = Consumer(exchange, queue, idle=lambda: True)

        with django_assert_num_queries(0):
            consumer.run()

        assert broker.backlog("default")["ready"] == 0
        rounds.append(len(calls))
        # The first is claimed alone: nobody knows how long it takes. Then 10 ms of work a call.
        if rounds[-1] < count / 3:
            return
    raise AssertionError(f"{rounds} calls for {count} tasks")


class Counting(Broker):
    """A broker that notes each round trip of the worker."""

    def __init__(self, settings: TaskSettings, calls: list[str]) -> None:
        super().__init__(settings)
        self.calls = calls

    def _begin_all(self, calls: Any) -> Any:
        self.calls.append(calls[0][0])
        return super()._begin_all(calls)


def test_law_10_importing_is_cheap() -> None:
    program = (
        "import sys, django_tasks\n"
        "heavy = {'redis', 'django', 'django_tasks.worker', 'django_tasks.broker'}\n"
        "print(sorted(heavy.intersection(sys.modules)))\n"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "[]"
