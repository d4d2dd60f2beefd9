"""The transitions one by one: what each does at its simplest, and at its borders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome, to_us
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from tests.conftest import make_message
from tests.servers import Server
from tests.waiting import wait_until


@pytest.fixture
def ready(broker: Broker) -> Broker:
    """Two consumers are registered."""
    broker.beat(["mail"], ["a", "b"], register=True)
    return broker


def field(broker: Broker, record_id: str, name: str) -> str | None:
    value = broker.client.hget(broker.keys("mail").message(record_id), name)
    return None if value is None else str(value.decode())


def test_higher_priority_goes_first_then_what_came_first(ready: Broker) -> None:
    low, first, second = make_message(priority=-1), make_message(), make_message()
    high = make_message(priority=100)
    for message in (low, first, second, high):  # those of one millisecond: by id
        ready.push("mail", [message])

    claimed = ready.claim("mail", "a", 4)

    assert [one.id for one in claimed] == [high.id, first.id, second.id, low.id]


def test_what_is_given_back_keeps_its_place_and_can_not_be_acked_any_more(ready: Broker) -> None:
    first, second = make_message(), make_message()
    ready.push("mail", [first])
    ready.push("mail", [second])
    [held] = ready.claim("mail", "a")

    given = ready.give_back("mail", "a", [(held.id, held.fence, "")])

    assert given == 1
    assert ready.ack("mail", "a", [Outcome.successful(held)]).refused == [first.id]
    assert ready.claim("mail", "b")[0].id == first.id


def test_a_late_ack_of_a_reaped_run_is_accepted_and_its_charge_undone(ready: Broker) -> None:
    message = make_message()
    ready.push("mail", [message])
    [held] = ready.claim("mail", "a")
    ready.reap("mail", "a", [held.id])
    charged = field(ready, held.id, "lost")

    acked = ready.ack("mail", "a", [Outcome.successful(held, 3)])

    assert charged == "1"
    assert acked.accepted == [message.id]
    assert field(ready, held.id, "lost") == "0"
    assert field(ready, held.id, "state") == "SUCCESSFUL"


def test_only_what_the_board_shows_as_running_is_charged(ready: Broker) -> None:
    for _ in range(3):
        ready.push("mail", [make_message()])
    first, *others = ready.claim("mail", "a", 3)

    [reaped] = ready.reap("mail", "a", [first.id])

    assert (reaped.held, reaped.charged) == (3, 1)
    assert [field(ready, one.id, "lost") for one in (first, *others)] == ["1", None, None]


def test_of_several_that_ran_each_is_a_suspect_and_runs_alone(ready: Broker) -> None:
    for _ in range(3):
        ready.push("mail", [make_message()])
    held = ready.claim("mail", "a", 2)
    ready.reap("mail", "a", [one.id for one in held])

    batches = [ready.claim("mail", "b", 3) for _ in range(3)]

    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert [batch[0].suspect for batch in batches] == [True, True, False]
    assert [field(ready, one.id, "lost") for one in held] == [None, None]


def test_what_a_stopping_worker_ran_is_not_charged(ready: Broker) -> None:
    message = make_message()
    ready.push("mail", [message])
    [held] = ready.claim("mail", "a")
    ready.beat(["mail"], ["a"], is_stopping=True)

    [reaped] = ready.reap("mail", "a", [held.id])

    assert reaped.charged == 0
    assert field(ready, held.id, "state") == "READY"


def test_what_kills_its_process_too_often_is_a_dead_letter(ready: Broker) -> None:
    ready.push("mail", [make_message(max_lost=2)])
    for how in ("SIGSEGV", 'a "quoted" end'):
        ready.beat(["mail"], ["a"], register=True)
        [held] = ready.claim("mail", "a")
        ready.reap("mail", "a", [held.id], how)

    assert field(ready, held.id, "state") == "FAILED"
    said = 'killed its process 2 times (a "quoted" end)'
    assert field(ready, held.id, "dead_letter") == said
    runs = ready.snapshots("mail", [held.id])[held.id].attempts
    assert [one.error_message for one in runs] == ["SIGSEGV", 'a "quoted" end']


def test_what_died_with_its_host_says_so(ready: Broker) -> None:
    ready.push("mail", [make_message(max_lost=1)])
    [held] = ready.claim("mail", "a")
    ready.client.zadd(ready.keys("mail").workers, {"a": 1})

    ready.reap("mail")

    said = "killed its process once (its lease ran out)"
    assert field(ready, held.id, "dead_letter") == said


def test_a_scheduled_message_becomes_ready_when_it_is_due(ready: Broker) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    message = make_message(run_after=soon)
    ready.push("mail", [message])
    early = ready.promote("mail")

    promoted = wait_until(lambda: ready.promote("mail").promoted, 5)

    assert early.promoted == 0
    assert early.next_due is not None
    assert 0 < early.next_due <= 0.2
    assert promoted == 1
    assert [one.id for one in ready.claim("mail", "a")] == [message.id]


@pytest.mark.parametrize("how", ["claim", "promote"])
def test_what_expired_is_not_started(ready: Broker, how: str) -> None:
    gone = make_message(expires=datetime.now(UTC) - timedelta(seconds=1))
    good = make_message()
    ready.push("mail", [gone, good])
    if how == "promote":
        assert ready.promote("mail").expired == 1

    claimed = ready.claim("mail", "a", 2)

    assert [one.id for one in claimed] == [good.id]
    assert field(ready, gone.id, "state") == "EXPIRED"


def test_a_paused_queue_gives_nothing_and_wakes_nobody(ready: Broker) -> None:
    keys = ready.keys("mail")
    ready.client.hset(keys.meta, "paused", "1")
    ready.push("mail", [make_message()])
    ready.client.delete(keys.wake)

    claimed = ready.claim("mail", "a")
    ready.promote("mail")

    assert claimed == []
    assert ready.client.llen(keys.wake) == 0


def test_what_is_left_in_line_wakes_the_next_consumer(ready: Broker) -> None:
    ready.push("mail", [make_message(), make_message()])
    ready.client.delete(ready.keys("mail").wake)

    ready.claim("mail", "a")
    one_left = ready.client.llen(ready.keys("mail").wake)

    assert one_left == 1
    assert ready.wait(["mail"], 0.5)
    ready.claim("mail", "a")
    assert not ready.wait(["mail"], 0.05)


def test_a_repeated_ack_gets_the_same_answer_and_counts_once(ready: Broker) -> None:
    ready.push("mail", [make_message()])
    [held] = ready.claim("mail", "a")
    outcome = Outcome(held, "retried")

    answers = [ready.ack("mail", "a", [outcome]).accepted for _ in range(3)]

    assert answers == [[held.id]] * 3
    assert field(ready, held.id, "attempt") == "1"


def test_counters_of_the_minute_tell_runs_waits_and_outcomes(ready: Broker) -> None:
    ready.push("mail", [make_message(), make_message()])
    first, second = ready.claim("mail", "a", 2)
    ready.ack("mail", "a", [Outcome.successful(first), Outcome(second, "failed", run=0.5)])

    counted: dict[str, int] = {}
    for key in ready.client.keys(f"{ready.keys('mail').root}:count:*"):
        for name, value in ready.client.hgetall(key).items():
            counted[name.decode()] = counted.get(name.decode(), 0) + int(value)
        assert 0 < ready.client.ttl(key) <= 172_800

    assert counted["enqueued"] == counted["runs"] == 2
    assert counted["succeeded"] == counted["failed"] == 1
    assert counted["run_us"] == 500_000
    assert counted["wait_us"] >= 0


def test_an_unknown_ack_is_asked_again_with_the_body(ready: Broker) -> None:
    message = make_message()
    ready.push("mail", [message])
    [held] = ready.claim("mail", "a")
    for key in ready.client.keys(f"{ready.keys('mail').root}:*"):
        ready.client.delete(key)
    ready.beat(["mail"], ["a"], register=True)

    first = ready.ack("mail", "a", [Outcome.successful(held, 3)])
    verdicts = ready.reassert("mail", "a", [(held.id, held.fence, held)])
    second = ready.ack("mail", "a", [Outcome.successful(held, 3)])

    assert (first.unknown, second.accepted) == ([held.id], [held.id])
    assert verdicts == {held.id: 1}
    assert field(ready, held.id, "return_value") == "3"


def test_a_push_completes_what_a_reassert_knew(ready: Broker) -> None:
    message = make_message()
    ready.push("mail", [message])
    [held] = ready.claim("mail", "a")
    ready.client.delete(*ready.client.keys(f"{ready.keys('mail').root}:*"))
    ready.beat(["mail"], ["a"], register=True)
    ready.reassert("mail", "a", [(held.id, held.fence, None)])

    assert ready.push("mail", [message], is_delivery=True) == [2]
    assert ready.holder("mail", held.id) == ("a", held.fence)
    assert ready.ack("mail", "a", [Outcome.successful(held, 3)]).accepted == [held.id]


@pytest.mark.parametrize("told_before", [False, True], ids=["unknown", "a stub"])
def test_law_6_what_a_consumer_brings_back_is_in_doubt_if_it_dies(
    ready: Broker, told_before: bool
) -> None:
    ready.push("mail", [make_message()])
    [held] = ready.claim("mail", "a")
    ready.client.delete(*ready.client.keys(f"{ready.keys('mail').root}:*"))
    ready.beat(["mail"], ["a", "b"], register=True)
    if told_before:
        ready.reassert("mail", "a", [(held.id, held.fence, None)])
    ready.client.hincrby(ready.keys("mail").meta, "era", 1)  # another era
    ready.client.hincrby(
        ready.keys("mail").meta, "since", -10_000_000
    )  # its first seconds are over

    ready.reassert("mail", "a", [(held.id, held.fence, held)])
    ready.reap("mail", "a", [held.id])

    [again] = ready.claim("mail", "b")
    assert (again.id, again.doubt) == (held.id, True)


def test_a_stub_whose_row_was_found_final_is_no_stub_any_more(ready: Broker) -> None:
    """The mirror read the message, the broker lost it and was told that it runs; then the clean."""
    message = make_message()
    ready.push("mail", [message])
    [held] = ready.claim("mail", "a")
    ready.client.delete(*ready.client.keys(f"{ready.keys('mail').root}:*"))
    ready.beat(["mail"], ["a"], register=True)
    ready.reassert("mail", "a", [(held.id, held.fence, None)])

    ready.clean("mail", "default", [(held.id, "settled", held.revision, "CANCELLED", ())])

    assert ready.holdings("mail", "a") == {}
    assert ready.unknown_ids("mail", [held.id]) == set()
    assert ready.ack("mail", "a", [Outcome.successful(held, 3)]).refused == [held.id]


def test_what_nobody_can_read_is_buried_and_stops_nobody(ready: Broker) -> None:
    keys, good = ready.keys("mail"), make_message()
    ready.client.set(keys.message("garbage"), "no hash")
    ready.client.zadd(keys.ready, {"garbage": -1e15, "nothing": -1e15})
    ready.push("mail", [good])

    claimed = ready.claim("mail", "a", 3)

    assert [one.id for one in claimed] == [good.id]
    buried = [line.split()[1] for line in ready.client.lrange(keys.dead, 0, -1)]
    assert sorted(buried) == [b"garbage", b"nothing"]


def test_delivery_is_noted_for_the_present_era_only(ready: Broker) -> None:
    era = ready.beat(["mail"], [])["mail"].era

    assert not ready.delivered("mail", "another")
    assert ready.delivered("mail", era)
    assert ready.beat(["mail"], [])["mail"].delivered == era


def test_a_duty_is_one_owners_until_it_lets_go(broker: Broker) -> None:
    answers = [
        broker.lease("relay", "a", 5),
        broker.lease("relay", "b", 5),
        broker.lease("relay", "a", 5),
        broker.lease("relay", "a", 0),
        broker.lease("relay", "b", 5),
    ]

    assert answers == [True, False, True, False, True]


def test_a_description_fades_and_can_be_taken_back(broker: Broker) -> None:
    broker.describe("w", 30, {"queues": '["mail"]'})
    key = broker.shared.worker("w")

    assert broker.client.hgetall(key) == {b"queues": b'["mail"]'}
    assert 0 < broker.client.ttl(key) <= 30
    broker.describe("w", 0, {})
    assert not broker.client.exists(key)
    assert broker.client.smembers(broker.shared.workers) == set()


def test_queue_names_are_known_once_announced(broker: Broker) -> None:
    broker.announce(["mail", "bulk"])

    assert broker.queue_names() == {"mail", "bulk"}


def test_time_without_any_beat_counts_against_nobody() -> None:
    with Server() as own:
        broker = Broker(TaskSettings(broker=own.url, prefix="p", lease=0.4), timeout=5.0)
        broker.beat(["mail"], ["a", "b"], register=True)
        deadline = broker.client.zscore(broker.keys("mail").workers, "b")
        wait_until(lambda: deadline < int(to_us(datetime.now(UTC))))

        early = broker.reap("mail")
        broker.beat(["mail"], ["a"])
        late = broker.reap("mail")

        assert (early, late) == ([], [])
        assert broker.client.zscore(broker.keys("mail").workers, "b") > deadline
        broker.close()


@pytest.fixture
def full() -> Iterator[Broker]:
    """A server at maxmemory, with a message held, one scheduled and one finished."""
    with Server(maxmemory_policy="noeviction") as own:
        broker = Broker(TaskSettings(broker=own.url, prefix="p"))
        broker.beat(["mail"], ["a", "b"], register=True)
        yield broker
        broker.close()


def fill(broker: Broker) -> None:
    broker.client.config_set("maxmemory", "1mb")


def test_law_1_at_maxmemory_what_drains_passes_and_what_fills_is_refused(full: Broker) -> None:
    past = datetime.now(UTC) + timedelta(seconds=0.1)
    full.push("mail", [make_message() for _ in range(4)])
    full.push("mail", [make_message(run_after=past)])
    acked, given, reaped = full.claim("mail", "a", 3)
    fill(full)

    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        full.push("mail", [make_message()])

    assert full.ack("mail", "a", [Outcome.successful(acked, 3)], claim=1).accepted == [acked.id]
    assert full.give_back("mail", "a", [(given.id, given.fence, "")]) == 1
    assert full.beat(["mail"], ["a"])["mail"].unknown == []
    assert full.reap("mail", "a", [reaped.id])[0].held >= 1
    assert wait_until(lambda: full.promote("mail").promoted, 5) == 1
    snapshot = full.snapshots("mail", [acked.id])[acked.id]
    mark: Any = (acked.id, "written", snapshot.revision, snapshot.state, ())
    assert full.clean("mail", "default", [mark]) == [1]
