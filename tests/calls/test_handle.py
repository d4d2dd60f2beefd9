"""workflow(): any graph, written at the end of its block; get_workflow() finds it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_tasks import Dependency, chain, django_task, get_workflow, group, workflow
from django_tasks.conf import TaskSettings
from django_tasks.errors import (
    ArgumentMismatch,
    InvalidTaskOptions,
    InvalidWorkflow,
    ResultInsideTransaction,
    ResultNotFound,
    TaskCancelled,
)
from django_tasks.models import TaskDependency, TaskRecord, Workflow
from django_tasks.states import State
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, fail, far, mul, shown, states, throwaway, total

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(name="flow.nothing")
def nothing() -> str:
    return "ran"


def test_any_graph_is_written_at_the_end_of_its_block_and_runs(work: Callable[..., None]) -> None:
    with workflow("import") as w:
        rows = w.add(add.s(1, 2))
        parts = [w.add(mul.s(n), after=rows) for n in range(4)]
        last = w.add(total.s(), after=parts)
        assert not TaskRecord.objects.exists()

    assert TaskDependency.objects.count() == 8
    work("default")
    assert last.get(0) == 3 * (0 + 1 + 2 + 3)
    assert [one.get(0) for one in parts] == [0, 3, 6, 9]
    found = get_workflow(w.id)
    assert (found.name, found.kind, found.status) == ("import", "graph", State.SUCCESSFUL)
    assert (found.progress.done, found.progress.total) == (6, 6)
    assert found.records.count() == 6


def test_a_block_that_raises_writes_nothing(queue: TaskSettings) -> None:
    with pytest.raises(ZeroDivisionError), workflow("import") as w:
        w.add(add.s(1, 2))
        raise ZeroDivisionError

    assert not TaskRecord.objects.exists()
    assert not Workflow.objects.exists()


def test_what_is_rolled_back_around_it_leaves_nothing(work: Callable[..., None]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with workflow("import") as w:
            w.add(add.s(3), after=w.add(add.s(1, 2)))
        raise ZeroDivisionError

    work("default")
    assert not TaskRecord.objects.exists()
    assert not Workflow.objects.exists()


def test_an_empty_block_writes_nothing(queue: TaskSettings) -> None:
    with workflow("import") as w:
        assert w.add(group()).get(0) == []

    with pytest.raises(ResultNotFound):
        get_workflow(w.id)


def test_a_thousand_members_cost_a_dozen_queries(queue: TaskSettings) -> None:
    with CaptureQueriesContext(connection) as asked, workflow() as w:
        parts = [w.add(add.s(n, n)) for n in range(1000)]
        w.add(total.s(), after=parts)

    # The workflow, records and edges, in statements as long as SQLite takes them; a transaction.
    assert len(asked) <= 12


def test_si_takes_no_value_of_what_it_is_after(work: Callable[..., None]) -> None:
    with workflow() as w:
        last = w.add(nothing.si(), after=w.add(add.s(1, 2)))

    work("default")
    assert last.get(0) == "ran"


def test_a_canvas_and_a_groups_result_have_their_places(work: Callable[..., None]) -> None:
    with workflow() as w:
        first = w.add(chain(add.s(1, 2), mul.s(10)))
        both = w.add(group(add.s(1), mul.s(2)), after=first)
        last = w.add(total.s(), after=both)
        again = w.add(shown.s(), after=[first, both, first])

    work("default")
    assert last.get(0) == 31 + 60
    assert again.get(0) == [[30, [31, 60], 30]]


def test_a_workflow_waits_for_what_was_enqueued_before_it_in_whatever_queue(
    work: Callable[..., None],
) -> None:
    earlier = far.enqueue(1)
    work("news")

    with workflow() as w:
        last = w.add(add.s(1), after=earlier)
        far_again = w.add(far.s(), after=last)
    work("default", "news")

    assert (last.get(0), far_again.get(0)) == (102, 202)


@pytest.mark.parametrize(
    ("policy", "after_success", "after_failure"),
    [
        ("success", "SUCCESSFUL", "CANCELLED"),
        ("failure", "CANCELLED", "SUCCESSFUL"),
        ("cancelled", "CANCELLED", "CANCELLED"),
        ("any", "SUCCESSFUL", "SUCCESSFUL"),
        ("early", "SUCCESSFUL", "SUCCESSFUL"),
    ],
)
def test_a_policy_says_after_which_end_it_runs(
    work: Callable[..., None], policy: str, after_success: str, after_failure: str
) -> None:
    with workflow() as w:
        good, bad = w.add(add.s(1, 2)), w.add(fail.s())
        one = w.add(nothing.si(), after=good, policy=policy)
        two = w.add(nothing.si(), after=Dependency(bad, policy))
    work("default")

    for result in (one, two):
        result.refresh()
    assert [one.state, two.state] == [after_success, after_failure]


def test_early_does_not_wait_once_one_failed(work: Callable[..., None]) -> None:
    with workflow() as w:
        slow = w.add(far.s(1))  # nobody serves its queue yet
        bad = w.add(fail.s())
        last = w.add(shown.s(), after=Dependency([slow, bad], "early"))

    work("default")

    assert last.get(0) == [[None, None]]


def test_depends_on_takes_policies_too(work: Callable[..., None]) -> None:
    bad = fail.enqueue()
    last = nothing.using(depends_on=[Dependency(bad, "failure")]).enqueue()
    other = nothing.using(depends_on=Dependency(bad)).enqueue()

    work("default")

    assert last.get(0) == "ran"
    with pytest.raises(TaskCancelled):
        other.get(0)


@pytest.mark.parametrize("wrong", ["sucess", None, 3])
def test_an_unknown_policy_is_refused_with_the_known_ones(queue: TaskSettings, wrong: Any) -> None:
    with workflow() as w:
        one = w.add(add.s(1, 2))
        with pytest.raises(InvalidTaskOptions, match="'success', 'failure'"):
            w.add(nothing.si(), after=one, policy=wrong)
        with pytest.raises(InvalidTaskOptions, match="must be one of"):
            Dependency(one, wrong)


def test_a_ring_is_refused_and_named(queue: TaskSettings) -> None:
    with pytest.raises(InvalidWorkflow) as refused, workflow("ring") as w:
        w.add(nothing.s())
        first = w.add(add.s(1, 2))
        second = w.add(mul.s(3), after=first)
        third = w.add(mul.s(4), after=second)
        w.add(add.si(5, 6), after=third, before=first)
        w.add(total.s(), after=[third])  # it hangs on the ring, and is no part of it

    said = str(refused.value)
    assert said.count(" → ") == 4
    for record in (first, second, third):
        assert record.id in said
    assert "total" not in said
    assert said.split("ring: ")[1].split(" → ")[0] in said.split(" → ")[-1]
    assert not TaskRecord.objects.exists()


def test_a_call_that_is_to_wait_for_itself_is_refused(queue: TaskSettings) -> None:
    with pytest.raises(InvalidWorkflow, match="ring"), workflow() as w:
        one = w.add(add.s(1, 2))
        w.add(nothing.si(), after=one, before=one)


def test_before_lets_others_wait_and_gives_them_nothing(work: Callable[..., None]) -> None:
    with workflow() as w:
        later = w.add(add.s(1, 2))
        w.add(fail.s(), before=[later, later])
    work("default")

    assert sorted(states()) == ["CANCELLED", "FAILED"]


def test_only_what_is_not_written_yet_can_be_made_to_wait(queue: TaskSettings) -> None:
    earlier = add.enqueue(1, 2)
    with workflow() as w:
        later = w.add(add.s(1, 2))
        with pytest.raises(InvalidWorkflow, match="same `with` block"):
            w.add(nothing.s(), before=[later, earlier])

    assert TaskRecord.objects.count() == 2
    assert not TaskDependency.objects.exists()  # what was refused is waited for by nobody


def test_wrong_calls_are_refused_where_they_are_added(queue: TaskSettings) -> None:
    with workflow() as w:
        one = w.add(add.s(1, 2))
        for wrong, said in (
            (lambda: w.add(nothing.s(), after=one), ArgumentMismatch),
            (lambda: w.add(add), InvalidWorkflow),
            (lambda: w.add(throwaway.s()), InvalidWorkflow),
            (lambda: w.add(nothing.si(), after="one"), InvalidTaskOptions),
            (lambda: w.add(nothing.si(), after=[one, None]), InvalidTaskOptions),
            (w.__enter__, InvalidWorkflow),
        ):
            with pytest.raises(said):
                wrong()

    assert states() == ["PENDING"]


def test_two_policies_for_one_and_the_same_are_refused(queue: TaskSettings) -> None:
    with workflow() as w:
        one = w.add(add.s(1, 2))
        with pytest.raises(InvalidWorkflow, match="two policies"):
            w.add(nothing.si(), after=[one, Dependency(one, "any")])


def test_get_inside_the_block_says_that_it_would_never_end(queue: TaskSettings) -> None:
    with workflow() as w:
        one = w.add(add.s(1, 2))
        with pytest.raises(ResultInsideTransaction):
            one.get(1)


@pytest.mark.parametrize("wrong", ["x" * 201, 7, "a\0b"])
def test_a_name_that_no_row_can_hold_is_refused(queue: TaskSettings, wrong: Any) -> None:
    with pytest.raises(InvalidWorkflow, match="200 characters"):
        workflow(wrong)
    with pytest.raises(InvalidWorkflow, match="200 characters"):
        chain(add.s(1, 2)).enqueue(name=wrong)


@pytest.mark.parametrize("wrong", ["", "nonsense", None, "01a216ba-64cd-76a8-906b-66c55024d392"])
def test_an_unknown_workflow_is_not_found(queue: TaskSettings, wrong: Any) -> None:
    with pytest.raises(ResultNotFound):
        get_workflow(wrong)


def test_a_workflow_is_found_by_a_record_of_it_and_grows(work: Callable[..., None]) -> None:
    result = chain(add.s(1, 2), mul.s(3)).enqueue(name="growing")
    record = TaskRecord.objects.get(pk=result.id)

    found = get_workflow(record)
    more = found.add(add.s(1), after=result)
    work("default")

    assert more.get(0) == 10
    assert found.counts.by_state == {"SUCCESSFUL": 3}
    assert Workflow.objects.get().name == "growing"


def test_a_workflow_is_found_by_a_result_of_it(queue: TaskSettings) -> None:
    one = chain(add.s(1, 2), mul.s(3)).enqueue(name="one")
    two = group(add.s(1, 2)).enqueue(name="two")

    assert [get_workflow(found).name for found in (one, two, two[0])] == ["one", "two", "two"]
    with pytest.raises(ResultNotFound, match="no workflow"):
        get_workflow(add.enqueue(1, 2))


def test_a_handle_cancels_and_retries_as_the_rows_functions_do(work: Callable[..., None]) -> None:
    with workflow() as w:
        bad = w.add(fail.s())
        w.add(nothing.si(), after=bad)
    work("default")
    assert w.status == State.FAILED

    assert w.retry_failed(reason="again").changed == 1
    assert w.status == State.RUNNING
    w.cancel()

    assert w.status == State.CANCELLED


async def _in_a_coroutine() -> Any:
    async with workflow("async") as w:
        first = w.add(add.s(1, 2))
    last = await w.aadd(mul.s(5), after=first)
    both = await group(add.s(1, 2), add.s(3, 4)).aenqueue(name="both")
    return w, last, both, await add.s(5, 6).aenqueue()


def test_the_same_for_asyncio(work: Callable[..., None]) -> None:
    w, last, both, alone = async_to_sync(_in_a_coroutine)()
    work("default")

    assert (last.get(0), both.get(0), alone.get(0)) == (15, [3, 7], 11)
    assert w.counts.total == 2
    assert get_workflow(both).name == "both"


def test_none_joins_nothing(work: Callable[..., None]) -> None:
    task = nothing.using(depends_on=None, on_success=None, on_failure=None)

    result = task.enqueue()
    work("default")

    assert result.get(0) == "ran"
    assert states() == ["SUCCESSFUL"]
    assert repr(task.s()) == "<call of flow.nothing>"


@pytest.fixture
def two_aliases(queue: TaskSettings, settings: Any) -> None:
    ours = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {"default": ours, "other": {**ours, "OPTIONS": {"PREFIX": "elsewhere"}}}


def test_what_another_alias_has_can_not_be_waited_for(two_aliases: None) -> None:
    elsewhere = add.using(backend="other").enqueue(1, 2)
    record = TaskRecord.objects.get(pk=elsewhere.id)

    for parent in (elsewhere, record):
        with pytest.raises(InvalidWorkflow, match=r"several aliases of TASKS \(default, other\)"):
            nothing.using(depends_on=parent).enqueue()
    with pytest.raises(InvalidWorkflow, match="several aliases"):
        group(add.s(1, 2), add.using(backend="other").s(1, 2)).enqueue()
    with pytest.raises(InvalidWorkflow, match="several aliases"), workflow() as w:
        w.add(add.s(1, 2))
        w.add(add.using(backend="other").s(1, 2))
    assert TaskRecord.objects.count() == 1


def test_all_of_it_may_go_to_another_alias(two_aliases: None) -> None:
    other = nothing.using(backend="other")

    last = other.using(depends_on=other.enqueue()).enqueue()

    assert last.backend == "other"
    assert TaskRecord.objects.get(pk=last.id).parents.count() == 1
