"""What foreign hands may write: no script fails on it after its first write (law 1)."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from tests.broker.world import FINAL
from tests.conftest import make_message

GARBAGE = ["nan", "inf", "-inf", "1e300", "-1e300", "1.5", "9" * 30, "", "high"]
NUMBERS = (
    "fence revision round score priority attempt lost max_lost ttl charged acked era"
    " run_after expires"
).split()


@pytest.fixture
def line(broker: Broker) -> Broker:
    broker.beat(["mail"], ["a", "b"], register=True)
    return broker


def garble(broker: Broker, message: Message, name: str, value: str) -> None:
    broker.client.hset(broker.keys("mail").message(message.id), name, value)


def places(broker: Broker, record_id: str) -> list[str]:
    keys, client = broker.keys("mail"), broker.client
    lines = {"READY": keys.ready, "SCHEDULED": keys.scheduled, "RUNNING": keys.unacked}
    found = [state for state, key in lines.items() if client.zscore(key, record_id) is not None]
    state = client.hget(keys.message(record_id), "state")
    assert state is None or state.decode() in FINAL or [state.decode()] == found
    return found


def claim(broker: Broker, message: Message) -> None:
    broker.claim("mail", "a", 1)


def reap(broker: Broker, message: Message) -> None:
    broker.reap("mail", "a", [message.id])


def give_back(broker: Broker, message: Message) -> None:
    broker.give_back("mail", "a", [(message.id, message.fence, "")])


def succeed(broker: Broker, message: Message) -> None:
    broker.ack("mail", "a", [Outcome.successful(message)])


def retry(broker: Broker, message: Message) -> None:
    broker.ack("mail", "a", [Outcome(message, "retried")])


def postpone(broker: Broker, message: Message) -> None:
    broker.ack("mail", "a", [Outcome(message, "retried", delay=60.0)])


def promote(broker: Broker, message: Message) -> None:
    broker.promote("mail")


def clean(broker: Broker, message: Message) -> None:
    marks: list[Any] = [(message.id, "ahead", 5, "5", ()), (message.id, "written", 5, "READY", ())]
    broker.clean("mail", "default", marks)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("act", [reap, give_back, succeed, retry, postpone, clean])
def test_law_1_a_held_message_with_garbage_in_it_stays_in_one_place(
    line: Broker, name: str, act: Any
) -> None:
    for value in GARBAGE:
        line.push("mail", [make_message()])
        [held] = line.claim("mail", "a", 1)
        garble(line, held, name, value)

        act(line, held)

        assert len(places(line, held.id)) <= 1
        line.beat(["mail"], ["a"], register=True)
        line.reap("mail", "a")
        line.beat(["mail"], ["a"], register=True)
        assert line.backlog("mail")["unacked"] == 0
        line.client.delete(line.keys("mail").ready, line.keys("mail").scheduled)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("act", [claim, promote, clean])
@pytest.mark.parametrize("delay", [0, 60])
def test_law_1_a_waiting_message_with_garbage_in_it_stays_in_one_place(
    line: Broker, name: str, act: Any, delay: int
) -> None:
    for value in GARBAGE:
        message = make_message()
        line.push("mail", [message])
        if delay:
            [held] = line.claim("mail", "a", 1)
            line.ack("mail", "a", [Outcome(held, "snoozed", delay=0.001)])
        garble(line, message, name, value)

        act(line, message)

        assert len(places(line, message.id)) <= 1
        line.reap("mail", "a")
        line.beat(["mail"], ["a"], register=True)
        line.client.delete(line.keys("mail").ready, line.keys("mail").scheduled)


@pytest.mark.parametrize("value", GARBAGE)
def test_a_garbled_fence_is_replaced_by_the_next_claim(line: Broker, value: str) -> None:
    message = make_message()
    line.push("mail", [message])
    garble(line, message, "fence", value)

    [held] = line.claim("mail", "a", 1)

    assert line.ack("mail", "a", [Outcome.successful(held, 3)]).accepted == [message.id]


@pytest.mark.parametrize("where", ["ready", "scheduled"])
def test_an_id_without_a_message_is_buried(line: Broker, where: str) -> None:
    keys = line.keys("mail")
    line.client.zadd(getattr(keys, where), {"nothing": 1})
    line.client.hset(keys.message("nothing"), "expires", "1")

    line.promote("mail")

    assert line.client.zscore(getattr(keys, where), "nothing") is None
    assert b"nothing" in line.client.lindex(keys.dead, 0)


def test_what_a_consumer_is_said_to_hold_is_read_past_garbage(line: Broker) -> None:
    line.push("mail", [make_message()])
    [held] = line.claim("mail", "a", 1)
    line.client.hset(line.keys("mail").consumer("a"), "garbage", "no fence")

    assert line.holdings("mail", "a") == {held.id: held.fence}
    assert line.beat(["mail"], ["a"])["mail"].holdings == {"a": {held.id: held.fence}}


def test_a_counter_that_is_no_number_stops_nothing(line: Broker) -> None:
    line.push("mail", [make_message()])
    [key] = line.client.keys(f"{line.keys('mail').root}:count:*")
    line.client.hset(key, "succeeded", "many")
    [held] = line.claim("mail", "a", 1)

    assert line.ack("mail", "a", [Outcome.successful(held)]).accepted == [held.id]


def test_at_most_fifty_runs_wait_for_the_mirror(line: Broker) -> None:
    line.push("mail", [make_message()])

    for _ in range(120):
        [held] = line.claim("mail", "a", 1)
        noted = {f"attempt:{held.fence}": '{"outcome":"snoozed"}'}
        line.ack("mail", "a", [Outcome(held, "snoozed", fields=noted)])

    snapshot = line.snapshots("mail", [held.id])[held.id]
    fences = [one.fence for one in snapshot.attempts]
    assert 50 <= len(fences) < 90
    assert fences[-1] == held.fence, "the last ones stay"


def test_workers_that_died_without_a_word_are_forgotten(line: Broker) -> None:
    line.describe("dead", 60, {"name": "dead"})
    line.client.delete(line.shared.worker("dead"))

    line.describe("alive", 60, {"name": "alive"})

    assert line.client.smembers(line.shared.workers) == {b"alive"}
