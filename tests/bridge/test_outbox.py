"""The outbox: rows in the caller's transaction, messages after its commit (law 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_tasks import enqueue_many
from django_tasks.bridge.deliver import deliver
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.calls import registry
from django_tasks.conf import task_settings
from django_tasks.models import TaskRecord
from tests.bridge.calls import Undo, noted, numbers, rows, thrown_away
from tests.servers import Server
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def signup(request: HttpRequest) -> HttpResponse:
    result = add.enqueue(1, 1)
    if "fail" in request.GET:
        raise ValueError("after the enqueue")
    return HttpResponse(result.id)


urlpatterns = [path("signup/", signup)]


@pytest.fixture
def round_trips(redis_client: Any) -> Callable[[Callable[[], object]], int]:
    """How often the server read from a socket while something ran: one read a round trip."""

    def count() -> int:
        return int(redis_client.info("stats")["total_reads_processed"])

    def measure(act: Callable[[], object]) -> int:
        before = count()
        act()
        return count() - before - 1  # the second INFO is a read too

    return measure


# -- transactions ------------------------------------------------------------------------------


def test_law_2_in_autocommit_the_row_and_the_message_are_there_at_once(queue: Any) -> None:
    result = add.enqueue(7, 1)

    assert str(TaskRecord.objects.get().id) == result.id
    assert numbers(queue) == [7]


def test_law_2_nothing_is_pushed_before_the_commit(queue: Any) -> None:
    with transaction.atomic():
        add.enqueue(1, 1)
        add.enqueue(2, 1)
        before = numbers(queue)

    assert before == []
    assert numbers(queue) == [1, 2]


def test_law_2_a_nested_block_waits_for_the_outermost_commit(queue: Any) -> None:
    with transaction.atomic():
        add.enqueue(1, 1)
        with transaction.atomic():
            add.enqueue(2, 1)
            with transaction.atomic(savepoint=False):
                add.enqueue(3, 1)
        inside = numbers(queue)
        add.enqueue(4, 1)

    assert inside == []
    assert numbers(queue) == [1, 2, 3, 4]


def test_law_2_a_rollback_leaves_nothing_and_the_next_transaction_is_whole(queue: Any) -> None:
    with pytest.raises(Undo), transaction.atomic():
        add.enqueue(1, 1)
        raise Undo

    assert (rows(), numbers(queue)) == ([], [])

    with transaction.atomic():
        add.enqueue(2, 1)
    add.enqueue(3, 1)
    assert (rows(), numbers(queue)) == ([2, 3], [2, 3])


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_law_2_a_savepoint_that_rolls_back_takes_its_enqueues_along(
    queue: Any, position: str
) -> None:
    with transaction.atomic():
        if position != "first":
            add.enqueue(1, 1)
        with pytest.raises(Undo), transaction.atomic():
            add.enqueue(-1, 1)
            add.enqueue(-2, 1)
            raise Undo
        if position != "last":
            add.enqueue(2, 1)

    kept = [number for number in (1, 2) if (number, position) not in ((1, "first"), (2, "last"))]
    assert (rows(), numbers(queue)) == (kept, kept)


def test_law_2_a_rolled_back_savepoint_within_a_kept_one(queue: Any) -> None:
    with transaction.atomic():
        add.enqueue(1, 1)
        with transaction.atomic():
            add.enqueue(2, 1)
            with pytest.raises(Undo), transaction.atomic():
                add.enqueue(-1, 1)
                raise Undo
            add.enqueue(3, 1)
        with pytest.raises(Undo), transaction.atomic():
            with transaction.atomic():
                add.enqueue(-2, 1)
            raise Undo
        add.enqueue(4, 1)

    assert (rows(), numbers(queue)) == ([1, 2, 3, 4], [1, 2, 3, 4])


def test_law_2_an_error_in_a_block_without_savepoint_takes_the_outer_one_along(
    queue: Any,
) -> None:
    with transaction.atomic():
        add.enqueue(1, 1)
        with pytest.raises(Undo), transaction.atomic():
            add.enqueue(-1, 1)
            with transaction.atomic(savepoint=False):
                add.enqueue(-2, 1)
                raise Undo

    assert (rows(), numbers(queue)) == ([1], [1])


def test_law_2_hooks_of_others_between_enqueues_keep_their_place(queue: Any) -> None:
    seen: list[tuple[str, int]] = []

    def look(name: str) -> Callable[[], None]:
        return lambda: seen.append((name, Broker(queue).backlog("default")["ready"]))

    with transaction.atomic():
        transaction.on_commit(look("before"))
        add.enqueue(1, 1)
        transaction.on_commit(look("between"))
        add.enqueue(2, 1)

    assert seen == [("before", 0), ("between", 1)]
    assert numbers(queue) == [1, 2]


def test_law_2_a_hook_that_raises_before_ours_leaves_a_pending_row_that_is_delivered(
    queue: Any, broker: Broker
) -> None:
    def fail() -> None:
        raise Undo

    with pytest.raises(Undo), transaction.atomic():
        transaction.on_commit(fail)
        add.enqueue(1, 1)

    assert (rows(), numbers(queue)) == ([1], [])
    assert TaskRecord.objects.pending().count() == 1

    assert deliver(broker, "default").pushed == 1
    assert broker.backlog("default")["ready"] == 1


def test_law_2_in_manual_transaction_mode_the_row_waits_for_delivery(
    queue: Any, broker: Broker
) -> None:
    transaction.set_autocommit(False)
    try:
        add.enqueue(1, 1)
        noted.enqueue(2)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)

    assert rows() == [1, 2]
    assert broker.backlog("default")["ready"] == 0

    assert deliver(broker, "default").pushed == 2
    assert numbers(queue, limit=1) == []  # delivered after the fact: in doubt, in a new era
    assert broker.backlog("default")["ready"] == 2


def test_law_2_under_atomic_requests_the_view_decides(
    queue: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    client = Client(raise_request_exception=False)

    failed = client.get("/signup/?fail=1")
    assert (failed.status_code, rows(), numbers(queue)) == (500, [], [])

    served = client.get("/signup/")
    assert served.status_code == 200
    assert [str(record.id) for record in TaskRecord.objects.all()] == [served.content.decode()]
    assert numbers(queue) == [1]


def test_law_2_two_databases_commit_each_for_itself(queue: Any, other_database: str) -> None:
    elsewhere = replace(add, options=replace(add.options, database=other_database))

    with transaction.atomic():
        with transaction.atomic(using=other_database):
            add.enqueue(1, 1)
            elsewhere.enqueue(2, 1)
        pushed_first = numbers(queue)

    assert pushed_first == [2]
    assert numbers(queue) == [1]
    assert rows() == [1]
    assert [one.args[0] for one in TaskRecord.objects.using(other_database).all()] == [2]


def test_a_result_in_another_database_is_found_by_its_id(
    queue: Any, other_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = replace(add, options=replace(add.options, database=other_database))
    monkeypatch.setitem(registry._tasks, "tests.tasks.add", elsewhere)  # as it were defined so
    result = elsewhere.enqueue(2, 1)
    broker = Broker(queue)
    fresh = elsewhere.get_result(result.id)
    mirror(broker, "default", other_database)
    broker.client.delete(broker.keys("default").message(result.id))
    broker.close()

    kept = elsewhere.get_result(result.id)

    assert (fresh.state, fresh.database) == (kept.state, kept.database) == ("READY", other_database)


def test_law_2_two_aliases_push_to_their_own_brokers(
    queue: Any, server: Server, settings: Any
) -> None:
    ours = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {
        "default": ours,
        "second": {**ours, "OPTIONS": {"PREFIX": f"{queue.prefix}b"}},
    }

    with transaction.atomic():
        add.enqueue(1, 1)
        add.using(backend="second").enqueue(2, 1)
        add.enqueue(3, 1)

    assert numbers(task_settings("default")) == [1, 3]
    assert numbers(task_settings("second")) == [2]
    assert rows() == [1, 2, 3]


# -- how it is sent ----------------------------------------------------------------------------


def test_law_2_a_transaction_leaves_in_one_pipeline_in_order(
    queue: Any, round_trips: Callable[[Callable[[], object]], int]
) -> None:
    add.enqueue(0, 1)  # connects, and makes the queue's name known
    add.using(queue_name="mail").enqueue(0, 1)

    def act() -> None:
        with transaction.atomic():
            for number in range(1, 11):
                add.enqueue(number, 1)
            add.using(queue_name="mail").enqueue(11, 1)

    assert round_trips(act) == 1
    assert numbers(queue) == list(range(11))
    assert numbers(queue, "mail") == [0, 11]


def test_an_enqueue_is_one_query_and_one_round_trip(
    queue: Any, round_trips: Callable[[Callable[[], object]], int]
) -> None:
    add.enqueue(0, 1)

    with CaptureQueriesContext(connection) as queries:
        trips = round_trips(lambda: add.enqueue(1, 1))

    assert (len(queries), trips) == (1, 1)
    assert queries[0]["sql"].startswith("INSERT")


def test_runs_of_enqueues_in_different_savepoints_are_a_pipeline_each(
    queue: Any, round_trips: Callable[[Callable[[], object]], int]
) -> None:
    add.enqueue(0, 1)

    def act() -> None:
        with transaction.atomic():
            add.enqueue(1, 1)
            add.enqueue(2, 1)
            with transaction.atomic():
                add.enqueue(3, 1)
                add.enqueue(4, 1)
            add.enqueue(5, 1)

    assert round_trips(act) == 3
    assert numbers(queue) == [0, 1, 2, 3, 4, 5]


def test_enqueue_many_writes_by_one_statement_and_pushes_in_chunks(
    queue: Any, redis_client: Any
) -> None:
    add.enqueue(-1, 1)
    redis_client.config_resetstat()

    with CaptureQueriesContext(connection) as queries:
        results = enqueue_many([add.s(number, 1) for number in range(450)])
    get_broker().settle()

    inserts = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
    assert len(inserts) == 1
    # 450 messages in chunks of 100.
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] == 5
    assert [result.args[0] for result in results] == list(range(450))
    assert numbers(queue) == [-1, *range(450)]


# -- record= -----------------------------------------------------------------------------------


def test_record_after_asks_the_database_nothing(queue: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        noted.enqueue(1)

    assert len(queries) == 0
    assert (rows(), numbers(queue)) == ([], [1])


def test_record_never_asks_the_database_nothing(queue: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        thrown_away.enqueue(1)

    assert len(queries) == 0
    assert (rows(), numbers(queue)) == ([], [1])


@pytest.mark.parametrize("task", [noted, thrown_away])
def test_law_2_what_has_no_row_waits_for_the_commit_too(queue: Any, task: Any) -> None:
    with pytest.raises(Undo), transaction.atomic():
        task.enqueue(1)
        raise Undo
    with transaction.atomic():
        task.enqueue(2)
        inside = numbers(queue)

    assert inside == []
    assert numbers(queue) == [2]


def test_the_setting_record_decides_for_tasks_that_do_not_say(queue: Any, settings: Any) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "RECORD": "after"}

    add.enqueue(1, 1)
    add.using(record="first").enqueue(2, 1)

    assert rows() == [2]
    assert numbers(queue) == [1, 2]
