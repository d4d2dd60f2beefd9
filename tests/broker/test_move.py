"""move: what waits, at another time, with another priority, or before all others."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from tests.broker.lines import line as line
from tests.broker.lines import pushed

LATER = datetime.now(UTC) + timedelta(hours=1)


def order(broker: Broker) -> list[str]:
    return [one.id for one in broker.claim("mail", "a", 10)]


def test_what_is_scheduled_is_ready_now(line: Broker) -> None:
    message = pushed(line, run_after=LATER)

    assert line.move("mail", [(message.id, 1)], at=0) == [0]

    assert order(line) == [message.id]
    assert line.backlog("mail")["scheduled"] == 0


def test_what_is_ready_can_wait_for_a_time_and_that_can_change(line: Broker) -> None:
    message = pushed(line)
    soon = time.time() + 0.05

    line.move("mail", [(message.id, 1)], at=LATER.timestamp())
    assert order(line) == []
    line.move("mail", [(message.id, 1)], at=soon)

    assert line.backlog("mail")["scheduled"] == 1
    while not line.promote("mail").promoted:
        assert time.time() < soon + 5
    assert order(line) == [message.id]


def test_a_priority_changes_the_place_and_the_arrival_stays(line: Broker) -> None:
    first, second, third = (pushed(line, priority=one) for one in (0, 0, 5))

    assert line.move("mail", [(second.id, 1)], priority=5) == [5]
    assert line.move("mail", [(first.id, 1)], priority=-3) == [-3]

    assert order(line) == [second.id, third.id, first.id]  # it came before the third


def test_the_priority_of_what_is_scheduled_counts_when_it_is_due(line: Broker) -> None:
    message = pushed(line, run_after=LATER)
    other = pushed(line)
    line.move("mail", [(message.id, 1)], priority=9)
    assert line.backlog("mail")["scheduled"] == 1

    line.move("mail", [(message.id, 1)], at=0)

    assert order(line) == [message.id, other.id]


def test_the_front_is_before_every_priority_and_waits_no_longer_than_it_does(line: Broker) -> None:
    urgent = pushed(line, priority=100)
    message, scheduled = pushed(line), pushed(line, run_after=LATER)

    assert line.move("mail", [(message.id, 1)], priority="front") == [100]
    assert line.move("mail", [(scheduled.id, 1)], priority="front") == [100]

    assert (line.status(["mail"], [])["mail"].oldest_waiting or 0) < 60
    assert order(line) == [scheduled.id, message.id, urgent.id]


def test_the_first_in_line_stays_where_it_is(line: Broker) -> None:
    first, second = pushed(line), pushed(line)

    assert line.move("mail", [(first.id, 1)], priority="front") == [0]

    assert order(line) == [first.id, second.id]


def test_what_does_not_wait_is_left_alone_with_a_word(line: Broker) -> None:
    pushed(line)
    [running] = line.claim("mail", "a")
    pushed(line)
    [ended] = line.claim("mail", "a")
    line.ack("mail", "a", [Outcome.successful(ended)])
    other = pushed(line)

    calls = [(running.id, 1), (ended.id, 1), ("nobody", 1), (other.id, 2)]
    answers = line.move("mail", calls, at=0)

    assert answers == ["running", "final", "unknown", "unknown"]
    assert line.holder("mail", running.id) == ("a", running.fence)
    assert order(line) == [other.id]


def test_what_was_moved_is_copied_to_its_row(line: Broker) -> None:
    message = pushed(line)
    before = line.snapshots("mail", [message.id])[message.id].revision

    line.move("mail", [(message.id, 1)], at=LATER.timestamp())

    found = line.snapshots("mail", [message.id])[message.id]
    assert found.revision > before
    assert found.us("run_after") == round(LATER.timestamp() * 1e6)
    assert line.dirty("mail", "default") == [message.id]


def test_who_waits_for_work_is_woken(line: Broker) -> None:
    message = pushed(line, run_after=LATER)
    line.client.delete(line.keys("mail").wake)

    line.move("mail", [(message.id, 1)], at=0)

    assert line.wait(["mail"], 0.5) is True


def test_the_front_of_an_empty_line_is_where_it_arrives_now(line: Broker) -> None:
    """Not at the beginning of time: that would be an alarm, and behind all of a higher priority."""
    message = pushed(line, run_after=LATER, priority=5)

    assert line.move("mail", [(message.id, 1)], priority="front") == [5]

    assert (line.status(["mail"], [])["mail"].oldest_waiting or 0) < 60
    other = pushed(line, priority=1)
    assert order(line) == [message.id, other.id]
