"""What Celery's groups, chords and the like are documented to do, and what holds here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from django_tasks import GroupResult, chain, chord, get_workflow, group, workflow
from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import InvalidWorkflow, ParentFailed, TaskFailed
from django_tasks.models import TaskRecord, Workflow
from tests.bridge.test_edges import age, forget_all, rebuild
from tests.calls.coming import (
    broken,
    far,
    gone,
    grows,
    minus,
    records_of,
    replaced,
    returned,
    shown,
    states,
    tell,
    total,
)
from tests.calls.conftest import work as work

pytestmark = pytest.mark.django_db(transaction=True)
Work = Callable[..., None]


# -- groups ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        lambda: group(minus.s(3, 1), minus.s(5, 1)),
        lambda: group([minus.s(3, 1), minus.s(5, 1)]),
        lambda: group(minus.s(n, 1) for n in (3, 5)),
    ],
)
def test_a_group_gives_the_list_of_its_values(work: Work, made: Callable[[], Any]) -> None:
    result = made()()
    work()

    assert isinstance(result, GroupResult)
    assert result.get(0) == [2, 4]
    assert [one.get(0) for one in result] == [result[0].get(0), result[-1].get(0)] == [2, 4]


def test_values_stand_in_the_groups_order_whichever_ended_first(work: Work) -> None:
    result = group(far.s("far"), minus.s(2, 1)).enqueue()
    body = chord([far.s("far"), minus.s(2, 1)], shown.s()).enqueue()
    work("default")
    work("news", "default")

    assert [one.get(0) for one in result.as_completed(0)] == [1, ["far"]]
    assert result.get(0) == [["far"], 1]
    assert body.get(0) == [[["far"], 1]]


def test_a_groups_result_says_how_far_it_is_and_what_went_wrong(work: Work) -> None:
    result = group(minus.s(2, 1), broken.s(), far.s()).enqueue()
    assert (result.completed, len(result), result.first_error) == (0, 3, None)
    work("default")

    assert result.completed == 2  # also what failed has ended
    assert result.first_error is not None
    assert result.first_error.id == result[1].id
    with pytest.raises(TaskFailed, match="no"):
        result.get(0)


def test_a_group_is_found_again_by_its_id(work: Work) -> None:
    result = group(minus.s(2, 1), shown.s("a")).enqueue(name="nightly")
    work()

    found = get_workflow(result.id)
    assert (found.name, found.status) == ("nightly", "SUCCESSFUL")
    assert list(found.records.order_by("id").values_list("return_value", flat=True)) == [1, ["a"]]


def test_a_group_is_cancelled_and_forgotten_as_a_whole(work: Work) -> None:
    cut, kept = (group(minus.s(2, 1), shown.s("a")).enqueue() for _ in range(2))
    assert cut.cancel() == 2
    work()

    assert states() == ["CANCELLED", "CANCELLED", "SUCCESSFUL", "SUCCESSFUL"]
    assert kept.forget() == 2
    assert kept.get(0) == [1, ["a"]]  # the rows stay


def test_an_empty_group_has_an_empty_list_for_its_value(work: Work) -> None:
    assert group().enqueue().get(0) == group([]).enqueue().get(0) == []
    assert states() == []


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lambda first: chain(first, group(), shown.s()), [[]]),
        (lambda first: chain(first, group([]), group(), shown.s()), [[]]),
        (lambda first: chain(first, chord([], shown.s())), [[]]),
        (lambda first: chain(first, chain(group()), shown.si("x")), ["x"]),
        (lambda first: chain(first, group(group(), shown.s("x")), shown.s()), [[[], [1, "x"]]]),
    ],
)
def test_an_empty_group_inside_of_a_chain_gives_an_empty_list_after_what_is_before_it(
    work: Work, made: Callable[[Any], Any], value: Any
) -> None:
    good, bad = made(minus.s(2, 1)).enqueue(), made(broken.s()).enqueue()
    work(max_tasks=1)
    assert states().count("SUCCESSFUL") == 1
    work()

    assert good.get(0) == value
    with pytest.raises(ParentFailed):
        bad.get(0)


def test_an_empty_header_among_the_callbacks_waits_for_their_occasion(work: Work) -> None:
    minus.using(on_failure=chord([], shown.s("not wanted"))).enqueue(2, 1)
    broken.using(on_failure=chord([], shown.s("wanted"))).enqueue()
    work()

    assert returned(shown) == [None, [[], "wanted"]]


def test_an_empty_group_is_waited_through_after_the_broker_lost_its_memory(
    work: Work, queue: TaskSettings, redis_client: Any
) -> None:
    result = chain(minus.s(2, 1), group(), shown.s("x")).enqueue()
    forget_all(queue, redis_client)
    rebuild(Broker(queue))
    age(queue, redis_client)
    work()

    assert result.get(0) == [[], "x"]


def test_a_group_of_one_gives_a_list_of_one(work: Work) -> None:
    result = chain(minus.s(9, 1), group(minus.s(2)), shown.s()).enqueue()
    work()

    assert result.get(0) == [[6]]


def test_nested_groups_keep_their_shape(work: Work) -> None:
    nested = group(minus.s(3, 1), group(minus.s(5, 1), group(minus.s(7, 1))))
    result, after = nested.enqueue(), (nested | shown.s()).enqueue()
    work()

    assert result.get(0) == [2, [4, [6]]]
    assert after.get(0) == [[2, [4, [6]]]]


def test_each_member_of_a_group_gets_the_value_before_it(work: Work) -> None:
    result = chain(minus.s(9, 1), group(minus.s(1), minus.s(2))).enqueue()
    work()

    assert result.get(0) == [7, 6]


def test_each_member_of_a_group_behind_a_group_gets_its_list(work: Work) -> None:
    result = (group(minus.s(3, 1), minus.s(5, 1)) | group(shown.s("a"), total.s())).enqueue()
    work()

    assert result.get(0) == [[[2, 4], "a"], 6]


def test_callbacks_are_joined_to_each_member_and_run_for_each(work: Work) -> None:
    good = minus.using(on_success=shown.s("good"))
    bad = broken.using(on_failure=tell.s())
    group(good.s(2, 1), good.s(5, 1), bad.s(), bad.s()).enqueue()
    work()

    assert returned(shown) == [[1, "good"], [4, "good"]]
    assert [told[0] for told in returned(tell)] == [str(one.pk) for one in records_of(broken)]


# -- chords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        lambda: chord([minus.s(3, 1), minus.s(5, 1)], total.s(1)).enqueue(),
        lambda: chord([minus.s(3, 1), minus.s(5, 1)])(total.s(1)),
        lambda: chord((minus.s(n, 1) for n in (3, 5)), total.s(1))(),
        lambda: chord(group(minus.s(3, 1), minus.s(5, 1)), total.s(1)).delay(),
        lambda: (group(minus.s(3, 1), minus.s(5, 1)) | total.s(1)).enqueue(),
        lambda: chain(group(minus.s(3, 1), minus.s(5, 1)), total.s(plus=1)).enqueue(),
    ],
)
def test_a_group_before_a_task_is_a_chord(work: Work, made: Callable[[], Any]) -> None:
    result = made()
    work()

    assert result.get(0) == 7
    assert result.id == str(records_of(total)[0].pk)
    assert len(states()) == 3  # nothing else runs, and nothing looks whether it is time


def test_a_chord_with_one_call_in_its_header_gives_a_list_of_one(work: Work) -> None:
    many = [chord([minus.s(3, 1)], shown.s()), chord(minus.s(3, 1), shown.s())]
    results = [one.enqueue() for one in many]
    work()

    assert [one.get(0) for one in results] == [[[2]], [[2]]]


def test_a_chord_with_an_empty_header_runs_its_body_with_an_empty_list(work: Work) -> None:
    results = [chord([], shown.s("x")).enqueue(), (group([]) | shown.s("x")).enqueue()]
    work()

    assert [one.get(0) for one in results] == [[[], "x"], [[], "x"]]


def test_a_chords_header_may_hold_chains_chords_and_groups(work: Work) -> None:
    header = [
        chain(minus.s(20, 2), minus.s(3)),
        chord([minus.s(3, 1), minus.s(5, 1)], total.s()),
        group(minus.s(3, 2)),
    ]
    result = chord(header, shown.s()).enqueue()
    work()

    assert result.get(0) == [[15, 6, [1]]]


def test_a_chord_stands_inside_of_a_chain(work: Work) -> None:
    result = chain(minus.s(9, 1), chord([minus.s(1), minus.s(2)], total.s()), minus.s(3)).enqueue()
    work()

    assert result.get(0) == 10


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (lambda: chain(total.s(), minus.s(1)), 5),
        (lambda: group(total.s(), shown.s("x")), [6, [[2, 4], "x"]]),
        (lambda: chord([total.s(), total.s(1)], total.s()), 13),
    ],
)
def test_a_chords_body_may_be_a_canvas(work: Work, body: Callable[[], Any], value: Any) -> None:
    result = chord([minus.s(3, 1), minus.s(5, 1)], body()).enqueue()
    work()

    assert result.get(0) == value


def test_a_chord_without_a_body_is_refused(queue: TaskSettings) -> None:
    for enqueue in (chord([minus.s(2, 1)]), chord([minus.s(2, 1)]).enqueue):
        with pytest.raises(InvalidWorkflow, match="needs a body"):
            enqueue()


def test_a_chords_body_is_cancelled_if_a_member_fails_and_the_others_run(work: Work) -> None:
    result = chord([minus.s(2, 1), broken.s(), broken.s(), minus.s(5, 1)], total.s()).enqueue()
    work()

    assert states() == ["SUCCESSFUL", "FAILED", "FAILED", "SUCCESSFUL", "CANCELLED"]
    with pytest.raises(ParentFailed) as caught:
        result.get(0)
    assert caught.value.cause_id == str(records_of(broken)[0].pk)


def test_on_failure_of_a_chords_body_runs_once_also_if_the_body_fails(work: Work) -> None:
    chord([broken.s(), broken.s()], total.using(on_failure=tell.s("header")).s()).enqueue()
    chord([minus.s(2, 1)], broken.using(on_failure=tell.s("body")).s()).enqueue()
    work()

    one, _, body = records_of(broken)
    assert [(told[0], told[-1]) for told in returned(tell)] == [
        (str(one.pk), "header"),
        (str(body.pk), "body"),
    ]


def test_on_failure_of_a_member_is_its_own(work: Work) -> None:
    told = broken.using(on_failure=tell.s("member"))
    chord([told.s(), minus.s(2, 1)], total.using(on_failure=tell.s("body")).s()).enqueue()
    work()

    assert [one[-1] for one in returned(tell)] == ["member", "body"]


def test_what_has_no_row_is_not_joined(queue: TaskSettings) -> None:
    for made in (chord([gone.s()], shown.s()), chain(gone.s(), shown.s())):
        with pytest.raises(InvalidWorkflow, match="record='never'"):
            made.enqueue()


# -- and what stands beside these --------------------------------------------------------------


def test_map_and_starmap_are_one_call_each(work: Work) -> None:
    results = [
        total.map([[1, 2], [3]]).enqueue(),
        minus.starmap([(3, 1), (5, 1)]).enqueue(),
        chain(minus.starmap([(3, 1), (5, 1)]), total.s()).enqueue(),
    ]
    work()

    assert [one.get(0) for one in results] == [[3, 3], [2, 4], 6]
    assert len(states()) == 4


def test_chunks_are_a_group_of_starmaps(work: Work) -> None:
    pairs = [(n, 1) for n in range(5)]
    parts = (pairs[at : at + 2] for at in range(0, len(pairs), 2))
    result = group(minus.starmap(part) for part in parts).enqueue()
    work()

    assert result.get(0) == [[-1, 0], [1, 2], [3]]


def test_what_replaces_a_task_is_waited_for_in_its_place(work: Work) -> None:
    result = chord([replaced.using(queue="news").s(3, 5), minus.s(2, 1)], shown.s()).enqueue()
    work("news")  # also the group's values are put together where the task ran
    work("default")

    assert result.get(0) == [[[2, 4], 1]]


def test_what_a_running_task_adds_to_its_workflow_is_not_waited_for(work: Work) -> None:
    with workflow() as w:
        last = w.add(shown.s("last"), after=w.add(grows.s()))
    work()

    assert last.get(0) == ["grown", "last"]
    assert w.counts.by_state == {"SUCCESSFUL": 3}


def test_a_workflow_bears_a_name_and_arguments_hold_nothing_of_the_graph(work: Work) -> None:
    chain(minus.s(9, 1), group(minus.s(1), minus.s(2)), total.s()).enqueue(name="import")

    records = Workflow.objects.get(name="import").records.order_by("id")
    assert [one.args for one in records] == [[9, 1], [1], [2], []]


def test_a_canvas_is_written_in_the_callers_transaction(work: Work) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        chain(minus.s(9, 1), shown.s()).enqueue()
        raise ZeroDivisionError
    assert not TaskRecord.objects.exists()
    assert not Workflow.objects.exists()

    with transaction.atomic():
        result = chain(minus.s(9, 1), shown.s()).enqueue()
    work()

    assert result.get(0) == [8]
