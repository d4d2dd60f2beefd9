"""A group's result: how far it is, who ended first, what went wrong; and it can be forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from django_tasks import group, workflow
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.errors import ResultInsideTransaction, ResultTimeout, TaskFailed
from django_tasks.models import TaskRecord
from tests.bridge.test_edges import forget_all
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, fail, far, mul, shown, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(work: Callable[..., None]) -> Any:
    """Runs what is ready, in a thread of its own."""

    def run() -> None:
        work("default", "news")
        connection.close()

    thread = threading.Thread(target=run)
    yield thread.start
    if thread.ident is not None:
        thread.join()


def test_it_says_how_many_have_ended(work: Callable[..., None]) -> None:
    result = group(add.s(1, 2), far.s(1), group(mul.s(2, 2), fail.s())).enqueue()
    assert (result.completed, result.progress.done, result.progress.total) == (0, 0, 4)

    work("default")

    assert result.completed == 3
    assert result.progress.fraction == 0.75


def test_who_waits_too_long_hears_how_many_are_left(work: Callable[..., None]) -> None:
    result = group(add.s(1, 2), far.s(1)).enqueue()
    work("default")

    with pytest.raises(ResultTimeout, match="1 of the group's 2 calls"):
        result.get(0.01)
    with pytest.raises(ResultTimeout):
        async_to_sync(result.aget)(0.01)


def test_members_come_as_they_end(work: Callable[..., None]) -> None:
    result = group(far.s(1), add.s(1, 2)).enqueue()
    work("default")
    came = result.as_completed(5)

    assert next(came).get(0) == 3
    work("news")
    assert next(came).get(0) == 101
    assert next(came, None) is None


def test_a_worker_elsewhere_is_waited_for(worker: Callable[[], None]) -> None:
    result = group(add.s(n, n) for n in range(3)).enqueue()
    worker()

    assert result.get(20) == [0, 2, 4]


def test_the_same_for_asyncio(worker: Callable[[], None]) -> None:
    result = group(group(add.s(n, n) for n in range(3)), far.s(1)).enqueue()
    worker()

    async def wait() -> Any:
        seen = {one.id async for one in result.aas_completed(20)}
        await result.arefresh()
        return seen, await result.aget(20), await result.aforget()

    seen, values, _ = async_to_sync(wait)()
    assert len(seen) == 4
    assert values == [[0, 2, 4], 101]


def test_get_raises_as_soon_as_one_failed(work: Callable[..., None]) -> None:
    result = group(far.s(1), add.s(1, 2), fail.s()).enqueue()
    assert result.first_error is None
    work("default")  # nobody runs the first

    with pytest.raises(TaskFailed) as failed:
        result.get(20)

    assert result.first_error is not None
    assert failed.value.record_id == result.first_error.id == result.results[2].id


def test_a_thousand_are_looked_at_in_two_round_trips_a_queue(
    work: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = group(add.s(n, n) for n in range(1000)).enqueue()
    get_broker().settle()
    asked: list[int] = []
    pipeline = type(get_broker())._pipeline

    def counted(self: Any, commands: Any) -> Any:
        asked.append(len(commands))
        return pipeline(self, commands)

    monkeypatch.setattr("django_tasks.broker.caller.Caller._pipeline", counted)

    assert result.completed == 0
    assert asked == [500, 500]


def test_what_the_broker_forgot_is_read_from_rows_by_a_few_queries(
    work: Callable[..., None],
    queue: TaskSettings,
    redis_client: Any,
    django_assert_max_num_queries: Any,
) -> None:
    result = group(add.s(n, n) for n in range(100)).enqueue()
    work("default")
    forget_all(queue, redis_client)

    with django_assert_max_num_queries(3):
        assert result.get(1) == [2 * n for n in range(100)]


def test_get_inside_the_transaction_says_that_it_would_never_end(queue: TaskSettings) -> None:
    with transaction.atomic():
        result = group(add.s(1, 2)).enqueue()
        with pytest.raises(ResultInsideTransaction):
            result.get(1)


def test_a_group_is_cancelled_and_what_has_ended_stays(work: Callable[..., None]) -> None:
    result = group(add.s(1, 2), far.s(1)).enqueue()
    work("default")

    assert result.cancel() == 1
    assert states() == ["SUCCESSFUL", "CANCELLED"]
    assert async_to_sync(result.acancel)() == 0


def test_forgetting_frees_the_broker_and_the_rows_stay(
    work: Callable[..., None], queue: TaskSettings, redis_client: Any
) -> None:
    result = group(add.s(n, n) for n in range(3)).enqueue()
    assert result.forget() == 0  # what has not ended stays
    work("default")

    def messages() -> list[Any]:
        return list(redis_client.scan_iter(f"{queue.prefix}:*:message:*"))

    assert len(messages()) == 3
    assert result.forget() == 3
    assert messages() == []
    assert result.get(0) == [0, 2, 4]
    assert TaskRecord.objects.count() == 3


def test_a_result_of_throwaway_work_is_gone_once_forgotten(work: Callable[..., None]) -> None:
    result = add.using(record="never").enqueue(1, 2)
    work("default")
    assert result.get(0) == 3

    assert result.forget() is True

    assert get_broker().snapshots("default", [result.id]) == {}


def test_a_dependent_reads_from_the_row_what_was_forgotten(work: Callable[..., None]) -> None:
    first = add.enqueue(1, 2)
    work("default")
    first.forget()

    with workflow() as w:
        last = w.add(shown.s(), after=first)
    work("default")

    assert last.get(0) == [3]


def test_an_empty_group_is_done(queue: TaskSettings) -> None:
    result = group().enqueue()

    assert (result.get(0), result.completed, result.first_error, result.forget()) == (
        [],
        0,
        None,
        0,
    )
    assert list(result.as_completed(0)) == []
    assert result.cancel() == 0


def test_a_group_inside_of_a_group_keeps_its_shape(work: Callable[..., None]) -> None:
    result = group(group(add.s(1, 2)), group()).enqueue()
    work("default")

    assert result.get(0) == [[3], []]
