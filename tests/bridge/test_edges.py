"""Edges: what the broker loses the rows know; who depends on what ended is not forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from django_tasks import chain, chord, django_task
from django_tasks.bridge.actions import retry
from django_tasks.bridge.deliver import UNFINISHED, deliver
from django_tasks.bridge.edges import how_of, inputs_of
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.calls.canvas import Earlier, Node
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, fail, far, mul, shown, states, total

pytestmark = pytest.mark.django_db(transaction=True)


def forget_all(queue: TaskSettings, redis_client: Any) -> None:
    """As FLUSHALL does it to this test's keys; nobody has to wait until the era is old."""
    get_broker().settle()
    for key in redis_client.scan_iter(f"{queue.prefix}:*"):
        redis_client.delete(key)


def age(queue: TaskSettings, redis_client: Any) -> None:
    """As if each queue's era had begun long ago: nobody waits for what may still be re-asserted."""
    broker = Broker(queue)
    for name in ("default", "news"):
        broker.beat([name], ["nobody"])
        redis_client.hset(broker.keys(name).meta, "since", "1")


def rebuild(broker: Broker) -> None:
    last = None
    while True:
        last = deliver(broker, "default", statuses=UNFINISHED, after=last, batch=3).last_id
        if last is None:
            return


@pytest.mark.parametrize("after", range(7))
def test_law_6_a_workflow_survives_the_loss_of_the_brokers_memory_at_any_step(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any, after: int
) -> None:
    header = [chain(add.s(1, 2), mul.s(10)), add.s(5, 5), far.s(1)]
    result = chain(chord(header, total.s()), add.s(1)).enqueue()
    if after:
        work("default", "news", max_tasks=after)

    forget_all(queue, redis_client)
    rebuild(Broker(queue))
    age(queue, redis_client)
    work("default", "news")

    assert result.get(0) == 30 + 10 + 101 + 1
    assert set(states()) == {"SUCCESSFUL"}


def test_inputs_that_left_the_broker_are_read_from_the_rows(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any
) -> None:
    result = chord([add.s(1, 2), far.s(3)], total.s()).enqueue()
    work("news")
    work("default", max_tasks=1)
    keys = Broker(queue).keys("default")
    redis_client.hdel(keys.message(result.id), "in:0", "in:1")
    for record in TaskRecord.objects.successful():
        redis_client.delete(Broker(queue).keys(record.queue_name).message(str(record.pk)))

    work()

    assert result.get(0) == 106


@pytest.mark.parametrize("has_failed", [False, True], ids=["waits", "failed"])
def test_what_is_let_go_early_gets_null_of_who_did_not_succeed_until_then(
    work: Callable[..., None], queue: TaskSettings, has_failed: bool
) -> None:
    first, second = Node(fail.s(1)), Node(fail.using(queue="news").s(2))
    parents: list[tuple[Node | Earlier, str]] = [(first, "early"), (second, "success")]
    child = Node(shown.s(), parents, [first, second])
    backend = fail.get_backend()
    result = backend.enqueue_workflow([first, second, child], child, "graph", "")
    work(max_tasks=1)
    if has_failed:
        work("news")

    work()

    assert result.get(0) == [[None, None]]


def test_who_failed_first_is_told_also_while_the_mirror_is_behind_with_his_row(
    work: Callable[..., None], queue: TaskSettings
) -> None:
    first = Node(fail.s(1))
    second = Node(add.s(1), [(first, "success")], first)
    told = Node(shown.s(), [(second, "failure")], is_told=True)
    result = fail.get_backend().enqueue_workflow([first, second, told], told, "graph", "")
    work()
    rows = TaskRecord.objects.failed()
    cause = str(rows.get().pk)
    rows.update(status="RUNNING", error_class="", error_message="")

    inputs = inputs_of(result.id, Broker(queue), "default", {})

    assert inputs == {0: f'["{cause}","builtins.ValueError","no"]'}


def test_a_release_that_nobody_carried_on_is_found_by_the_rows(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any
) -> None:
    result = chain(add.s(1, 2), add.s(3)).enqueue()
    get_broker().settle()
    keys = Broker(queue).keys("default")
    first = TaskRecord.objects.order_by("id")[0]
    redis_client.delete(keys.dependents(str(first.pk)))
    redis_client.hdel(keys.message(str(first.pk)), "dependents")
    work()
    assert states() == ["SUCCESSFUL", "DEFERRED"]

    rebuild(Broker(queue))
    work()

    assert result.get(0) == 6


def test_a_child_that_is_retried_waits_for_its_parents_again(
    work: Callable[..., None], queue: TaskSettings
) -> None:
    chain(fail.s(1), add.s(1)).enqueue()
    work()
    _, child = TaskRecord.objects.order_by("id")
    assert child.status == "CANCELLED"

    retry(TaskRecord.objects.filter(pk=child.pk))
    work()

    assert states() == ["FAILED", "CANCELLED"]


