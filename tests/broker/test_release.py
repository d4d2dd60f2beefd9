"""A parent's end lets its dependents go, or ends them: deferred → ready, scheduled or finished."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.edges import Ended
from django_tasks.broker.message import Message, Outcome
from tests.broker.lines import line as line
from tests.conftest import make_message


def pushed(broker: Broker, **given: Any) -> Message:
    message = make_message(database="default", **given)
    broker.push("mail", [message])
    return message


def pair(broker: Broker, policy: str = "success", **given: Any) -> tuple[Message, Message]:
    """A child that waits for a parent; the child is known first."""
    parent = make_message(database="default")
    child = pushed(broker, parents=f"{parent.id}:{policy}:0", inputs="values:1", **given)
    parent.dependents = f"{child.id}:"
    broker.push("mail", [parent])
    return parent, child


def state(broker: Broker, message: Message) -> str:
    [snapshot] = broker.snapshots("mail", [message.id]).values()
    return snapshot.state


def ended(broker: Broker, message: Message, word: str, claim: int = 0, **given: Any) -> Any:
    [held] = [one for one in broker.claim("mail", "a", 10) if one.id == message.id]
    outcome = Outcome(held, word, **given)
    return broker.ack("mail", "a", [outcome], claim=claim)


def test_a_child_waits_for_its_parent_and_is_claimed_in_the_call_that_ends_it(
    line: Broker,
) -> None:
    parent, child = pair(line)
    assert state(line, child) == "DEFERRED"
    assert line.status(["mail"], [])["mail"].deferred == 1

    acked = ended(line, parent, "succeeded", claim=1, fields={"return_value": "[1,2]"})

    [claimed] = acked.claimed
    assert claimed.id == child.id
    assert claimed.given == {0: "[1,2]"}
    assert line.status(["mail"], [])["mail"].deferred == 0


def tokens(broker: Broker) -> int:
    """How many idle consumers are to wake."""
    return int(broker.client.llen(broker.keys("mail").wake))


def test_who_takes_the_only_child_along_wakes_nobody_for_it(line: Broker) -> None:
    parent, _ = pair(line)
    [held] = line.claim("mail", "a")
    line.client.delete(line.keys("mail").wake)

    acked = line.ack("mail", "a", [Outcome.successful(held)], claim=1)

    assert (held.id, len(acked.claimed)) == (parent.id, 1)
    assert tokens(line) == 0


@pytest.mark.parametrize(("consumer", "claim"), [("a", 1), ("a", 0), ("unregistered", 1)])
def test_what_is_let_go_and_not_taken_along_wakes_somebody(
    line: Broker, consumer: str, claim: int
) -> None:
    parent = make_message(database="default")
    children = [pushed(line, parents=f"{parent.id}:success:") for _ in range(2)]
    parent.dependents = " ".join(f"{child.id}:" for child in children)
    line.push("mail", [parent])
    [held] = line.claim("mail", "a")
    line.client.delete(line.keys("mail").wake)
    if consumer == "unregistered":
        line.reap("mail", "a")
        line.client.delete(line.keys("mail").wake)

    line.ack("mail", "a", [Outcome.successful(held)], claim=claim)

    assert tokens(line) == 1


@pytest.mark.parametrize("word", ["succeeded", "failed", "cancelled"])
@pytest.mark.parametrize("policy", ["success", "failure", "cancelled", "any", "early"])
def test_the_policy_says_after_which_end_a_child_runs(line: Broker, policy: str, word: str) -> None:
    parent, child = pair(line, policy)

    ended(line, parent, word)

    runs = policy in ("any", "early") or word.startswith(policy[:4])
    runs = runs or (policy, word) == ("failure", "failed")
    assert state(line, child) == ("READY" if runs else "CANCELLED")


def test_what_can_not_run_any_more_says_why_and_ends_what_waits_for_it(line: Broker) -> None:
    parents = [make_message(database="default") for _ in range(3)]
    last = pushed(line, parents=f"{parents[2].id}:success:0")
    told = pushed(line, parents=f"{parents[2].id}:failure:")
    undone = pushed(line, parents=f"{parents[2].id}:cancelled:")
    parents[2].parents, parents[2].dependents = (
        f"{parents[1].id}:success:0",
        f"{last.id}: {told.id}: {undone.id}:",
    )
    parents[1].parents, parents[1].dependents = f"{parents[0].id}:success:0", f"{parents[2].id}:"
    parents[0].dependents = f"{parents[1].id}:"
    for parent in reversed(parents):
        line.push("mail", [parent])

    ended(line, parents[0], "failed")

    snapshots = line.snapshots("mail", [parents[1].id, parents[2].id, last.id, undone.id])
    assert {one.state for one in snapshots.values()} == {"CANCELLED"}
    assert {one.fields["cause"] for one in snapshots.values()} == {parents[0].id}
    assert snapshots[parents[1].id].fields["error_message"] == f"parent {parents[0].id} failed"
    assert state(line, told) == "READY"  # what could not run since its parent failed has failed


@pytest.mark.parametrize("queue", ["mail", "news"])
def test_after_a_cancel_a_child_is_told_with_whom_it_began_and_of_no_error(
    line: Broker, queue: str
) -> None:
    """As the rows say it: neither an earlier attempt's error nor that of who was not needed."""
    began, unneeded, retried = (make_message(database="default") for _ in range(3))
    unneeded.parents = f"{began.id}:failure:"
    children = [
        make_message(database="default", queue=queue, parents=f"{one.id}:cancelled:0")
        for one in (unneeded, retried)
    ]
    line.push(queue, children)
    place = "" if queue == "mail" else queue
    unneeded.dependents, retried.dependents = (f"{one.id}:{place}" for one in children)
    began.dependents = f"{unneeded.id}:"
    line.push("mail", [unneeded, retried])
    ended(line, retried, "retried", fields={"error_class": "E", "error_message": "no"})
    line.cancel("mail", [(retried.id, 1, "default")])
    line.push("mail", [began])

    ended(line, began, "succeeded")
    line.carry("mail")

    keys = [line.keys(queue).message(one.id) for one in children]
    told = [line.client.hget(key, "in:0").decode() for key in keys]
    assert told == [f'["{one.id}","",""]' for one in (began, retried)]


