"""atomic: the body and its SUCCESSFUL in one transaction: effects are there once (law 7)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_tasks import django_task, enqueue_many
from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from django_tasks.errors import InvalidTaskOptions
from django_tasks.models import TaskRecord
from django_tasks.states import State
from django_tasks.worker.burst import burst
from django_tasks.worker.execute import execute
from tests.waiting import wait_until
from tests.worker import counting
from tests.worker.conftest import MakeSite
from tests.worker.counting import count, counted


@pytest.fixture
def counter(transactional_db: None) -> Iterator[None]:
    counting.make_counter()
    yield
    counting.drop_counter()


@pytest.fixture
def claimed(counter: None, queue: TaskSettings) -> Iterator[Any]:
    """Enqueue a call and claim it."""
    broker = Broker(queue)
    broker.beat(["default"], ["a"], register=True)

    def make(*args: Any) -> tuple[TaskRecord, Message]:
        result = count.enqueue(*args)
        [message] = broker.claim("default", "a", 1)
        return TaskRecord.objects.get(id=result.id), message

    yield make
    TaskRecord.objects.all().delete()
    broker.close()


def run(message: Message, queue: TaskSettings) -> Outcome:
    return execute(message, "a", queue)


def test_law_7_the_row_is_successful_as_soon_as_the_effect_is_there(
    claimed: Any, queue: TaskSettings
) -> None:
    record, message = claimed()

    outcome = run(message, queue)

    record.refresh_from_db()
    assert (record.status, record.return_value, counted()) == ("SUCCESSFUL", "counted", 1)
    assert (record.worker_id, record.fence) == ("a", message.fence)
    assert record.started_at <= record.finished_at
    assert [one.outcome for one in record.attempts.all()] == ["succeeded"]
    assert outcome.word == "succeeded"


def test_law_7_a_run_that_is_repeated_counts_once(claimed: Any, queue: TaskSettings) -> None:
    record, message = claimed()
    run(message, queue)  # and its child is killed before the ack

    outcome = run(message, queue)

    assert (outcome.word, counted()) == ("settled", 1)
    record.refresh_from_db()
    assert record.status == "SUCCESSFUL"


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED", "EXPIRED"])
def test_law_7_what_the_row_says_meanwhile_undoes_the_body(
    claimed: Any, queue: TaskSettings, state: str
) -> None:
    record, message = claimed()
    TaskRecord.objects.filter(id=record.id).update(status=state)

    outcome = run(message, queue)

    record.refresh_from_db()
    assert (outcome.word, record.status, counted()) == ("settled", state, 0)


def test_law_7_a_later_round_undoes_the_body_of_an_earlier_one(
    claimed: Any, queue: TaskSettings
) -> None:
    record, message = claimed()
    TaskRecord.objects.filter(id=record.id).update(round=2, status="PENDING")

    assert (run(message, queue).word, counted()) == ("settled", 0)


def test_law_7_a_row_that_is_gone_undoes_the_body(claimed: Any, queue: TaskSettings) -> None:
    record, message = claimed()
    record.delete()

    assert (run(message, queue).word, counted()) == ("dropped", 0)


@pytest.mark.parametrize(("what", "word"), [("fail", "failed"), ("retry", "failed")])
def test_an_error_undoes_the_body(claimed: Any, queue: TaskSettings, what: str, word: str) -> None:
    record, message = claimed(what)

    outcome = run(message, queue)

    record.refresh_from_db()
    assert (outcome.word, counted()) == (word, 0)
    assert record.status not in ("SUCCESSFUL", "FAILED"), "the mirror writes that"


@pytest.mark.parametrize(
    "how",
    [
        {"sqlstate": "40001"},
        {"sqlstate": "40P01"},
        {"number": 1213},
        {"number": 1020},
        {"text": "database is locked"},
    ],
    ids=str,
)
def test_a_conflict_runs_the_body_anew_uncharged(
    claimed: Any, queue: TaskSettings, how: Any
) -> None:
    record, message = claimed()
    for _ in range(3):
        counting.fail_next(**how)

    outcome = run(message, queue)

    assert (outcome.word, counted()) == ("succeeded", 1)
    record.refresh_from_db()
    assert (record.status, record.attempt) == ("SUCCESSFUL", 0)


def test_any_other_error_of_the_database_is_the_tasks(claimed: Any, queue: TaskSettings) -> None:
    _, message = claimed()
    counting.fail_next(text="disk full")

    assert (run(message, queue).word, counted()) == ("failed", 0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="ends a session within its COMMIT")
def test_law_7_a_commit_that_is_cut_off_is_found_out_later(
    claimed: Any, queue: TaskSettings
) -> None:
    record, message = claimed()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION uncut_cut() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER uncut_cut AFTER UPDATE ON uncut_counter"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION uncut_cut()"
        )

    outcome = run(message, queue)

    record.refresh_from_db()
    assert (outcome.word, outcome.delay > 0, outcome.fields) == ("snoozed", True, {})
    assert (record.status, counted()) == ("PENDING", 0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER uncut_cut ON uncut_counter")
        cursor.execute("DROP FUNCTION uncut_cut")
    assert (run(message, queue).word, counted()) == ("succeeded", 1)


def test_a_burst_runs_atomic_tasks_too(counter: None, queue: TaskSettings) -> None:
    results = enqueue_many([count.s() for _ in range(20)])

    burst(queue, ["default"])

    assert counted() == 20
    assert {result.get(timeout=1) for result in results} == {"counted"}
    TaskRecord.objects.all().delete()


@pytest.mark.parametrize(
    "options", [{"record": "after"}, {"record": "never"}, {"atomic": "yes"}, {"atomic": 1}], ids=str
)
def test_what_can_not_be_atomic_fails_at_import(options: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="atomic"):

        @django_task(**{"atomic": True, **options})
        def refused() -> None: ...


def test_async_functions_can_not_be_atomic() -> None:
    with pytest.raises(InvalidTaskOptions, match="plain functions"):
        django_task(atomic=True, name="refused")(_async_task)


async def _async_task() -> None: ...


def test_the_setting_record_must_not_say_otherwise(settings: Any, queue: TaskSettings) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "RECORD": "after"}

    with pytest.raises(InvalidTaskOptions, match="RECORD"):
        django_task(atomic=True, name="refused")(_plain_task)
    assert django_task(atomic=True, record="first", name="accepted")(_plain_task)


def _plain_task() -> None: ...


def test_one_call_can_not_be_made_atomic() -> None:
    with pytest.raises(InvalidTaskOptions, match="belongs to the task"):
        count.using(atomic=False)


@pytest.mark.parametrize(
    "total", [60, pytest.param(1000, marks=pytest.mark.faults)], ids=["few", "thousand"]
)
def test_law_7_each_counts_once_whatever_is_killed(
    make_site: MakeSite, counter: None, total: int
) -> None:
    chance = random.Random(total)
    site = make_site(tasks={"MODULES": ["tests.worker.counting"], "LEASE": 1.0})
    workers = [site.start("--processes", "2") for _ in range(2)]
    call = count.using(max_lost=1000).s("", 0.005)  # chance may hit one of them three times
    results = enqueue_many([call] * total)
    ids = [result.id for result in results]
    kills = 0

    def is_done() -> bool:
        nonlocal kills
        left = TaskRecord.objects.filter(id__in=ids).exclude(status=State.SUCCESSFUL).count()
        if left and chance.random() < 0.2:
            kills += 1
            _kill_something(site, workers, chance)
        return not left

    wait_until(is_done, 30.0 + total / 10, "all are successful")

    assert kills > 0
    assert counted() == total
    print(f"{total} counted once, {kills} kills, on {connection.vendor}")


def _kill_something(site: Any, workers: list[Any], chance: random.Random) -> None:
    pids = [*site.consumers().values()]
    what = chance.choice(["child", "child", "connections", "broker", "keeper", "worker"])
    if what == "child" and pids:
        _kill(chance.choice(pids))
    elif what == "keeper":
        _kill(site.keeper(workers[-1]) or 0)
    elif what == "worker":
        victim = workers.pop(0)
        workers.append(site.start("--processes", "2"))
        victim.kill_group()
    elif what == "broker":
        site.broker.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    elif what == "connections" and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    elif what == "connections" and connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist"
                " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for [session] in cursor.fetchall():
                with contextlib.suppress(OperationalError):  # it ended by itself
                    cursor.execute("KILL %s", [session])


def _kill(pid: int) -> None:
    try:
        if pid:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
