"""pause and resume: nothing of a queue is claimed meanwhile; what runs goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from tests.conftest import make_message


@pytest.fixture
def line(broker: Broker) -> Broker:
    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [make_message() for _ in range(3)])
    return broker


def test_nothing_is_claimed_while_it_is_paused_and_what_runs_is_reported(line: Broker) -> None:
    [running] = line.claim("mail", "a")

    assert line.pause("mail", "anna", "bank holiday") is True

    assert line.claim("mail", "a") == []
    acked = line.ack("mail", "a", [Outcome.successful(running, 1)], claim=2)
    assert (acked.accepted, acked.claimed) == ([running.id], [])
    assert line.backlog("mail")["ready"] == 2


def test_who_waits_is_woken_when_it_is_resumed(line: Broker, redis_client: Any) -> None:
    line.pause("mail", "anna")
    redis_client.delete(line.keys("mail").wake)

    assert line.resume("mail") is True

    assert line.wait(["mail"], 0.5) is True
    assert len(line.claim("mail", "a", 3)) == 3
    assert line.resume("mail") is False


def test_a_second_pause_says_who_and_why_and_keeps_since(line: Broker, redis_client: Any) -> None:
    line.pause("mail", "anna", "one")
    meta = line.keys("mail").meta
    since = redis_client.hget(meta, "paused_at")

    assert line.pause("mail", "bob", "two", until=time.time() + 60) is False

    by, why, at = redis_client.hmget(meta, "paused_by", "paused_why", "paused_at")
    assert (by, why, at) == ("bob", "two", since)


def test_a_pause_ends_by_itself_when_its_time_is_over(line: Broker, redis_client: Any) -> None:
    line.pause("mail", "anna", until=time.time() + 3600)
    line.promote("mail")
    assert line.claim("mail", "a") == []

    line.pause("mail", "anna", until=time.time() - 1)
    line.promote("mail")

    assert len(line.claim("mail", "a", 3)) == 3
    left = redis_client.hkeys(line.keys("mail").meta)
    assert [name for name in left if name.startswith("paused")] == []