def test_a_child_of_several_runs_after_the_last_with_all_values_in_order(line: Broker) -> None:
    parents = [make_message(database="default") for _ in range(3)]
    words = " ".join(f"{one.id}:success:{i}" for i, one in enumerate(parents))
    child = pushed(line, parents=words, inputs="list:3")
    for parent in parents:
        parent.dependents = f"{child.id}:"
    line.push("mail", parents)
    held = {one.id: one for one in line.claim("mail", "a", 3)}

    for i in (2, 0):
        done = Outcome(held[parents[i].id], "succeeded", fields={"return_value": f'"{i}"'})
        line.ack("mail", "a", [done])
        assert state(line, child) == "DEFERRED"
    line.ack("mail", "a", [Outcome(held[parents[1].id], "succeeded")])

    [claimed] = line.claim("mail", "a")
    assert claimed.given == {0: '"0"', 1: "null", 2: '"2"'}


def test_early_does_not_wait_for_the_others_once_one_failed(line: Broker) -> None:
    parents = [make_message(database="default") for _ in range(2)]
    child = pushed(line, parents=" ".join(f"{one.id}:early:" for one in parents))
    for parent in parents:
        parent.dependents = f"{child.id}:"
    line.push("mail", parents)
    first, second = line.claim("mail", "a", 2)

    line.ack("mail", "a", [Outcome(first, "failed")])
    assert state(line, child) == "READY"
    line.ack("mail", "a", [Outcome(second, "failed")])

    assert [one.id for one in line.claim("mail", "a", 5)] == [child.id]


def test_a_child_with_a_time_of_its_own_waits_for_that_too(line: Broker) -> None:
    parent, child = pair(line, run_after=datetime.now(UTC) + timedelta(hours=1))

    ended(line, parent, "succeeded")

    assert state(line, child) == "SCHEDULED"


def test_a_parent_that_is_there_already_is_noted_then_looked_at(line: Broker) -> None:
    running, over = pushed(line), pushed(line)
    line.claim("mail", "a")
    [held] = line.claim("mail", "a")
    line.ack("mail", "a", [Outcome(held, "succeeded")])
    words = f"{running.id}:success: {over.id}:success: unheard:success:"
    child = pushed(line, parents=words)

    states = line.depend("mail", [(one, child.id, "") for one in (running.id, over.id, "unheard")])
    assert states == ["waiting", f"success {over.id}", ""]

    ends = [Ended(child.id, one, "success", one) for one in (over.id, "unheard", "unheard")]
    assert line.release("mail", ends).done == 2
    assert state(line, child) == "DEFERRED"
    [held] = line.snapshots("mail", [running.id]).values()
    outcome = Outcome(make_message(id=running.id, fence=held.fence), "succeeded")
    line.ack("mail", "a", [outcome])
    assert state(line, child) == "READY"


def test_who_was_noted_before_its_parent_was_pushed_is_released_all_the_same(
    line: Broker,
) -> None:
    parent = make_message(database="default")
    child = pushed(line, parents=f"{parent.id}:success:")
    assert line.depend("mail", [(parent.id, child.id, "")]) == [""]
    line.push("mail", [parent])

    ended(line, parent, "succeeded")

    assert state(line, child) == "READY"


