"""Databases: connections are cared for as Django does per request; one away stops nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from django_tasks.models import TaskRecord
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import WAIT


@pytest.mark.parametrize(("age", "is_kept"), [(0, False), (None, True)])
def test_connections_are_closed_or_kept_as_conn_max_age_says(
    make_site: MakeSite, age: int | None, is_kept: bool
) -> None:
    site = make_site(database={"CONN_MAX_AGE": age})
    site.start("--processes", "1")

    first = site.value(tasks.use_connection.enqueue("mark"))
    second = site.value(tasks.use_connection.enqueue("look"))

    assert first["is_marked"]
    assert second["is_marked"] is is_kept
    assert first["pid"] == second["pid"]


def test_a_connection_that_broke_is_replaced(make_site: MakeSite) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("Django takes every SQLite connection for usable: there is nothing to break")
    site = make_site(database={"CONN_MAX_AGE": None})
    site.start("--processes", "1")
    before = site.value(tasks.use_connection.enqueue("mark"))

    broken = tasks.break_connection.enqueue()

    assert site.record(broken, "FAILED").error_class.startswith("django.db.utils.")
    after = site.value(tasks.use_connection.enqueue("look"))
    assert after["pid"] == before["pid"]
    assert not after["is_marked"]


def test_a_transaction_left_open_does_not_reach_the_next_task(make_site: MakeSite) -> None:
    site = make_site(database={"CONN_MAX_AGE": None})
    site.start("--processes", "1")

    left = tasks.leave_transaction_open.enqueue()

    record = site.record(left, "FAILED")
    assert record.error_class == "django.db.transaction.TransactionManagementError"
    assert "leave_transaction_open() left a transaction open on 'default'" in record.error_message
    assert site.value(tasks.use_connection.enqueue("look"))["in_transaction"] is False
    assert TaskRecord.objects.filter(task_name="written and lost").count() == 0


def test_a_database_that_refuses_stops_no_task_that_needs_none(make_site: MakeSite) -> None:
    given: dict[str, Any] = {"NAME": "/nowhere/at/all.sqlite3"}
    if connection.vendor != "sqlite":
        given = {"PORT": "1"}
    site = make_site(database=given)
    worker = site.start("--processes", "1")

    results = [tasks.add.enqueue(i, i) for i in range(5)]
    needy = tasks.count_rows.enqueue()

    assert [site.value(one) for one in results] == [0, 2, 4, 6, 8]
    worker.wait_for_line("The mirror waits")
    wait_until(lambda: worker.lines(" WARNING ", needy.id, "failed (attempt 1 of 4)"), WAIT)
    assert set(TaskRecord.objects.values_list("status", flat=True)) == {"PENDING"}
    quiet = [line for line in worker.lines(" WARNING ") if needy.id not in line]
    assert len(quiet) <= 5, worker.log  # one of the mirror, one of each duty
    assert worker.lines("Traceback") == []
    worker.terminate()
    assert worker.ended(30) == 0

    site.database = {}
    site.start("--processes", "1")
    for i, one in enumerate(results):
        record = site.record(one, "SUCCESSFUL")
        assert (record.return_value, site.attempts(record)) == (2 * i, ["succeeded"])


def test_a_locked_database_is_waited_for_and_caught_up_with(make_site: MakeSite) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("one lock for all rows is SQLite's own; locked rows are the mirror's tests")
    options = {**connection.settings_dict["OPTIONS"], "timeout": 0.2}
    site = make_site(database={"OPTIONS": options})
    worker = site.start("--processes", "1")
    results = [tasks.hold.enqueue(f"lock{i}") for i in range(4)]
    site.wait_for("began lock0")

    with transaction.atomic():  # IMMEDIATE: nobody else may write
        for i in range(4):
            site.let_go(f"lock{i}")
        for i in range(4):
            site.wait_for(f"ended lock{i}")
        worker.wait_for_line("The mirror waits: database is locked")

    for one in results:
        site.record(one, "SUCCESSFUL")
    worker.wait_for_line("The mirror goes on")
    assert len(worker.lines(" WARNING ")) <= 4, worker.log
    assert worker.lines("Traceback") == []


@pytest.mark.parametrize("has_pool", [False, True], ids=["connection", "pool"])
def test_what_importing_the_project_opened_is_not_shared(
    make_site: MakeSite, has_pool: bool
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("sessions have numbers on PostgreSQL; for SQLite see test_supervisor.py")
    given: dict[str, Any] = {"CONN_MAX_AGE": None}
    if has_pool:
        pytest.importorskip("psycopg_pool", reason="psycopg's pool is a distribution of its own")
        given = {"OPTIONS": {"pool": {"min_size": 1, "max_size": 3}}}
    site = make_site(database=given, settings={"UNCUT_TOUCHES_DATABASE": True})
    worker = site.start("--processes", "2")
    calls = [tasks.tell_session.enqueue(key) for key in ("one", "other")]
    for key in ("one", "other"):
        site.wait_for(f"began {key}")  # both children are at it
    for key in ("one", "other"):
        site.let_go(key)

    sessions = {site.value(one) for one in calls}

    [opened] = site.told("import opened a connection")
    assert opened.pid == worker.pid
    assert len(sessions) == 2
    worker.terminate()
    assert worker.ended(10) == 0
    assert worker.lines("Traceback") == []
