"""Pages of records: bounded, without a gap, and by which index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from model_bakery import baker

from django_tasks.models import TaskRecord
from django_tasks.ops import records
from django_tasks.ops.filters import RecordFilter
from django_tasks.ops.moments import made_at
from django_tasks.ops.records import VIEWS, search
from tests.databases import other_database
from tests.ops.made import ADD, at, found, ids, make, refused

pytestmark = pytest.mark.django_db(transaction=True)

# -- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{}, {"state": "READY"}, {"task": ADD}, {"queue": "mail"}])
def test_pages_follow_each_other_without_a_gap_both_ways(words: dict[str, str]) -> None:
    made = ids(*(make("READY", queue_name=("mail", "news")[i % 2]) for i in range(11)))
    if "queue" in words:
        made = ids(*TaskRecord.objects.filter(queue_name="mail"))
    wanted = RecordFilter.parse(words)

    first = search(wanted, limit=2)
    second = search(wanted, before=first.older, limit=2)
    third = search(wanted, before=second.older, limit=2)
    back = search(wanted, after=third.newer, limit=2)

    assert found(first) + found(second) + found(third) == made[:6]
    assert found(back) == found(second)
    assert first.newer is None
    assert found(search(wanted, after=back.newer, limit=2)) == found(first)


def test_the_last_page_says_that_it_is() -> None:
    made = ids(*(make() for _ in range(4)))
    wanted = RecordFilter()

    page = search(wanted, before=search(wanted, limit=2).older, limit=2)

    assert found(page) == made[2:]
    assert (page.older, page.looked_to) == (None, None)


def test_the_oldest_come_first_where_that_is_asked() -> None:
    made = ids(*(make("READY", queue_name=("a", "b")[i % 2]) for i in range(5)))
    wanted = RecordFilter.parse({"state": "READY", "order": "oldest"})

    page = search(wanted, limit=2)
    onward = search(wanted, after=page.newer, limit=2)

    assert found(page) == made[:2:-1]
    assert found(onward) == [made[2], made[1]]
    assert page.older is None
    assert found(search(wanted, before=onward.older, limit=2)) == found(page)


def test_what_no_index_knows_is_looked_for_in_a_window_and_the_page_says_how_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "WINDOW", 3)
    monkeypatch.setattr(records, "PATIENCE", 0)
    old = make(worker_id="w")
    others = [make() for _ in range(5)]
    wanted = RecordFilter.parse({"worker": "w"})

    page = search(wanted)
    further = search(wanted, before=page.older)
    end = search(wanted, before=further.older)

    assert found(page) == []
    assert page.looked_to == made_at(others[2].pk)
    assert found(further) == [old.pk]
    assert found(end) == []
    assert (end.older, end.looked_to) == (None, None)


def test_a_glance_that_fills_the_page_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "GLANCE", 4)
    made = ids(*(make(worker_id="w") for _ in range(9)))

    page = search(RecordFilter.parse({"worker": "w"}), limit=3)

    assert found(page) == made[:3]
    assert page.window == 4
    assert page.looked_to is None


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_behind_a_glance_that_fills_no_page_nothing_is_lost_and_nothing_comes_twice(
    monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(records, "GLANCE", 4)
    monkeypatch.setattr(records, "WINDOW", 7)
    monkeypatch.setattr(records, "PATIENCE", 0)
    made = [
        make("RUNNING" if i % 3 else "READY", queue_name=("mail", "news")[i % 2]) for i in range(40)
    ]
    wanted = RecordFilter.parse({"state": "READY", "order": order})
    is_upward = order == "oldest"

    seen: list[UUID] = []
    onward: dict[str, Any] = {}
    for _ in range(40):
        page = search(wanted, **onward, limit=3)
        seen += found(page)
        edge = page.newer if is_upward else page.older
        if edge is None:
            break
        onward = {"after" if is_upward else "before": edge}

    ready = [one.pk for one in made if one.status == "READY"]
    assert seen == (ready if is_upward else ready[::-1])


def test_while_nothing_is_found_it_looks_further_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "WINDOW", 3)
    monkeypatch.setattr(records, "PATIENCE", 60)
    make()
    old = make(worker_id="w")
    for _ in range(8):
        make()

    page = search(RecordFilter.parse({"worker": "w"}))

    assert found(page) == [old.pk]
    assert page.window == 9
    assert page.looked_to == made_at(old.pk)


def test_no_lane_is_passed_over_behind_the_window_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "WINDOW", 2)
    made = [
        make("RUNNING" if i in (0, 3) else "READY", queue_name=name)
        for i, name in enumerate(["a", "b", "b", "b", "a", "a"])
    ]
    wanted = RecordFilter.parse({"state": "RUNNING"})

    seen, before = [], None
    for _ in range(10):
        page = search(wanted, before=before)
        seen += found(page)
        before = page.older
        if before is None:
            break

    assert seen == ids(made[0], made[3])
    assert before is None


def test_a_page_reads_the_same_few_queries_and_no_large_column() -> None:
    def cost(**words: str) -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            search(RecordFilter.parse(words))
        return len(queries), " ".join(one["sql"] for one in queries)

    assert connection.features.supports_json_field  # asked of the database once
    asked = [{}, {"worker": "w"}, {"state": "READY"}, {"task": "add"}, {"q": "a:1"}, {"dead": "1"}]
    make("READY")
    make("FAILED", dead_letter="why", worker_id="w", kwargs={"a": 1})
    for words in asked:  # what a connection is asked once
        cost(**words)
    few = [cost(**words)[0] for words in asked]
    for _ in range(40):
        make("READY")
        make("FAILED", dead_letter="why", worker_id="w", kwargs={"a": 1})

    many = [cost(**words) for words in asked]

    assert [count for count, _ in many] == few
    assert max(few) <= 5
    for _, said in many:
        assert "COUNT(" not in said
        assert "traceback" not in said.lower()
    assert "kwargs" not in many[0][1]


def test_more_queues_than_one_look_asks_about_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "MAX_QUEUES", 2)
    if not connection.features.supports_partial_indexes:
        pytest.skip(
            "without partial indexes taskrecord_failed serves every state, and no queue is asked"
        )
    for name in ("a", "b"):
        make("READY", queue_name=name)
    assert len(found(state="READY")) == 2

    make("READY", queue_name="c")

    assert refused(state="READY") == "These are in more than 2 queues: name one."
    assert len(found(state="READY", queue="c")) == 1


# -- views -------------------------------------------------------------------------------------


def view(name: str) -> list[UUID]:
    return found(**VIEWS[name][1])


def test_failed_today_goes_by_the_end_not_by_the_creation() -> None:
    now = timezone.now()
    long_ago = at(now - timedelta(days=3), status="FAILED", finished_at=now)
    make("FAILED", finished_at=now - timedelta(days=2))
    make("SUCCESSFUL", finished_at=now)

    assert view("failed-today") == [long_ago.pk]


def test_running_long_counts_from_the_claim() -> None:
    def us(minutes: int) -> int:
        return int((timezone.now() - timedelta(minutes=minutes)).timestamp() * 1e6)

    longest = make("RUNNING", fence=us(60))
    long = make("RUNNING", fence=us(6), queue_name="b")
    make("RUNNING", fence=us(4))
    make("READY", fence=us(60))

    assert view("running-long") == [longest.pk, long.pk]


def test_waiting_long_leaves_out_what_is_not_due() -> None:
    then = timezone.now() - timedelta(minutes=6)
    ready = at(then, status="READY", run_after=None)
    due = at(then, status="SCHEDULED", run_after=then)
    at(then, status="SCHEDULED", run_after=timezone.now() + timedelta(hours=1))
    at(then, status="RUNNING", run_after=None)
    make("READY", run_after=None)

    assert view("waiting-long") == sorted([ready.pk, due.pk])


def test_dead_letters_are_found_in_every_queue() -> None:
    made = [make("FAILED", dead_letter="why", queue_name=name) for name in ("a", "b", "a")]
    make("FAILED", queue_name="a")

    assert view("dead") == ids(*made)
    assert found(dead="1", queue="a") == ids(made[0], made[2])


# -- several databases -------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path: Path, settings: Any) -> Iterator[str]:
    with other_database(tmp_path, "reports", on_server=True) as alias:
        settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "DATABASE": alias}
        yield alias


def test_one_database_is_looked_at(reports: str) -> None:
    here = make()
    there = baker.prepare(TaskRecord, task_name=ADD)
    there.save(using=reports)

    assert found() == [here.pk]
    assert found(database=reports) == [there.pk]
    assert RecordFilter.parse({"database": reports}).queryset().get() == there


# -- indexes -----------------------------------------------------------------------------------

INDEXED = [
    ({"state": "FAILED"}, "taskrecord_failed"),
    ({"state": "RUNNING", "queue": "mail"}, "taskrecord_unfinished"),
    ({"state": "unfinished", "queue": "mail"}, "taskrecord_unfinished"),
    ({"state": "PENDING"}, "taskrecord_pending"),
    ({"task": ADD}, "taskrecord_task"),
    ({"dead": "1", "queue": "mail"}, "taskrecord_dead"),
    ({"parent": "0192aaaa-0000-7000-8000-000000000001"}, "taskrecord_parent"),
    ({"workflow": "0192aaaa-0000-7000-8000-000000000001"}, "taskrecord_workflow"),
    ({}, "taskrecord_pkey"),
    ({"worker": "w"}, "taskrecord_pkey"),
]


@pytest.mark.parametrize(("words", "index"), INDEXED, ids=str)
def test_postgresql_walks_the_index_that_a_filter_has(words: dict[str, str], index: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("what is read here is PostgreSQL's form of a plan")
    with connection.cursor() as cursor:  # among few rows it would read them all
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.execute("SET enable_bitmapscan = off")
        try:
            with CaptureQueriesContext(connection) as queries:
                make("FAILED", queue_name="mail", dead_letter="why")
                search(RecordFilter.parse(words))
            walk = next(one["sql"] for one in queries if one["sql"].startswith("SELECT"))
            cursor.execute(f"EXPLAIN {walk}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        finally:
            cursor.execute("RESET ALL")

    assert index in plan
    assert "Sort" not in plan