def test_a_child_in_another_queue_waits_until_somebody_carries_the_end_there(
    line: Broker,
) -> None:
    parent = make_message(database="default")
    child = make_message(
        database="default", queue="news", parents=f"{parent.id}:success:0", inputs="values:1"
    )
    line.push("news", [child])
    parent.dependents = f"{child.id}:news"
    line.push("mail", [parent])

    ended(line, parent, "succeeded", fields={"return_value": "7"})

    assert line.promote("mail").crossings == 1
    [(queue, end)] = line.crossings("mail")
    assert (queue, end) == ("news", Ended(child.id, parent.id, "success", parent.id, "7"))
    assert line.release("news", [end, end]).done == 1
    assert line.released("mail", [(end.child, end.parent)]) == 1
    line.beat(["news"], ["b"], register=True)
    [claimed] = line.claim("news", "b")
    assert claimed.given == {0: "7"}
    assert line.promote("mail").crossings == 0


def test_thousands_of_dependents_are_released_in_steps(line: Broker) -> None:
    parent = make_message(database="default")
    children = [
        make_message(database="default", parents=f"{parent.id}:success:") for _ in range(2500)
    ]
    for start in range(0, 2500, 500):
        line.push("mail", children[start : start + 500])
    parent.dependents = " ".join(f"{one.id}:" for one in children)
    line.push("mail", [parent])

    ended(line, parent, "succeeded")

    assert 0 < line.backlog("mail")["ready"] < 2500
    line.carry("mail", 1)
    assert line.backlog("mail")["ready"] < 2500, "a supervisor goes on beating in between"
    line.carry("mail", 4)
    assert line.backlog("mail")["ready"] == 2500


@pytest.mark.parametrize("way", ["expired", "cancel", "gone", "settled", "dead letter"])
def test_whichever_way_a_parent_ends_nothing_waits_for_ever(line: Broker, way: str) -> None:
    parent, child = pair(line, "success")
    if way == "cancel":
        line.cancel("mail", [(parent.id, 1, "default")])
    elif way == "gone":
        line.clean("mail", "default", [(parent.id, "gone", 0, "", [])])
    elif way == "settled":
        line.clean("mail", "default", [(parent.id, "settled", 5, "FAILED", [])])
    elif way == "dead letter":
        for _ in range(3):
            line.beat(["mail"], ["b"], register=True)
            [held] = line.claim("mail", "b")
            line.reap("mail", "b", [held.id], "SIGKILL")
    else:
        line.client.hset(line.keys("mail").message(parent.id), "expires", "1")
        line.promote("mail")

    assert state(line, child) == "CANCELLED"


@pytest.mark.parametrize(
    ("word", "ends"),
    [
        ("CANCELLED failure {cause}", {"failure": "READY", "cancelled": "CANCELLED"}),
        ("CANCELLED cancelled {cause}", {"failure": "CANCELLED", "cancelled": "READY"}),
        ("CANCELLED", {"failure": "DEFERRED", "cancelled": "DEFERRED"}),  # another round began
    ],
)
def test_a_parent_settled_by_its_row_counts_as_the_row_says(
    line: Broker, word: str, ends: dict[str, str]
) -> None:
    pairs = {policy: pair(line, policy) for policy in ends}

    cause = make_message().id
    for parent, _ in pairs.values():
        said = word.format(cause=cause)
        line.clean("mail", "default", [(parent.id, "settled", 5, said, [])])

    assert {policy: state(line, child) for policy, (_, child) in pairs.items()} == ends
    snapshots = line.snapshots("mail", [child.id for _, child in pairs.values()])
    causes = {one.fields["cause"] for one in snapshots.values() if one.state == "CANCELLED"}
    assert causes <= {cause}


@pytest.mark.parametrize("queue", ["mail", "news"])
@pytest.mark.parametrize("how", ["success", "failure"])
def test_what_waits_for_a_message_that_its_row_settles_reads_its_inputs_from_rows(
    line: Broker, queue: str, how: str
) -> None:
    settled, between = make_message(database="default"), make_message(database="default")
    between.parents = f"{settled.id}:success:0"
    child = make_message(database="default", queue=queue)
    parent = settled if how == "success" else between
    child.parents = f"{parent.id}:{how}:0"
    line.push(queue, [child])
    parent.dependents = f"{child.id}:{'' if queue == 'mail' else queue}"
    settled.dependents = f"{settled.dependents} {between.id}:"
    line.push("mail", [between, settled])
    [held] = line.claim("mail", "a")

    line.ack("mail", "a", [Outcome.forgotten(held, "settled", how, settled.id)])
    line.carry("mail")

    [snapshot] = line.snapshots(queue, [child.id]).values()
    assert snapshot.state == "READY"
    assert not line.client.hexists(line.keys(queue).message(child.id), "in:0")


def test_a_cancelled_child_is_not_waited_for_and_waits_for_nobody(line: Broker) -> None:
    parent, child = pair(line)

    line.cancel("mail", [(child.id, 1, "default")])

    assert state(line, child) == "CANCELLED"
    keys = line.keys("mail")
    assert not line.client.exists(keys.waits(child.id))
    assert line.client.zcard(keys.deferred) == 0
    ended(line, parent, "succeeded")
    assert state(line, child) == "CANCELLED"
