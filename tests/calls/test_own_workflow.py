"""A running task adds to its own workflow, or is replaced; a repeated run adds nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from django_tasks import (
    Retry,
    TaskContext,
    chain,
    chord,
    django_task,
    group,
    workflow,
)
from django_tasks.bridge import edges
from django_tasks.bridge.actions import retry
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import (
    BrokerUnavailable,
    InvalidWorkflow,
    ParentFailed,
    TaskCancelled,
    TaskFailed,
)
from django_tasks.models import TaskDependency, TaskRecord
from django_tasks.models.record import derived_id, new_id
from django_tasks.ops.inspection import explain
from tests.bridge.test_edges import age, forget_all, go_back, keys_of, rebuild
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, fail, far, mul, shown, states, total

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(name="flow.split", takes_context=True, retries=3, backoff=0)
def split(context: TaskContext, parts: int, failures: int = 0) -> int:
    with context.workflow as w:
        made = [w.add(add.s(n, n)) for n in range(parts)]
        w.add(total.s(), after=made)
    context.workflow.add(mul.s(2), after=context.result)
    if context.attempt <= failures:
        raise Retry(in_=0)
    return parts


@django_task(name="flow.replaced", takes_context=True, retries=3, backoff=0)
def replaced(context: TaskContext, how: str, failures: int = 0) -> Any:
    context.replace(CALLS[how]())
    if context.attempt <= failures:
        raise Retry(in_=0)
    return "not this"


@django_task(name="flow.replaced_atomically", takes_context=True, retries=0, atomic=True)
def replaced_atomically(context: TaskContext) -> None:
    context.replace(add.s(1, 2))


CALLS: dict[str, Callable[[], Any]] = {
    "call": lambda: add.s(20, 1),
    "far": lambda: far.s(20),
    "chain": lambda: chain(add.s(1, 2), mul.s(7)),
    "group": lambda: group(add.s(1, 2), mul.s(3, 4)),
    "chord": lambda: chord([add.s(1, 2), far.s(1)], total.s()),
    "empty": lambda: chain(add.s(1, 2), group()),
    "failing": lambda: fail.s(),
    "again": lambda: replaced.s("call"),
    "joined": lambda: add.using(depends_on=[TaskRecord.objects.earliest("id")]).s(4, 4),
}


def test_a_running_task_adds_to_its_own_workflow(work: Callable[..., None]) -> None:
    with workflow("growing") as w:
        w.add(split.s(3))

    work("default")

    assert w.counts.by_state == {"SUCCESSFUL": 6}
    values = TaskRecord.objects.order_by("id").values_list("task_name", "return_value")
    assert values[0] == ("flow.split", 3)
    assert sorted(values[1:]) == [
        ("flow.plus", 0),
        ("flow.plus", 2),
        ("flow.plus", 4),
        ("flow.sum", 6),
        ("flow.times", 6),
    ]
    mother = TaskRecord.objects.get(task_name="flow.split")
    assert set(TaskRecord.objects.enqueued_by(mother).values_list("task_name", flat=True)) == {
        "flow.plus",
        "flow.sum",
        "flow.times",
    }


def test_a_run_that_is_repeated_adds_nothing_twice(work: Callable[..., None]) -> None:
    with workflow() as w:
        w.add(split.s(3, failures=2))

    work("default")

    assert w.counts.by_state == {"SUCCESSFUL": 6}
    assert TaskRecord.objects.get(task_name="flow.split").attempt == 2


def test_another_round_adds_anew(work: Callable[..., None]) -> None:
    with workflow() as w:
        one = w.add(split.s(1))
    work("default")
    retry(TaskRecord.objects.filter(pk=one.id), again=True)
    work("default")

    assert w.counts.by_state == {"SUCCESSFUL": 1 + 2 * 3}


def test_ids_of_what_is_added_are_certain_and_stand_where_the_record_does() -> None:
    record = new_id()

    made = [derived_id(record, 1, "add", n) for n in range(5000)]

    assert made == [derived_id(record, 1, "add", n) for n in range(5000)]
    others = [derived_id(record, 2, "add", 0), derived_id(record, 1, "replace", 0)]
    assert len({record, *made, *others, derived_id(new_id(), 1, "add", 0)}) == 5004
    assert made[:4095] == sorted(made[:4095])
    assert record < made[0] < UUID(int=record.int + (2 << 80))
    assert {(one.version, one.variant) for one in made} == {(7, record.variant)}


def test_a_call_of_no_workflow_has_nothing_to_add_to(work: Callable[..., None]) -> None:
    result = split.using(retries=0).enqueue(1)
    work("default")

    with pytest.raises(TaskFailed, match="belongs to no workflow"):
        result.get(0)
    with pytest.raises(InvalidWorkflow, match="Only a task that a worker runs"):
        TaskContext(task_result=None).workflow  # noqa: B018


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ("call", 21),
        ("far", 120),
        ("chain", 21),
        ("group", [3, 12]),
        ("empty", []),
        ("chord", 3 + 101),
        ("again", 21),
        ("joined", 8),
    ],
)
def test_who_waited_for_a_task_waits_for_what_replaced_it(
    work: Callable[..., None], how: str, value: Any
) -> None:
    first = far.enqueue(0)
    with workflow() as w:
        one = w.add(replaced.s(how))
        same, there = w.add(shown.s(), after=one), w.add(shown.using(queue="news").s(), after=one)
        told = w.add(shown.using(queue="news").s(), after=one, policy="failure")

    work("default", "news")

    assert one.get(0) == value
    assert same.get(0) == there.get(0) == [value]
    with pytest.raises(TaskCancelled):
        told.get(0)
    assert first.get(0) == 100
    assert w.status == "SUCCESSFUL"
    assert not TaskDependency.objects.filter(parent=one.id, child=same.id).exists()


def test_a_replacement_that_fails_fails_those_who_wait_and_the_value(
    work: Callable[..., None],
) -> None:
    with workflow() as w:
        one = w.add(replaced.s("failing"))
        after, told = w.add(shown.s(), after=one), w.add(shown.s(), after=one, policy="failure")
    work("default")

    with pytest.raises(TaskFailed) as failed:
        one.get(0)
    assert failed.value.error_message == "no"
    with pytest.raises(ParentFailed) as cut:
        after.get(0)
    assert cut.value.cause_id == failed.value.record_id
    assert told.get(0) == [failed.value.record_id, "builtins.ValueError", "no"]
    assert w.status == "FAILED"


def test_a_replacement_without_a_workflow_and_without_dependents(
    work: Callable[..., None],
) -> None:
    result = replaced.enqueue("call")
    group_of_two = group(replaced.s("call"), add.s(1, 2)).enqueue()

    work("default")

    assert result.get(0) == 21
    assert group_of_two.get(0) == [21, 3]
    assert group_of_two.completed == 2


def test_a_group_that_replaced_a_task_is_put_together_in_that_tasks_queue(
    work: Callable[..., None],
) -> None:
    result = replaced.using(queue="news").enqueue("group")

    work("default", "news")

    assert result.get(0) == [3, 12]
    gathering = TaskRecord.objects.filter(task_name__endswith=".gather")
    assert set(gathering.values_list("queue_name", flat=True)) == {"news"}


def test_a_run_that_fails_after_replace_is_not_replaced_and_the_next_is_once(
    work: Callable[..., None],
) -> None:
    with workflow() as w:
        one = w.add(replaced.s("call", 2))
        last = w.add(shown.s(), after=one)
    work("default")

    assert last.get(0) == [21]
    assert w.counts.total == 3
    one.refresh()
    [said, *_] = explain(one.id)
    assert f"replaced by {one.replaced_by}, whose value is its own" in said


def test_a_hand_over_that_the_broker_cut_off_is_done_again(
    work: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with workflow() as w:
        one = w.add(replaced.s("call"))
        last = w.add(shown.using(queue="news").s(), after=one)
    calls: list[int] = []
    real = edges.hand_over_in_broker

    def cut_off(*given: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BrokerUnavailable("away")
        real(*given)

    monkeypatch.setattr(edges, "hand_over_in_broker", cut_off)
    monkeypatch.setattr("django_tasks.worker.execute.LATER", 0.0)
    work("default", "news")

    assert (len(calls), last.get(0)) == (2, [21])
    assert w.counts.by_state == {"SUCCESSFUL": 3}


@pytest.mark.parametrize("after", [1, 2, 3])
def test_law_6_a_replaced_task_is_rebuilt_from_rows(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any, after: int
) -> None:
    with workflow() as w:
        one = w.add(replaced.s("chain"))
        last = w.add(shown.s(), after=one)
    work("default", max_tasks=after)

    forget_all(queue, redis_client)
    rebuild(Broker(queue))
    age(queue, redis_client)
    work("default")

    assert (last.get(0), one.get(0)) == ([21], 21)
    assert w.status == "SUCCESSFUL"


@pytest.mark.parametrize("is_clean", [True, False], ids=["clean", "dirty"])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_law_6_who_waits_in_an_older_memory_waits_for_what_replaced_its_parent(
    work: Callable[..., None], queue: TaskSettings, server: Any, after: int, is_clean: bool
) -> None:
    with workflow() as w:
        one = w.add(replaced.s("chain"))
        last = w.add(shown.s(), after=one)
    get_broker().settle()
    if is_clean:
        mirror(get_broker(), "default", "default")
    with server.client(decode_responses=False) as raw:
        older = keys_of(queue.prefix, raw)
        work("default", max_tasks=after)
        broker = go_back(queue, raw, older)

        rebuild(broker)
        raw.hset(broker.keys("default").meta, "since", "1")
        work("default")

    assert (last.get(0), one.get(0)) == ([21], 21)
    assert w.status == "SUCCESSFUL"
    assert broker.status(["default"], [])["default"].deferred == 0


@django_task(name="flow.outrun", takes_context=True, retries=0)
def outrun(context: TaskContext) -> None:
    """Another run of it ends while this one goes on."""
    TaskRecord.objects.filter(pk=context.result.id).update(status="FAILED")
    context.replace(add.s(1, 2))


def test_law_5_a_run_that_does_not_count_any_more_replaces_nothing(
    work: Callable[..., None],
) -> None:
    with workflow() as w:
        one = w.add(outrun.s())
        w.add(shown.s(), after=one)
    work("default")

    assert w.counts.total == 2
    assert TaskDependency.objects.get().parent_id == UUID(one.id)
    assert "replaced_by" not in TaskRecord.objects.get(pk=one.id).metadata


def test_an_atomic_task_can_not_be_replaced_and_says_so(work: Callable[..., None]) -> None:
    result = replaced_atomically.enqueue()
    work("default")

    with pytest.raises(TaskFailed, match="atomic=True"):
        result.get(0)
    assert states() == ["FAILED"]
