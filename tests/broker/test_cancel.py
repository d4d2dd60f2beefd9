"""cancel: what waits is final at once; what runs is noted, and goes no further, however it ends."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from tests.broker.lines import line as line
from tests.broker.lines import pushed
from tests.conftest import make_message


def cancel(broker: Broker, message: Message, **given: Any) -> int:
    [verdict] = broker.cancel("mail", [(message.id, message.round, "default")], **given)
    return verdict


def state(broker: Broker, message: Message) -> str:
    return broker.snapshots("mail", [message.id])[message.id].state


@pytest.mark.parametrize("delay", [None, 3600.0])
def test_what_waits_is_cancelled_at_once(line: Broker, delay: float | None) -> None:
    when = None if delay is None else datetime.now(UTC) + timedelta(seconds=delay)
    message = pushed(line, run_after=when)

    assert cancel(line, message) > 1

    assert state(line, message) == "CANCELLED"
    assert line.claim("mail", "a") == []
    backlog = line.backlog("mail", ["default"])
    assert backlog == {"ready": 0, "scheduled": 0, "unacked": 0, "dirty": 1}
    assert cancel(line, message) == 0  # it is final


def test_what_the_broker_does_not_know_is_not_pushed_later(line: Broker) -> None:
    message = make_message(database="default")

    assert cancel(line, message) > 1

    assert line.push("mail", [message]) == [0]
    assert line.claim("mail", "a") == []
    assert line.dirty("mail", "default") == [message.id]


def test_a_later_round_is_pushed_all_the_same(line: Broker) -> None:
    message = make_message(database="default")
    cancel(line, message)
    message.round = 2

    assert line.push("mail", [message]) == [1]

    assert [one.id for one in line.claim("mail", "a")] == [message.id]


def test_another_round_than_the_one_that_waits_is_left_alone(line: Broker) -> None:
    message = pushed(line, round=2)

    assert line.cancel("mail", [(message.id, 1, "default")]) == [0]

    assert state(line, message) == "READY"


def test_a_beat_tells_of_a_run_that_was_cancelled_till_it_ended(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")

    assert cancel(line, running) == 1

    for _ in range(2):
        pulse = line.beat(["mail"], ["a"])["mail"]
        assert pulse.cancels == {(running.id, running.fence): "soft"}
    cancel(line, running, how="hard")
    assert line.beat(["mail"], ["a"])["mail"].cancels == {(running.id, running.fence): "hard"}
    line.ack("mail", "a", [Outcome(running, "cancelled", fields={"finished_at": "1"})])
    assert line.beat(["mail"], ["a"])["mail"].cancels == {}
    assert state(line, running) == "CANCELLED"
    assert line.client.hlen(line.keys("mail").cancels) == 0


def test_a_cancelled_run_that_succeeds_all_the_same_has_succeeded(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)

    line.ack("mail", "a", [Outcome.successful(running, 1)])

    assert state(line, running) == "SUCCESSFUL"


def test_a_run_may_be_left_alone(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")

    assert cancel(line, running, how="leave") == 1

    assert line.beat(["mail"], ["a"])["mail"].cancels == {}


@pytest.mark.parametrize("delay", [0.0, 60.0])
@pytest.mark.parametrize("word", ["retried", "snoozed"])
def test_a_cancelled_run_is_not_tried_again(line: Broker, word: str, delay: float) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)

    acked = line.ack("mail", "a", [Outcome(running, word, delay)], claim=1)

    assert (acked.accepted, acked.claimed) == ([running.id], [])
    assert state(line, running) == "CANCELLED"
    assert line.backlog("mail")["scheduled"] == 0


def test_a_cancelled_message_that_is_given_back_goes_no_further(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)

    line.give_back("mail", "a", [(running.id, running.fence, "")])

    assert state(line, running) == "CANCELLED"
    assert line.claim("mail", "a") == []


def test_a_cancelled_run_whose_process_died_is_cancelled_and_not_charged(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)

    line.reap("mail", "a", [running.id])

    found = line.snapshots("mail", [running.id])[running.id]
    assert (found.state, found.lost) == ("CANCELLED", 0)
    assert [(one.number, one.outcome) for one in found.attempts] == [(1, "cancelled")]
    assert line.dirty("mail", "default") == [running.id]


def test_another_round_knows_nothing_of_the_cancel(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)
    line.ack("mail", "a", [Outcome(running, "failed")])
    running.round = 2
    line.push("mail", [running])

    [again] = line.claim("mail", "a")
    line.ack("mail", "a", [Outcome(again, "retried", 60.0)])

    assert state(line, again) == "SCHEDULED"


def test_what_foreign_hands_put_there_is_taken_for_unknown(line: Broker) -> None:
    message = make_message(database="default")
    key = line.keys("mail").message(message.id)
    line.client.set(key, "nothing of ours")

    assert cancel(line, message) > 1

    assert state(line, message) == "CANCELLED"


def test_a_cancel_is_counted_among_what_left(line: Broker) -> None:
    cancel(line, pushed(line))

    assert line.status(["mail"], ["default"])["mail"].rates["cancelled"] == pytest.approx(1 / 60)


def test_who_waits_for_the_result_hears_of_it(line: Broker) -> None:
    message = pushed(line)
    line.watch("mail", message.id, 0.01)
    began = time.monotonic()

    cancel(line, message)

    found = line.watch("mail", message.id, 0.19)
    assert found is not None
    assert found.state == "CANCELLED"
    assert time.monotonic() - began < 5


def run_as_stub(line: Broker, round_: int) -> Message:
    """A run that a broker without memory knows from its worker alone: id, consumer and fence."""
    pushed(line, round=round_)
    [running] = line.claim("mail", "a")
    line.client.delete(line.keys("mail").message(running.id), line.keys("mail").unacked)
    line.client.delete(line.keys("mail").consumer("a"))
    assert line.reassert("mail", "a", [(running.id, running.fence, None)]) == {running.id: 1}
    return running


@pytest.mark.parametrize("end", ["reap", "give back"])
def test_what_is_known_from_its_worker_alone_can_be_cancelled(line: Broker, end: str) -> None:
    running = run_as_stub(line, round_=2)

    assert cancel(line, running) == 1

    pulse = line.beat(["mail"], ["a"])["mail"]
    assert pulse.cancels == {(running.id, running.fence): "soft"}
    if end == "reap":
        line.reap("mail", "a", [running.id])
    else:
        line.give_back("mail", "a", [(running.id, running.fence, "")])
    assert state(line, running) == "CANCELLED"
    assert line.dirty("mail", "default") == [running.id]
    assert line.push("mail", [running], is_delivery=True) == [0], "it never runs in this round"


def test_a_cancel_stays_while_a_push_completes_what_is_known(line: Broker) -> None:
    running = run_as_stub(line, round_=1)
    cancel(line, running)

    assert line.push("mail", [running], is_delivery=True) == [2]

    line.ack("mail", "a", [Outcome(running, "retried", 60.0)])
    assert state(line, running) == "CANCELLED"


def test_who_takes_a_cancelled_run_again_is_told_again(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    cancel(line, running)
    keys = line.keys("mail")
    # As an append-only file that was cut off has it: an earlier hold, of an earlier era.
    line.client.hset(keys.message(running.id), mapping={"era": "1", "consumer": "gone"})

    later = running.fence + 1000
    assert line.reassert("mail", "a", [(running.id, later, None)]) == {running.id: 1}

    assert line.beat(["mail"], ["a"])["mail"].cancels == {(running.id, later): "soft"}
