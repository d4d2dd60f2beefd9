"""exchange: a child goes on by itself after any loss, and takes no outcome along."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from django_tasks.worker.board import Board
from django_tasks.worker.exchange import Exchange
from tests.conftest import make_message
from tests.servers import Server
from tests.waiting import wait_until


@pytest.fixture
def exchange(broker: Broker) -> Exchange:
    broker.beat(["mail", "bulk"], ["a"], register=True)
    return Exchange("a", ["mail", "bulk"], broker, Board(["mail", "bulk"]))


def test_queues_are_served_in_turn_in_one_round_trip(exchange: Exchange, broker: Broker) -> None:
    for queue in ("mail", "bulk"):
        broker.push(queue, [make_message(queue=queue) for _ in range(4)])
    pipelines: list[int] = []

    class Counting(Broker):
        def _begin_all(self, calls: Any) -> Any:
            pipelines.append(len(calls))
            return super()._begin_all(calls)

    exchange.broker = Counting(broker.settings)
    [first] = exchange.take(1)
    served = [first.queue]
    for _ in range(4):
        [message] = exchange.report([Outcome.successful(first, 1)], limit=1)
        served.append(message.queue)
        first = message

    assert served == ["mail", "bulk", "mail", "bulk", "mail"]
    assert pipelines == [2, 2, 2, 2]
    exchange.broker.close()


def test_who_waits_for_one_queue_gets_what_comes_in_the_same_answer(broker: Broker) -> None:
    broker.beat(["mail"], ["a"], register=True)
    exchange = Exchange("a", ["mail"], broker, Board(["mail"]))
    other = Broker(broker.settings)
    message = make_message()
    claimed: list[Message] = []
    waiter = threading.Thread(target=lambda: claimed.extend(exchange.wait(5)))

    waiter.start()
    wait_until(lambda: broker.client.info("clients")["blocked_clients"])
    other.push("mail", [message])
    waiter.join()

    assert [one.id for one in claimed] == [message.id]
    assert exchange.board.fences() == {message.id: claimed[0].fence}
    other.close()


def test_a_claim_that_may_have_been_given_back_before_it_was_read_is_given_back(
    broker: Broker,
) -> None:
    broker.beat(["mail"], ["a"], register=True)

    class Slow(Broker):
        def wait_and_claim(self, *given: Any) -> list[Message]:
            claimed = super().wait_and_claim(*given)
            exchange.board.evict()  # its supervisor, while it stood still
            return claimed

    exchange = Exchange("a", ["mail"], Slow(broker.settings), Board(["mail"]))
    broker.push("mail", [make_message()])

    assert exchange.wait(5) == []

    assert exchange.board.fences() == {}
    assert broker.backlog("mail")["ready"] == 1
    assert len(exchange.wait(5)) == 0  # each time
    exchange.broker.close()


def test_what_was_not_started_is_given_back_with_the_report(
    exchange: Exchange, broker: Broker
) -> None:
    broker.push("mail", [make_message() for _ in range(3)])
    done, *rest = exchange.take(3)

    exchange.report([Outcome.successful(done, 1)], rest)

    assert exchange.board.fences() == {}
    assert broker.backlog("mail") == {"ready": 2, "scheduled": 0, "unacked": 0, "dirty": 0}


def test_outcomes_are_told_when_the_broker_is_back_also_while_stopping() -> None:
    with Server(appendonly="yes", appendfsync="always") as server:
        broker = Broker(TaskSettings(broker=server.url, prefix="x"))
        broker.beat(["mail"], ["a"], register=True)
        broker.push("mail", [make_message()])
        looks: list[float] = []

        class Watched(Broker):
            def revive(self) -> None:
                looks.append(time.monotonic())

        exchange = Exchange("a", ["mail"], Watched(broker.settings), Board(["mail"]))
        [held] = exchange.take(1)
        server.stop()
        exchange.is_stopping = True
        teller = threading.Thread(target=lambda: exchange.report([Outcome.successful(held, 1)]))
        cpu = time.process_time()
        teller.start()
        wait_until(lambda: len(looks) >= 4)

        assert looks[-1] - looks[0] > 0.2, "it waits between two looks"
        assert time.process_time() - cpu < looks[-1] - looks[0], "it does not spin"
        server.start()
        teller.join(10)
        assert broker.snapshots("mail", [held.id])[held.id].state == "SUCCESSFUL"
        broker.close()


def test_law_6_an_outcome_waits_until_the_broker_knows_its_consumer_again(
    exchange: Exchange, broker: Broker
) -> None:
    broker.push("mail", [make_message()])
    [held] = exchange.take(1)
    broker.client.delete(*broker.client.keys(f"{broker.settings.prefix}:*"))
    asked: list[str] = []

    class Watched(Broker):
        def reassert(self, *given: Any) -> dict[str, int]:
            asked.append(given[0])
            return super().reassert(*given)

    exchange.broker = Watched(broker.settings)
    teller = threading.Thread(target=lambda: exchange.report([Outcome.successful(held, 1)]))
    teller.start()
    wait_until(lambda: len(asked) > 1)

    broker.beat(["mail"], ["a"], register=True)  # as its supervisor does

    teller.join(10)
    assert broker.snapshots("mail", [held.id])[held.id].state == "SUCCESSFUL"
    assert exchange.board.fences() == {}


def test_where_nobody_makes_it_known_again_it_says_so(
    exchange: Exchange, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.push("mail", [make_message()])
    [held] = exchange.take(1)
    broker.client.delete(*broker.client.keys(f"{broker.settings.prefix}:*"))
    exchange.patience = 0.0

    exchange.report([Outcome.successful(held, 1)])

    assert "The broker lost 1 messages that were run" in caplog.text
