"""progress: a running task's words are kept in its message, and no other's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from tests.conftest import make_message
from tests.servers import Server

GARBAGE = ["nan", "1e300", "", "high"]


def report(fence: int, done: int = 1) -> str:
    return f'{{"fence":{fence},"done":{done},"total":9,"text":"","at":1795000000000000,"log":[]}}'


@pytest.fixture
def ready(broker: Broker) -> Broker:
    broker.beat(["mail"], ["a", "b"], register=True)
    return broker


@pytest.fixture
def held(ready: Broker) -> Message:
    ready.push("mail", [make_message()])
    [message] = ready.claim("mail", "a")
    return message


def tell(broker: Broker, message: Message, consumer: str = "a", done: int = 1) -> list[int]:
    words = (consumer, message.id, message.fence, report(message.fence, done))
    return broker.progress("mail", [words])


def fields(broker: Broker, message: Message) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = broker.client.hgetall(broker.keys("mail").message(message.id))
    return found


def noted(broker: Broker, message: Message) -> list[tuple[str, Any]]:
    """(outcome, done) of the runs that the message notes."""
    runs = broker.snapshots("mail", [message.id])[message.id].attempts
    return [(run.outcome, json.loads(run.report)["done"] if run.report else None) for run in runs]


def test_it_is_kept_beside_what_was_there_and_marks_nothing(ready: Broker, held: Message) -> None:
    before = fields(ready, held)
    marks = ready.client.zrange(ready.keys("mail").dirty("default"), 0, -1, withscores=True)

    assert tell(ready, held, done=1) == tell(ready, held, done=2) == [1]

    assert fields(ready, held) == {**before, b"report": report(held.fence, 2).encode()}
    after = ready.client.zrange(ready.keys("mail").dirty("default"), 0, -1, withscores=True)
    assert after == marks


def test_law_3_only_who_holds_it_by_that_fence_may_tell(ready: Broker, held: Message) -> None:
    older = make_message(id=held.id, fence=held.fence - 1)
    unknown = make_message(fence=held.fence)

    assert tell(ready, held, consumer="b") == [0]
    assert tell(ready, older) == [0]
    assert tell(ready, unknown) == [0]
    assert fields(ready, unknown) == {}

    ready.reap("mail", "a", [held.id])
    assert tell(ready, held) == [0], "it waits again"
    ready.beat(["mail"], ["a"], register=True)
    [heir] = ready.claim("mail", "a")
    assert tell(ready, held) == [0], "its own consumer runs it once more"
    assert b"report" not in fields(ready, held)
    assert tell(ready, heir) == [1]


def test_of_several_each_has_its_own_verdict(ready: Broker, held: Message) -> None:
    ready.push("mail", [make_message()])
    [other] = ready.claim("mail", "b")
    words = [(one, m.id, m.fence, report(m.fence)) for one, m in (("a", held), ("a", other))]

    assert ready.progress("mail", [*words, ("b", other.id, other.fence, "{}")]) == [1, 0, 1]


def test_a_lost_run_keeps_its_last_words(ready: Broker, held: Message) -> None:
    tell(ready, held, done=5)

    ready.reap("mail", "a", [held.id])

    assert noted(ready, held) == [("lost", 5)]


def test_a_stopped_run_keeps_its_last_words(ready: Broker, held: Message) -> None:
    tell(ready, held, done=5)

    ready.give_back("mail", "a", [(held.id, held.fence, '{"consumer":"a","outcome":"stopped"}')])

    assert noted(ready, held) == [("stopped", 5)]


def test_a_lost_run_that_told_nothing_does_not_get_the_words_of_the_one_before(
    ready: Broker, held: Message
) -> None:
    tell(ready, held, done=5)
    ready.reap("mail", "a", [held.id])
    [again] = ready.claim("mail", "b")

    ready.reap("mail", "b", [again.id])

    assert noted(ready, held) == [("lost", 5), ("lost", None)]


def test_it_goes_out_with_no_claim(ready: Broker, redis_client: Any) -> None:
    """By a lost run's report, which no ack preceded, and by one that was acknowledged."""
    for end in ("lost", "retried"):
        ready.beat(["mail"], ["a"], register=True)
        ready.push("mail", [make_message()])
        [message] = ready.claim("mail", "a")
        tell(ready, message)
        if end == "lost":
            ready.reap("mail", "a", [message.id])
        else:
            ready.ack("mail", "a", [Outcome(message, "retried", fields={"report": "{}"})])

        answer = ready._call("claim", "mail", "b", 1)

        assert answer[0][0].decode() == message.id
        assert b"args" in answer[0][3]
        assert b"report" not in answer[0][3]


def test_another_round_begins_without_it(ready: Broker, held: Message) -> None:
    told = {"report": report(held.fence)}
    ready.ack("mail", "a", [Outcome(held, "failed", fields=told)])
    assert b"report" in fields(ready, held)

    ready.push("mail", [make_message(id=held.id, round=2)])

    assert fields(ready, held)[b"state"] == b"READY"
    assert b"report" not in fields(ready, held)


@pytest.mark.parametrize("value", GARBAGE)
def test_law_1_garbage_in_the_fence_is_nobodys(ready: Broker, held: Message, value: str) -> None:
    ready.client.hset(ready.keys("mail").message(held.id), "fence", value)

    assert tell(ready, held) == [0]
    assert ready.progress("mail", [("a", held.id, value, "{}")]) == [0]  # type: ignore[list-item]


@pytest.mark.parametrize("value", ["", "{", "null", '{"fence":1,', "[" * 1000])
def test_garbage_in_the_report_stops_no_reap_and_no_mirror(
    ready: Broker, held: Message, value: str
) -> None:
    ready.progress("mail", [("a", held.id, held.fence, value)])

    ready.reap("mail", "a", [held.id])

    assert noted(ready, held) == [("lost", None)]
    ready.client.set(ready.keys("mail").message("foreign"), "no hash")
    assert ready.progress("mail", [("a", "foreign", 1, "{}")]) == [0]


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    with Server(maxmemory_policy="noeviction") as own:
        made = Broker(TaskSettings(broker=own.url, prefix="p"))
        yield made
        made.close()


def test_at_maxmemory_it_passes(own_broker: Broker) -> None:
    """A supervisor that were refused would take the broker for one that is away."""
    own_broker.beat(["mail"], ["a"], register=True)
    own_broker.push("mail", [make_message()])
    [held] = own_broker.claim("mail", "a")
    own_broker.client.config_set("maxmemory", "1mb")

    assert tell(own_broker, held) == [1]