def test_what_lost_a_parent_with_its_row_does_not_run_without_its_value(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any
) -> None:
    chain(add.s(1, 2), add.s(3)).enqueue()
    first, _ = TaskRecord.objects.order_by("id")
    first.delete()
    forget_all(queue, redis_client)
    rebuild(Broker(queue))
    age(queue, redis_client)

    work()

    child = TaskRecord.objects.get()
    assert child.status == "FAILED"
    assert "was deleted" in child.dead_letter


def test_an_error_of_ours_that_a_task_raised_is_no_parents_end() -> None:
    one, other = str(UUID(int=1)), str(UUID(int=2))
    failed = "django_tasks.errors.ParentFailed"

    assert how_of("CANCELLED", failed, f"parent {other} failed", one) == ("failure", other)
    for kind, text in (
        (failed, f"Task {other} was cancelled: {failed}"),
        ("django_tasks.errors.ResultTimeout", f"parent {other} failed"),
        (failed, ""),
        ("shop.errors.ParentFailed", f"parent {other} failed"),
    ):
        assert how_of("CANCELLED", kind, text, one) == ("cancelled", one)


class Once:
    """Fails until it is let through."""

    is_open = False


@django_task(retries=0)
def gate(value: int) -> int:
    if not Once.is_open:
        raise ValueError("closed")
    return value


def test_a_retry_by_hand_revives_what_that_cancelled(
    work: Callable[..., None], queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = [chain(add.s(1, 2), gate.s(), mul.s(10)), add.s(1, 1)]
    result = chord(header, total.using(on_failure=shown.si("undo")).s()).enqueue()
    other = chain(fail.s(1), add.s(1)).enqueue()
    work()
    assert states().count("CANCELLED") == 3
    monkeypatch.setattr(Once, "is_open", True)

    done = retry(TaskRecord.objects.for_task(gate))
    work()

    assert done.changed == 1
    assert result.get(0) == 32
    other.refresh()
    assert other.state == "CANCELLED"  # of another cause
    [undone] = TaskRecord.objects.for_task(shown)
    assert undone.status == "SUCCESSFUL"  # it had run; what it undid is for people to see


def test_a_retry_of_what_fails_again_cancels_again(
    work: Callable[..., None], queue: TaskSettings
) -> None:
    chain(fail.s(1), add.s(1), add.s(2)).enqueue()
    work()

    retry(TaskRecord.objects.for_task(fail))
    work()

    assert states() == ["FAILED", "CANCELLED", "CANCELLED"]
    assert list(TaskRecord.objects.order_by("id").values_list("round", flat=True)) == [2, 2, 2]


def keys_of(prefix: str, raw: Any) -> dict[bytes, bytes]:
    return {key: raw.dump(key) for key in raw.scan_iter(f"{prefix}:*")}


def go_back(queue: TaskSettings, raw: Any, older: dict[bytes, bytes]) -> Broker:
    """As a restart with an old dump does it to this test's keys."""
    for key in keys_of(queue.prefix, raw):
        raw.delete(key)
    for key, value in older.items():
        raw.restore(key, 0, value)
        if b":message:" in key:
            raw.hset(key, "era", "of another run")
    broker = Broker(queue)
    raw.hset(broker.keys("default").meta, "run", "another")
    broker.beat(["default"], [])
    return broker


@pytest.mark.parametrize("after", [1, 3])
def test_law_6_an_end_that_the_brokers_older_memory_does_not_know_is_told_by_the_rows(
    work: Callable[..., None], queue: TaskSettings, server: Any, after: int
) -> None:
    result = chain(add.s(1, 2), add.s(3), add.s(4)).enqueue()
    get_broker().settle()
    mirror(get_broker(), "default", "default")
    with server.client(decode_responses=False) as raw:
        older = keys_of(queue.prefix, raw)
        work(max_tasks=after)
        assert states()[:2] == ["SUCCESSFUL", "READY" if after == 1 else "SUCCESSFUL"]
        broker = go_back(queue, raw, older)

        rebuild(broker)
        assert broker.status(["default"], [])["default"].deferred == (1 if after == 1 else 2)
        raw.hset(broker.keys("default").meta, "since", "1")
        work()

    assert result.get(0) == 10
    assert states() == ["SUCCESSFUL"] * 3
    assert broker.status(["default"], [])["default"].deferred == 0


def test_what_was_cancelled_since_a_parent_failed_still_has_failed_for_an_older_memory(
    work: Callable[..., None], queue: TaskSettings, server: Any
) -> None:
    first = Node(fail.s(1))
    second = Node(add.s(1), [(first, "success")], first)
    told = Node(shown.using(queue="news").s(), [(second, "failure")], is_told=True)
    backend = fail.get_backend()
    result = backend.enqueue_workflow([first, second, told], told, "graph", "")
    get_broker().settle()
    with server.client(decode_responses=False) as raw:
        older = keys_of(queue.prefix, raw)  # all of it dirty
        work()
        assert states()[:2] == ["FAILED", "CANCELLED"]
        broker = go_back(queue, raw, older)

        mirror(broker, "default", "default")
        broker.carry("default")
        for name in ("default", "news"):
            raw.hset(broker.keys(name).meta, "since", "1")
        work("default", "news")

    cause = str(TaskRecord.objects.failed().get().pk)
    assert result.get(0) == [cause, "builtins.ValueError", "no"]
