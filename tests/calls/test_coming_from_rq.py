"""What RQ's job dependencies are documented to do, and what holds here. docs/workflows.md lists
each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_tasks import Dependency, django_task, enqueue_many, get_workflow, group, workflow
from django_tasks.bridge.actions import retry
from django_tasks.conf import TaskSettings
from django_tasks.errors import (
    InvalidTaskOptions,
    InvalidWorkflow,
    ParentCancelled,
    ParentFailed,
    TaskCancelled,
)
from django_tasks.models import TaskRecord
from django_tasks.states import State
from tests.calls.coming import (
    Gate,
    broken,
    far,
    flaky,
    gate,
    gone,
    minus,
    reads,
    records_of,
    returned,
    shown,
    states,
    tell,
)
from tests.calls.conftest import work as work

pytestmark = pytest.mark.django_db(transaction=True)
Work = Callable[..., None]


def state_of(result: Any) -> str:
    result.refresh()
    return str(result.state)


# -- what is depended on -----------------------------------------------------------------------


def test_a_dependent_waits_for_success_and_is_given_nothing(work: Work) -> None:
    first = minus.enqueue(5, 1)
    second = shown.using(depends_on=first).enqueue("own")
    work(max_tasks=1)

    assert [state_of(first), state_of(second)] == ["SUCCESSFUL", "READY"]
    work()
    assert second.get(0) == ["own"]


def test_several_are_all_waited_for_in_whatever_queues(work: Work) -> None:
    both = [minus.enqueue(5, 1), far.enqueue()]
    last = shown.using(depends_on=both).enqueue("own")
    work("default")
    assert state_of(last) == "DEFERRED"
    work("news", "default")

    assert last.get(0) == ["own"]


def test_what_is_depended_on_is_a_result_or_a_record_and_no_id(work: Work) -> None:
    first = minus.enqueue(5, 1)
    with pytest.raises(InvalidTaskOptions, match="a result"):
        shown.using(depends_on=first.id)
    last = shown.using(depends_on=[first, TaskRecord.objects.get(pk=first.id)]).enqueue("own")
    found = shown.using(depends_on=minus.get_result(first.id)).enqueue("own")
    work()

    assert last.get(0) == found.get(0) == ["own"]


@pytest.mark.parametrize("nothing", [[], (), Dependency([])])
def test_no_dependency_at_all_is_nothing_to_wait_for(work: Work, nothing: Any) -> None:
    result = shown.using(depends_on=nothing).enqueue("own")
    work()

    assert result.get(0) == ["own"]


def test_what_succeeded_before_is_waited_for_no_more(work: Work) -> None:
    first = minus.enqueue(5, 1)
    work()
    second = shown.using(depends_on=first).enqueue("own")

    assert state_of(second) in {"PENDING", "READY"}
    work()
    assert second.get(0) == ["own"]


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("task", [broken, shown.using(expires=timedelta(microseconds=1))])
def test_what_depends_on_a_failed_or_expired_call_is_cancelled(
    work: Work, task: Any, has_ended: bool
) -> None:
    first = task.enqueue()
    if has_ended:
        work()
    second = minus.using(depends_on=first).enqueue(5, 1)
    work()

    with pytest.raises(ParentFailed) as caught:
        second.get(0)
    assert caught.value.cause_id == first.id


def test_allow_failure_runs_after_success_failure_and_cancel(work: Work) -> None:
    good, bad, cut = minus.enqueue(5, 1), broken.enqueue(), minus.enqueue(5, 1)
    cut.cancel()
    results = [
        shown.using(depends_on=one, allow_failure=True).enqueue("own") for one in (good, bad, cut)
    ]
    work()

    assert [one.get(0) for one in results] == [["own"]] * 3


def test_a_policy_is_that_of_one_dependency_alone(work: Work) -> None:
    good, bad = minus.enqueue(5, 1), broken.enqueue()
    runs = shown.using(depends_on=[good, Dependency(bad, "any")]).enqueue("own")
    does_not = shown.using(depends_on=[bad, Dependency(good, "any")]).enqueue("own")
    work()

    assert runs.get(0) == ["own"]
    with pytest.raises(ParentFailed):
        does_not.get(0)


def test_what_depends_on_a_cancelled_call_is_cancelled_unless_it_says_otherwise(
    work: Work,
) -> None:
    first = minus.enqueue(5, 1)
    strict = shown.using(depends_on=first).enqueue("strict")
    wanted = shown.using(depends_on=Dependency(first, "cancelled")).enqueue("wanted")
    first.cancel()
    work()

    with pytest.raises(ParentCancelled):
        strict.get(0)
    assert wanted.get(0) == ["wanted"]


def test_a_dependent_may_be_cancelled_and_what_it_waited_for_runs(work: Work) -> None:
    first = minus.enqueue(5, 1)
    second = shown.using(depends_on=first).enqueue("own")
    assert second.cancel() is True
    work()

    assert first.get(0) == 4
    with pytest.raises(TaskCancelled):
        second.get(0)


def test_a_call_whose_row_was_deleted_still_counts_while_the_broker_knows_it(work: Work) -> None:
    waiting, over = minus.enqueue(5, 1), minus.enqueue(5, 1)
    first = shown.using(depends_on=waiting).enqueue("own")
    TaskRecord.objects.filter(pk=waiting.id).delete()
    work()
    TaskRecord.objects.filter(pk=over.id).delete()
    second = shown.using(depends_on=over).enqueue("own")
    work()

    assert first.get(0) == second.get(0) == ["own"]


def test_what_depends_on_a_call_that_nobody_knows_any_more_is_cancelled(work: Work) -> None:
    first = minus.enqueue(5, 1)
    work()
    assert first.forget() is True
    TaskRecord.objects.all().delete()
    second = shown.using(depends_on=first).enqueue("own")
    work()

    with pytest.raises(ParentCancelled, match=first.id):
        second.get(0)


def test_a_call_that_was_forgotten_counts_by_its_row(work: Work) -> None:
    first = minus.enqueue(5, 1)
    work()
    first.forget()
    second = shown.using(depends_on=first).enqueue("own")
    work()

    assert second.get(0) == ["own"]


def test_a_call_without_a_row_can_not_be_depended_on(queue: TaskSettings) -> None:
    with pytest.raises(InvalidWorkflow, match="record='never'"):
        shown.using(depends_on=gone.enqueue()).enqueue()


# -- when, where, and what is seen -------------------------------------------------------------


def test_dependents_wait_until_the_retries_are_over(work: Work) -> None:
    recovers, fails = flaky.enqueue(1), flaky.enqueue(2)
    runs = shown.using(depends_on=recovers).enqueue("own")
    does_not = shown.using(depends_on=fails).enqueue("own")
    work()

    assert runs.get(0) == ["own"]
    with pytest.raises(ParentFailed):
        does_not.get(0)


def test_dependencies_go_over_several_levels(work: Work) -> None:
    last: Any = minus.enqueue(5, 1)
    bad: Any = broken.enqueue()
    for _ in range(4):
        last = shown.using(depends_on=last).enqueue("own")
        bad = shown.using(depends_on=bad).enqueue("own")
    work()

    assert last.get(0) == ["own"]
    assert states().count("CANCELLED") == 4
    with pytest.raises(ParentFailed) as caught:
        bad.get(0)
    assert caught.value.cause_id == str(records_of(broken)[0].pk)


def test_a_retry_by_hand_of_what_failed_revives_what_waited_for_it(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gate.enqueue()
    second = shown.using(depends_on=first).enqueue("own")
    work()
    assert states() == ["FAILED", "CANCELLED"]

    monkeypatch.setattr(Gate, "is_open", True)
    retry(TaskRecord.objects.for_task(gate))
    work()

    assert second.get(0) == ["own"]


def test_a_dependent_goes_to_the_front_by_its_priority(work: Work) -> None:
    first = minus.using(priority=100).enqueue(5, 1)
    before = shown.enqueue("in the line")
    urgent = shown.using(depends_on=first, priority=100).enqueue("urgent")
    work(max_tasks=2)

    assert urgent.get(0) == ["urgent"]
    assert state_of(before) == "READY"


def test_what_waits_is_deferred_and_shows_for_whom(work: Work) -> None:
    first = far.enqueue()
    second = shown.using(depends_on=first).enqueue("own")
    work("default")

    [record] = TaskRecord.objects.filter(status=State.DEFERRED)
    assert str(record.pk) == second.id
    assert [str(one.pk) for one in record.parents.all()] == [first.id]
    assert [str(one.pk) for one in record.parents.get().dependents.all()] == [second.id]


def test_values_of_what_it_waited_for_are_found_by_its_parents_ids(work: Work) -> None:
    both = [minus.enqueue(5, 1), shown.enqueue("a")]
    result = reads.using(depends_on=both).enqueue()
    work()

    assert result.get(0) == [4, ["a"]]


def test_in_a_workflow_values_are_handed_over(work: Work) -> None:
    with workflow() as w:
        parts = [w.add(minus.s(5, 1)), w.add(shown.s("a"))]
        last = w.add(shown.s("own"), after=parts)
    work()

    assert last.get(0) == [[4, ["a"]], "own"]


def test_many_that_depend_on_others_are_enqueued_as_a_workflow(work: Work) -> None:
    first = minus.enqueue(5, 1)
    with pytest.raises(InvalidWorkflow, match="by itself"):
        enqueue_many([shown.using(depends_on=first).s(n) for n in range(3)])
    with workflow() as w:
        many = [w.add(shown.si(n), after=first) for n in range(3)]
    work()

    assert [one.get(0) for one in many] == [[0], [1], [2]]


def test_a_group_of_calls_has_an_id_by_which_it_is_found(work: Work) -> None:
    result = group(minus.s(5, 1), shown.s("a")).enqueue()
    last = shown.using(depends_on=result).enqueue("own")
    work()

    assert [str(one.pk) for one in get_workflow(result.id).records.order_by("id")] == [
        one.id for one in result
    ]
    assert last.get(0) == ["own"]


@pytest.mark.parametrize("option", ["depends_on", "on_success", "on_failure", "allow_failure"])
def test_dependencies_belong_to_a_call_and_not_to_a_task(option: str) -> None:
    with pytest.raises(InvalidTaskOptions, match=rf"task\.using\({option}="):
        django_task(**{option: True})


# -- callbacks ---------------------------------------------------------------------------------


def test_callbacks_are_tasks_that_are_given_the_value_or_the_error(work: Work) -> None:
    callbacks: dict[str, Any] = {"on_success": shown.s("good"), "on_failure": tell.s("bad")}
    minus.using(**callbacks).enqueue(5, 1)
    failed = broken.using(**callbacks).enqueue()
    work()

    assert [value for value in returned(shown) if value] == [[4, "good"]]
    assert [value for value in returned(tell) if value] == [
        [failed.id, "builtins.ValueError", "no", "bad"]
    ]


def test_a_callback_that_fails_changes_nothing_about_the_call_and_its_dependents(
    work: Work,
) -> None:
    first = minus.using(on_success=broken.s()).enqueue(5, 1)
    second = shown.using(depends_on=first).enqueue("own")
    work()

    assert [first.get(0), second.get(0)] == [4, ["own"]]
    assert [record.status for record in records_of(broken)] == ["FAILED"]


def test_on_cancelled_runs_after_a_cancel_and_on_failure_does_not(work: Work) -> None:
    result = minus.using(on_cancelled=shown.si("stopped"), on_failure=shown.si("no")).enqueue(5, 1)
    result.cancel()
    work()

    assert returned(shown) == [None, ["stopped"]]
