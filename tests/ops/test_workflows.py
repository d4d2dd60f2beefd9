"""What is to be seen of a workflow, without a page: progress, the first error, members, graph."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_tasks.models import TaskRecord
from django_tasks.models.record import new_id
from django_tasks.ops import workflows
from django_tasks.ops.workflows import MEMBERS, graph, members, overview
from tests.ops.joined import chord, join, workflow
from tests.ops.joined import members as make

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_is_found_by_its_id_and_nothing_else_is() -> None:
    made = workflow("import")

    assert workflows.find(made.pk) == made
    assert workflows.find(str(made.pk)) == made
    assert workflows.find(new_id()) is None
    assert workflows.find("nonsense") is None


def test_how_far_it_is_and_when_it_ended() -> None:
    now = timezone.now()
    running, _ = chord(2, ["SUCCESSFUL", "RUNNING", "DEFERRED"], finished_at=now)
    ended, records = chord(2, "SUCCESSFUL", finished_at=now - timedelta(hours=1))
    TaskRecord.objects.filter(pk=records[1].pk).update(finished_at=now)

    seen, over = overview(running), overview(ended)

    assert (seen.counts.done, seen.counts.total, seen.is_live) == (1, 3, True)
    assert seen.finished_at is None
    assert (over.is_live, over.finished_at) == (False, now)
    assert (seen.first_error, over.first_error) == (None, None)


def test_the_first_error_is_the_one_that_came_first_not_the_first_in_line() -> None:
    now = timezone.now()
    made, (_, two, three, _) = chord(3, ["SUCCESSFUL", "FAILED", "EXPIRED", "CANCELLED"])
    for record, minutes in ((two, 1), (three, 2)):
        moment = now - timedelta(minutes=minutes)
        TaskRecord.objects.filter(pk=record.pk).update(finished_at=moment)

    assert overview(made).first_error == three
    TaskRecord.objects.filter(pk=three.pk).update(finished_at=None)
    assert overview(made).first_error == two


def test_what_it_costs_does_not_grow(django_assert_num_queries: Any) -> None:
    for size in (3, 300):
        made, _ = chord(size, ["FAILED"] * size + ["CANCELLED"])
        with django_assert_num_queries(4):  # counts, not needed; end; first error
            seen = overview(made)
        with django_assert_num_queries(2):  # edges, members
            graph(seen)
        with django_assert_num_queries(3):  # a walk for each state, and its rows
            members(seen)


def test_the_graph_has_every_member_and_every_link_with_its_policy() -> None:
    made = workflow()
    [other] = make(workflow(), ["shop.fetch"])
    records = make(made, ["shop.load", "shop.tell"], ["RUNNING", "DEFERRED"])
    join([other, *records], [(0, 1, "any"), (1, 2, "failure")])

    found = graph(overview(made))

    assert [(one.task, one.state, one.number) for one in found.nodes] == [
        ("shop.load", "RUNNING", 1),
        ("shop.tell", "DEFERRED", 2),
        ("shop.fetch", "SUCCESSFUL", 0),
    ]
    waits = {
        key: [(node.task, policy) for node, policy in parents]
        for key, parents in found.waits(*(one.pk for one in records)).items()
    }
    assert waits == {
        records[0].pk: [("shop.fetch", "any")],
        records[1].pk: [("shop.load", "failure")],
    }


def test_a_parent_whose_row_is_gone_is_left_out() -> None:
    made, records = chord(2)
    TaskRecord.objects.filter(pk=records[0].pk).delete()
    join([TaskRecord(pk=new_id()), records[2]], [(0, 1)])

    found = graph(overview(made))

    assert len(found.nodes) == 2
    assert [one[:2] for one in found.links] == [(0, 1)]


def test_members_are_paged_in_their_order_and_filtered() -> None:
    made, records = chord(120, ["FAILED", "SUCCESSFUL"] * 60 + ["CANCELLED"])
    chord(3)
    seen = overview(made)

    found, page = [], members(seen)
    while True:
        found += page.rows
        assert len(page.rows) <= MEMBERS
        if page.newer is None:
            break
        page = members(seen, after=page.newer)

    assert [one.pk for one in found] == [one.pk for one in records]
    assert len(members(seen, state="FAILED,CANCELLED").rows) == MEMBERS
    assert members(seen, task="shop.tasks.total").rows == [records[-1]]
    assert members(overview(workflow())).rows == []


def test_what_is_too_large_to_be_read_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = chord(10)
    seen = overview(made)

    monkeypatch.setattr(workflows, "MOST_EDGES", 9)
    assert not graph(seen).is_whole
    monkeypatch.setattr(workflows, "MOST_NODES", 9)
    assert graph(seen).nodes == []
