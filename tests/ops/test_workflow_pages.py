"""Pages of workflows: what a filter finds, without a gap, in bounds."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.errors import InvalidFilter
from django_tasks.models import Workflow
from django_tasks.ops import workflow_pages
from django_tasks.ops.workflow_pages import STATES, WorkflowFilter, search
from tests.ops.joined import chord, members, workflow

pytestmark = pytest.mark.django_db(transaction=True)


def found(**words: str) -> list[str]:
    return [one.name for one in search(WorkflowFilter.parse(words)).rows]


def one_of_each() -> None:
    chord(1, ["SUCCESSFUL", "RUNNING"], "running")
    chord(1, ["SUCCESSFUL", "EXPIRED"], "failed")
    chord(1, ["SUCCESSFUL", "CANCELLED"], "cancelled")
    chord(1, "SUCCESSFUL", "successful")


def test_each_state_is_found_as_its_counts_have_it() -> None:
    one_of_each()

    assert found() == ["successful", "cancelled", "failed", "running"]
    for state in STATES:
        assert found(state=state) == [state]
        page = search(WorkflowFilter.parse({"state": state.upper()}))
        assert [page.counts[one.pk].status.lower() for one in page.rows] == [state]


def test_names_kinds_ids_and_times_are_found() -> None:
    made = workflow("Import of May", "chain")
    workflow("100%_done", "group")

    assert found(q="import") == ["Import of May"]
    assert found(q="of may") == ["Import of May"]
    assert found(q="imp*") == ["Import of May"]
    assert found(q="may*") == []
    assert found(q="%_d") == ["100%_done"]
    assert found(q="_") == ["100%_done"]
    assert found(q=str(made.pk)) == ["Import of May"]
    assert found(kind="CHAIN") == ["Import of May"]
    assert found(since="1h", order="oldest") == ["Import of May", "100%_done"]
    assert found(until="1h") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"state": "runing"}, "Did you mean running?"),
        ({"kind": "tree"}, "is no kind of workflow"),
        ({"order": "up"}, "is no order"),
        ({"colour": "red"}, "is no filter of workflows"),
        ({"since": "noon"}, "is no moment"),
        ({"database": "nowhere"}, "No database"),
        ({"q": "a\0"}, "is no text"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused_with_a_word(words: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidFilter, match=said.replace("?", r"\?")):
        search(WorkflowFilter.parse(words))


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("words", [{}, {"state": "failed"}], ids=str)
def test_pages_join_without_a_gap_in_both_directions(words: Any, order: str) -> None:
    names = [f"n{place}" for place in range(7)]
    for name in names:
        members(workflow(name), ["a"], "FAILED")
    wanted = WorkflowFilter.parse({**words, "order": order})
    onward = "before" if order == "newest" else "after"

    def step(page: Any, way: str) -> UUID | None:
        return page.older if way == "before" else page.newer

    pages = [search(wanted, limit=3)]
    while (edge := step(pages[-1], onward)) is not None:
        pages.append(search(wanted, limit=3, **{onward: edge}))

    seen = [[one.name for one in page.rows] for page in pages]
    assert [one for page in seen for one in page] == (names if order == "oldest" else names[::-1])
    back = "after" if order == "newest" else "before"
    again = search(wanted, limit=3, **{back: step(pages[-1], back)})
    assert [one.name for one in again.rows] == seen[1]


def test_what_no_index_knows_is_looked_for_in_bounds_and_it_says_how_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workflow_pages, "GLANCE", 4)
    monkeypatch.setattr(workflow_pages, "WINDOW", 8)
    monkeypatch.setattr(workflow_pages, "PATIENCE", 0.0)
    sought = workflow("sought")
    for place in range(20):
        workflow(f"other {place}")

    page = search(WorkflowFilter.parse({"q": "sought"}))
    assert (page.rows, page.window) == ([], 12)
    assert page.looked_to is not None
    further = search(WorkflowFilter.parse({"q": "sought"}), before=page.older)
    assert further.rows == [sought]
    assert (further.older, further.looked_to) == (None, None)


def test_a_page_costs_the_same_however_many_there_are_and_counts_no_table() -> None:
    def cost(**words: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            search(WorkflowFilter.parse(words))
        assert not [one for one in queries if "COUNT(*)" in one["sql"]]
        return len(queries)

    one_of_each()
    # The window and its rows; two for the counts, one for the ends.
    assert max(cost(), cost(state="running"), cost(q="s")) <= 5
    for place in range(60):
        chord(2, ["SUCCESSFUL", "RUNNING", "CANCELLED"], f"s{place}")
        chord(2, "CANCELLED", f"s{place}")

    assert max(cost(), cost(state="running"), cost(q="s")) <= 5


def test_one_that_has_no_records_is_finished_and_has_no_end() -> None:
    made = workflow("old")

    page = search(WorkflowFilter())

    assert page.rows == [made]
    assert page.counts[made.pk].total == 0
    assert page.ended == {}
    assert Workflow.objects.successful().get() == made
