"""chain, group and chord: records that wait for each other, run by a real worker's loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from django_tasks import GroupResult, chain, chord, django_task, enqueue_many, group
from django_tasks.conf import TaskSettings
from django_tasks.errors import InvalidTaskOptions, InvalidWorkflow, ParentFailed, TaskFailed
from django_tasks.models import TaskDependency, TaskRecord, Workflow

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(name="flow.plus")
def add(a: int, b: int) -> int:
    return a + b


@django_task(name="flow.times")
def mul(a: int, b: int) -> int:
    return a * b


@django_task(name="flow.sum")
def total(numbers: list[int], plus: int = 0) -> int:
    return sum(numbers) + plus


@django_task(name="flow.shown")
def shown(value: Any, *more: Any) -> Any:
    return [value, *more]


@django_task(queue="news")
def far(value: int) -> int:
    return value + 100


@django_task(retries=0)
def fail(*args: Any) -> None:
    raise ValueError("no")


@django_task(record="never")
def throwaway() -> None: ...


def states() -> list[str]:
    return list(TaskRecord.objects.order_by("id").values_list("status", flat=True))


def test_a_chain_hands_each_value_on(work: Callable[..., None]) -> None:
    result = chain(add.s(1, 2), add.s(3), mul.s(6)).enqueue()

    assert states() == ["PENDING"] * 3
    work()

    assert result.get(0) == 36
    assert result.id == str(TaskRecord.objects.order_by("-id")[0].pk)
    assert states() == ["SUCCESSFUL"] * 3
    [workflow] = Workflow.objects.all()
    assert (workflow.kind, workflow.records.count()) == ("chain", 3)
    first, second, third = TaskRecord.objects.order_by("id")
    assert list(second.parents.all()) == [first]
    assert list(second.dependents.all()) == [third]


def test_the_bar_composes_chains_and_an_immutable_call_takes_nothing(
    work: Callable[..., None],
) -> None:
    result = (add.s(1, 2) | add.si(10, 20) | mul.s(2)).enqueue()

    work()

    assert result.get(0) == 60


def test_a_group_gives_a_list_in_its_order(work: Callable[..., None]) -> None:
    result = group(add.s(1, 2), mul.s(3, 4)).enqueue()

    work()

    assert isinstance(result, GroupResult)
    assert result.get(0) == [3, 12]
    assert [one.get(0) for one in result] == [3, 12]
    assert Workflow.objects.get().pk.hex == result.id.replace("-", "")


def test_a_group_of_one_and_one_of_none_are_groups_too(work: Callable[..., None]) -> None:
    one, none = group(add.s(i, 1) for i in range(1)).enqueue(name="one"), group().enqueue()

    work()

    assert (one.get(0), none.get(0)) == ([1], [])
    assert str(Workflow.objects.get(name="one").pk) == one.id


def test_a_chord_hands_its_body_the_list_then_its_own(work: Callable[..., None]) -> None:
    result = chord([add.s(1, 2), add.s(3, 4)], total.s(5)).enqueue()

    work()

    assert result.get(0) == 15


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lambda: chord([add.s(1, 2)])(total.s()), 3),
        (lambda: chord([], total.s(7)).enqueue(), 7),
        (lambda: chain(group(add.s(1, 2), add.s(3, 4)), total.s())(), 10),
        (lambda: (add.s(1, 2) | group(add.s(1), add.s(2)) | total.s()).enqueue(), 9),
        (lambda: chord([chain(add.s(1, 2), mul.s(10)), add.s(1, 1)], shown.s("x"))(),
         [[30, 2], "x"]),
        (lambda: chord([group(add.s(1, 2), add.s(3, 4)), add.s(5, 6)], shown.s())(),
         [[[3, 7], 11]]),
        (lambda: chain(chord([add.s(1, 1)], total.s()), add.s(1)).enqueue(), 3),
        (lambda: chain(add.s(1, 2), far.s(), add.s(1)).enqueue(), 104),
        (lambda: chain(group(add.s(1, 2)), group(shown.s(1), shown.s(2)), shown.s()).enqueue(),
         [[[[3], 1], [[3], 2]]]),
    ],
)  # fmt: skip
def test_forms_nest(work: Callable[..., None], made: Callable[[], Any], value: Any) -> None:
    result = made()

    work("default", "news")

    assert result.get(0) == value


def test_what_fails_ends_what_waits_for_it_and_says_who_it_was(work: Callable[..., None]) -> None:
    result = chain(add.s(1, 2), fail.s(), add.s(1), add.s(2)).enqueue()

    work()

    assert states() == ["SUCCESSFUL", "FAILED", "CANCELLED", "CANCELLED"]
    _, failed, *others = TaskRecord.objects.order_by("id")
    assert others[0].error_message == f"parent {failed.pk} failed"
    assert others[1].error_message == f"parent {others[0].pk} failed, since {failed.pk} did"
    with pytest.raises(TaskFailed) as caught:
        result.get(0)
    assert isinstance(caught.value, ParentFailed)
    assert caught.value.cause_id == str(failed.pk)


def test_a_rollback_leaves_nothing_and_a_commit_all(work: Callable[..., None]) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        chord([add.s(1, 2)], total.s()).enqueue()
        raise RuntimeError
    assert not TaskRecord.objects.exists()
    assert not Workflow.objects.exists()
    assert not TaskDependency.objects.exists()

    with transaction.atomic():
        result = chord([add.s(1, 2), add.s(3, 4)], total.s()).enqueue()
    work()

    assert result.get(0) == 10


def test_what_can_not_be_joined_is_refused_with_a_word() -> None:
    for wrong, word in (
        (lambda: chain(), "at least one call"),
        (lambda: chain(add), "add is a task"),
        (lambda: group(add), "add is a task"),
        (lambda: add.s(1, 2) | None, "no call that can be joined"),
        (lambda: chord([add.s(1, 2)]).enqueue(), "needs a body"),
        (lambda: chain(throwaway.s(), add.s(1)).enqueue(), "record='never'"),
        (
            lambda: add.using(depends_on=throwaway.enqueue()).enqueue(1, 2),
            "record='never', and what others",
        ),
    ):
        with pytest.raises(InvalidWorkflow, match=word):
            wrong()
    assert not TaskRecord.objects.exists()


def test_a_workflow_costs_few_queries_whatever_its_size(
    queue: TaskSettings, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10):  # SQLite and MySQL bound what one statement may hold
        chord([add.s(1, i) for i in range(900)], total.s()).enqueue()
    assert TaskDependency.objects.count() == 900


# -- callbacks and dependents ------------------------------------------------------------------


@django_task(name="flow.tell")
def tell(record_id: str, error_class: str, text: str, *more: Any) -> list[Any]:
    return [record_id, error_class, text, *more]


def by_task(task: Any) -> list[TaskRecord]:
    return list(TaskRecord.objects.for_task(task).order_by("id"))


def test_on_success_gets_the_value_and_on_failure_is_not_needed(work: Callable[..., None]) -> None:
    result = add.using(on_success=mul.s(3), on_failure=tell.s("x")).enqueue(1, 2)

    work()

    assert result.get(0) == 3
    assert [one.return_value for one in by_task(mul)] == [9]
    [unneeded] = by_task(tell)
    assert (unneeded.status, unneeded.error_class) == (
        "CANCELLED",
        "django_tasks.errors.NotNeeded",
    )
    assert result.id == str(by_task(add)[0].pk)


def test_on_failure_is_told_who_failed_and_how(work: Callable[..., None]) -> None:
    result = fail.using(on_success=mul.s(3), on_failure=[tell.s("x"), shown.si(1)]).enqueue(1)

    work()

    [told] = by_task(tell)
    assert told.return_value == [result.id, "builtins.ValueError", "no", "x"]
    assert [one.return_value for one in by_task(shown)] == [[1]]
    assert [one.status for one in by_task(mul)] == ["CANCELLED"]


def test_a_chords_on_failure_runs_once_and_names_the_member_that_failed(
    work: Callable[..., None],
) -> None:
    header = [add.s(1, 2), fail.s(), fail.s()]
    chord(header, total.using(on_failure=tell.s()).s()).enqueue()

    work()

    [told] = by_task(tell)
    assert told.return_value[1:] == ["builtins.ValueError", "no"]
    assert told.return_value[0] == str(by_task(fail)[0].pk)


def test_on_cancelled_runs_after_a_cancel_and_on_failure_does_not(
    work: Callable[..., None],
) -> None:
    result = add.using(on_cancelled=shown.si("c"), on_failure=shown.si("f")).enqueue(1, 2)
    assert result.cancel() is True

    work()

    assert [(one.return_value, one.status) for one in by_task(shown)] == [
        (None, "CANCELLED"),
        (["c"], "SUCCESSFUL"),
    ]


def test_depends_on_waits_for_what_was_enqueued_before_whatever_became_of_it(
    work: Callable[..., None],
) -> None:
    over = add.enqueue(1, 2)
    work()
    later = add.using(queue="news").enqueue(3, 4)
    result = shown.using(depends_on=[over, later]).enqueue("after both")

    work("default")
    result.refresh()
    assert result.state == "DEFERRED"
    work("news", "default")

    assert result.get(0) == ["after both"]
    assert not Workflow.objects.exists()


@pytest.mark.parametrize("has_ended", [False, True])
def test_depends_on_what_failed_runs_only_if_failure_is_allowed(
    work: Callable[..., None], has_ended: bool
) -> None:
    failed = fail.enqueue()
    if has_ended:
        work()
    strict = shown.using(depends_on=failed).enqueue(1)
    lenient = shown.using(depends_on=failed, allow_failure=True).enqueue(2)

    work()

    assert lenient.get(0) == [2]
    with pytest.raises(ParentFailed):
        strict.get(0)


def test_depends_on_what_the_same_transaction_enqueued(work: Callable[..., None]) -> None:
    with transaction.atomic():
        first = add.enqueue(1, 2)
        with transaction.atomic():
            second = shown.using(depends_on=first).enqueue("second")
    work()

    assert second.get(0) == ["second"]


def test_a_group_that_is_depended_on_is_waited_for_as_a_whole(work: Callable[..., None]) -> None:
    before = group(add.s(1, 2), add.s(3, 4)).enqueue()
    result = shown.using(depends_on=before).enqueue("all")
    assert TaskDependency.objects.count() == 2

    work()

    assert result.get(0) == ["all"]


def test_options_that_join_are_checked() -> None:
    for wrong in (
        lambda: add.using(on_success=add),
        lambda: add.using(depends_on="0192"),
        lambda: django_task(on_success=add.s(1))(fail.func),
    ):
        with pytest.raises(InvalidTaskOptions):
            wrong()
    with pytest.raises(InvalidWorkflow, match="by itself"):
        enqueue_many([add.using(on_success=mul.s(1)).s(1, 2)])
    assert hash(add.using(on_success=mul.s(1)))


@django_task(name="flow.large")
def large(size: int) -> str:
    return "x" * size


@pytest.mark.parametrize("size", [1000, 150_000])
def test_values_of_any_size_arrive(work: Callable[..., None], size: int) -> None:
    result = chord([large.s(size), add.s(1, 2)], shown.s()).enqueue()
    work("default")

    assert result.get(0) == [["x" * size, 3]]


def test_too_much_to_be_given_is_a_dead_letter_that_says_what_to_do(
    work: Callable[..., None], queue: TaskSettings, settings: Any
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "MAX_INPUT_BYTES": 1000}
    result = chord([large.s(600), large.s(600)], shown.s()).enqueue()
    work("default")

    with pytest.raises(TaskFailed, match="return ids"):
        result.get(0)
    assert "1,204 bytes" in TaskRecord.objects.dead_letters().get().dead_letter


def test_law_8_what_nobody_foresaw_before_a_run_is_a_dead_letter(
    work: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(*given: Any) -> list[Any]:
        raise KeyError("what?")

    monkeypatch.setattr("django_tasks.worker.execute.inputs_of", unforeseen)
    result = chain(add.s(1, 2), add.s(3)).enqueue()
    other = add.enqueue(5, 6)
    work("default")

    with pytest.raises(TaskFailed, match="KeyError"):
        result.get(0)
    assert other.get(0) == 11
    assert TaskRecord.objects.dead_letters().get().dead_letter == "KeyError: 'what?'"


def test_a_chain_of_a_thousand_is_ordinary(work: Callable[..., None]) -> None:
    result = chain(add.s(0, 1), *(add.s(1) for _ in range(999))).enqueue()
    work("default")

    assert result.get(0) == 1000
