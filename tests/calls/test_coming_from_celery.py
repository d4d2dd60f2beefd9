"""What Celery's canvas is documented to do, and what holds here. docs/workflows.md lists each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_tasks import chain, chord, get_workflow, group
from django_tasks.conf import TaskSettings
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    InvalidTaskOptions,
    InvalidWorkflow,
    NotNeeded,
    ParentCancelled,
    ParentFailed,
    TaskCancelled,
)
from django_tasks.models import TaskRecord
from tests.calls.coming import (
    broken,
    far,
    flaky,
    minus,
    records_of,
    returned,
    shown,
    states,
    tell,
    total,
)
from tests.calls.conftest import work as work

pytestmark = pytest.mark.django_db(transaction=True)
Work = Callable[..., None]


# -- calls -------------------------------------------------------------------------------------


def test_a_call_not_yet_made_can_be_looked_at_and_used_again(work: Work) -> None:
    call = minus.s(5, b=2)
    result = group(call, call).enqueue()
    work()

    assert (call.args, call.kwargs) == ((5,), {"b": 2})
    assert result.get(0) == [3, 3]


def test_options_are_given_before_the_arguments(queue: TaskSettings) -> None:
    chain(minus.s(1, 2), minus.using(queue="news", priority=5).s(3)).enqueue()

    record = TaskRecord.objects.latest("id")
    assert (record.queue_name, record.priority) == ("news", 5)


@pytest.mark.parametrize("word", ["countdown", "eta", "link", "link_error", "bind"])
def test_celerys_words_for_options_lead_to_ours(word: str) -> None:
    with pytest.raises(InvalidTaskOptions, match="Did you mean"):
        minus.using(**{word: 1})


@pytest.mark.parametrize("call", [minus.s(10), minus.s(b=10)], ids=["by place", "by name"])
def test_a_value_stands_before_the_calls_own_arguments(work: Work, call: Any) -> None:
    result = chain(minus.s(31, 1), call).enqueue()
    work()

    assert result.get(0) == 20


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lambda: chain(minus.s(2, 1), minus.si(8, 2)), 6),
        (lambda: chord([minus.s(2, 1)], shown.si("all")), ["all"]),
        (lambda: chain(minus.s(2, 1), group(shown.si("a"), shown.s("b"))), [["a"], [1, "b"]]),
    ],
)
def test_an_immutable_call_takes_no_value(work: Work, made: Callable[[], Any], value: Any) -> None:
    result = made().enqueue()
    work()

    assert result.get(0) == value


@pytest.mark.parametrize(
    "enqueue",
    [
        lambda: minus.s(8, 2).delay(),
        lambda: minus.s(8, 2).enqueue(),
        lambda: chain(minus.s(9, 1), minus.s(2)).delay(),
        lambda: chain(minus.s(9, 1), minus.s(2))(),
        lambda: (minus.s(9, 1) | minus.s(2)).enqueue(),
        lambda: chord([minus.s(2, 1), minus.s(7, 2)], total.s()).delay(),
        lambda: chord([minus.s(2, 1), minus.s(7, 2)], total.s())(),
        lambda: chord([minus.s(2, 1), minus.s(7, 2)])(total.s()),
    ],
)
def test_enqueue_delay_and_a_canvas_called_are_the_same(
    work: Work, enqueue: Callable[[], Any]
) -> None:
    result = enqueue()
    work()

    assert result.get(0) == 6


def test_one_call_is_not_called(queue: TaskSettings) -> None:
    with pytest.raises(TypeError, match="not callable"):
        minus.s(8, 2)()

    assert minus(8, 2) == 6


@pytest.mark.parametrize(
    "made", [lambda: minus.s(1), lambda: chain(minus.s(1)), lambda: group(minus.s(1))]
)
def test_no_arguments_are_added_when_it_is_enqueued(made: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="1 positional argument but 2"):
        made().delay(16)


@pytest.mark.parametrize(
    "made",
    [
        lambda: chain(minus.s(1, 2), minus.s()),
        lambda: chain(minus.s(1, 2), minus.s(3, 4)),
        lambda: chain(minus.s(1), minus.s(1)),
        lambda: minus.using(on_failure=minus.s()).s(1, 2) | shown.s(),
    ],
)
def test_a_call_that_will_not_fit_is_refused_at_once(
    queue: TaskSettings, made: Callable[[], Any]
) -> None:
    with pytest.raises(ArgumentMismatch):
        made().enqueue()

    assert states() == []


def test_a_call_is_no_argument_of_another(queue: TaskSettings) -> None:
    with pytest.raises(ArgumentNotSerializable, match="Signature"):
        shown.enqueue(minus.s(1, 2))


# -- callbacks ---------------------------------------------------------------------------------


def test_on_success_gets_the_value_and_the_result_stays_the_calls_own(work: Work) -> None:
    result = minus.using(on_success=[shown.s("first"), shown.s("second")]).enqueue(5, 2)
    work()

    assert result.get(0) == 3
    assert returned(shown) == [[3, "first"], [3, "second"]]


def test_on_failure_is_a_task_that_is_told_who_failed_and_how(work: Work) -> None:
    result = broken.using(on_failure=[tell.s("by hand"), shown.si("undo")]).enqueue()
    work()

    assert returned(tell) == [[result.id, "builtins.ValueError", "no", "by hand"]]
    assert returned(shown) == [["undo"]]


@pytest.mark.parametrize(
    ("task", "kind"), [(shown, NotNeeded), (broken, ParentFailed)], ids=["success", "failure"]
)
def test_a_callback_that_is_not_called_for_is_cancelled(
    work: Work, task: Any, kind: type[Exception]
) -> None:
    option = "on_failure" if kind is NotNeeded else "on_success"
    given = ("", "") if task is broken else ()
    task.using(**{option: tell.s(*given)}).enqueue()
    work()

    [record] = records_of(tell)
    assert (record.status, record.error_class.split(".")[-1]) == ("CANCELLED", kind.__name__)


def test_a_callback_may_be_a_canvas(work: Work) -> None:
    minus.using(on_success=chain(group(minus.s(1), minus.s(2)), shown.s())).enqueue(5, 0)
    broken.using(on_failure=chain(tell.s(), shown.s())).enqueue()
    work()

    [told] = returned(tell)
    assert returned(shown) == [[[4, 3]], [told]]


@pytest.mark.parametrize(("fails", "called"), [(1, ["on_success"]), (2, ["on_failure"])])
def test_callbacks_wait_until_the_retries_are_over(
    work: Work, fails: int, called: list[str]
) -> None:
    flaky.using(on_success=shown.si("on_success"), on_failure=shown.si("on_failure")).enqueue(fails)
    work()

    assert [value for value in returned(shown) if value] == [called]


# -- chains ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        lambda: chain(minus.s(20, 2), minus.s(3), minus.s(4)),
        lambda: chain([minus.s(20, 2), minus.s(3), minus.s(4)]),
        lambda: chain(minus.s(*args) for args in [(20, 2), (3,), (4,)]),
        lambda: minus.s(20, 2) | minus.s(3) | minus.s(4),
        lambda: minus.s(20, 2) | chain(minus.s(3), minus.s(4)),
        lambda: chain(chain(minus.s(20, 2)), chain(minus.s(3), minus.s(4))),
        lambda: chain(minus.s(20, 2), minus.s(3)) | minus.s(4),
    ],
)
def test_a_chain_hands_each_value_on(work: Work, made: Callable[[], Any]) -> None:
    result = made().enqueue()
    work()

    assert result.get(0) == 11
    assert result.id == str(TaskRecord.objects.latest("id").pk)
    assert len(states()) == 3


def test_a_chain_of_one_is_that_call_and_one_of_none_is_refused(work: Work) -> None:
    result = chain(minus.s(3, 1)).enqueue()
    work()

    assert result.get(0) == 2
    with pytest.raises(InvalidWorkflow, match="at least one call"):
        chain()


def test_what_was_before_and_after_is_read_from_the_records(work: Work) -> None:
    result = chain(minus.s(9, 1), minus.s(2), minus.s(3)).enqueue()
    work()

    last = TaskRecord.objects.get(pk=result.id)
    middle = last.parents.get()
    assert (middle.return_value, middle.parents.get().return_value) == (6, 8)
    assert list(middle.dependents.all()) == [last]
    assert get_workflow(result).records.count() == 3


def test_a_chain_ends_where_one_fails_and_the_result_says_who_it_was(work: Work) -> None:
    result = chain(minus.s(2, 1), broken.s(), shown.s(), shown.s()).enqueue()
    work()

    assert states() == ["SUCCESSFUL", "FAILED", "CANCELLED", "CANCELLED"]
    with pytest.raises(ParentFailed) as caught:
        result.get(0)
    assert caught.value.cause_id == str(records_of(broken)[0].pk)


def test_on_failure_of_a_chains_last_hears_of_all_before_it(work: Work) -> None:
    chain(broken.s(), shown.s(), minus.using(on_failure=tell.s()).s(1)).enqueue()
    work()

    [cause] = records_of(broken)
    assert returned(tell) == [[str(cause.pk), "builtins.ValueError", "no"]]


def test_a_delay_inside_of_a_chain_counts_from_the_enqueue(queue: TaskSettings) -> None:
    chain(minus.s(2, 1), shown.using(run_after=timedelta(hours=1)).s()).enqueue()

    [later] = records_of(shown)
    assert later.run_after == later.enqueued_at + timedelta(hours=1)


def test_a_chain_goes_through_several_queues(work: Work) -> None:
    result = chain(minus.s(2, 1), far.s("far"), shown.s()).enqueue()
    work("default", "news")

    assert result.get(0) == [[1, "far"]]


def test_to_cancel_the_last_leaves_the_others_and_the_workflow_is_cancelled_as_a_whole(
    work: Work,
) -> None:
    last, whole = (chain(minus.s(2, 1), shown.s()).enqueue() for _ in range(2))
    assert last.cancel() is True
    assert get_workflow(whole).cancel().changed == 2
    work()

    assert states() == ["SUCCESSFUL", "CANCELLED", "CANCELLED", "CANCELLED"]
    with pytest.raises(TaskCancelled):
        whole.get(0)


def test_what_waits_for_a_cancelled_or_expired_call_is_cancelled(work: Work) -> None:
    expired = chain(shown.using(expires=timedelta(microseconds=1)).s(), shown.s()).enqueue()
    cut = chain(minus.s(2, 1), shown.s()).enqueue()
    assert minus.get_result(str(records_of(minus)[0].pk)).cancel() is True
    work()

    with pytest.raises(ParentFailed):
        expired.get(0)
    with pytest.raises(ParentCancelled):
        cut.get(0)
