"""Two databases, on two servers where they are there: each serves its tasks, one may be away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from django_tasks.broker import Broker
from django_tasks.models import TaskRecord
from django_tasks.worker import duties
from django_tasks.worker.duties import Deliverer
from tests import databases
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import TASKS, WAIT, Site


@pytest.fixture
def other(tmp_path: Path, transactional_db: None) -> Iterator[str]:
    with databases.other_database(tmp_path, on_server=True) as alias:
        yield alias


@pytest.fixture
def site(make_site: MakeSite, other: str) -> Site:
    """A project whose records are in the transaction of the caller."""
    return make_site(tasks={"DATABASE": "same"}, others={other: settings_of(other)})


def settings_of(alias: str, **given: Any) -> dict[str, Any]:
    shown = connections[alias].settings_dict
    return {**{name: shown[name] for name in shown if name != "TEST"}, **given}


def away(alias: str) -> dict[str, Any]:
    """The settings of a database that can't be reached."""
    if connections[alias].vendor == "sqlite":
        return settings_of(alias, NAME="/nowhere/at/all.sqlite3")
    return settings_of(alias, PORT="1")


def enqueue_in(database: str, number: int) -> Any:
    with transaction.atomic(using=database):
        return tasks.add.enqueue(number, number)


def test_rows_of_both_are_mirrored_and_delivered(site: Site, other: str) -> None:
    for database in ("default", other):  # committed, and never pushed
        TaskRecord.objects.using(database).create(task_name=f"{TASKS}.add", args=[40, 2])
    lost = {one: TaskRecord.objects.using(one).get() for one in ("default", other)}
    site.start("--processes", "1")

    results = {one: [enqueue_in(one, i) for i in range(5)] for one in ("default", other)}

    for database in ("default", other):
        for i, result in enumerate(results[database]):
            assert result.database == database
            assert site.record(result, "SUCCESSFUL").return_value == 2 * i
        delivered = TaskRecord.objects.using(database).filter(id=lost[database].id)
        wait_until(delivered.filter(status="SUCCESSFUL", return_value=42).exists, WAIT)
        assert TaskRecord.objects.using(database).count() == 6


def test_a_rollback_leaves_nothing_to_either(site: Site, other: str) -> None:
    site.start("--processes", "1")
    for database in ("default", other):
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=database):
            tasks.add.enqueue(1, 2)
            raise ZeroDivisionError

    kept = [enqueue_in(database, 3) for database in ("default", other)]

    for result in kept:
        site.record(result, "SUCCESSFUL")
        assert TaskRecord.objects.using(result.database).count() == 1
    assert site.count("runs") == 2


def test_one_that_is_away_stops_no_task_and_no_row_of_the_other(site: Site, other: str) -> None:
    site.others = {other: away(other)}
    worker = site.start("--processes", "1")

    far, near = enqueue_in(other, 1), enqueue_in("default", 2)

    assert site.value(far) == 2  # told by the broker
    assert site.record(near, "SUCCESSFUL").return_value == 4
    worker.wait_for_line(f"The mirror of {other!r} waits")
    later = enqueue_in("default", 3)
    assert site.record(later, "SUCCESSFUL").return_value == 6
    lost = TaskRecord.objects.create(task_name=f"{TASKS}.add", args=[40, 2])
    rows = TaskRecord.objects.filter(id=lost.id, status="SUCCESSFUL")
    wait_until(rows.exists, WAIT)  # delivery goes on too
    assert TaskRecord.objects.using(other).get().status == "PENDING"
    assert worker.lines("Traceback") == []
    worker.terminate()
    assert worker.ended(30) == 0

    site.others = {other: settings_of(other)}
    site.start("--processes", "1")

    assert site.record(far, "SUCCESSFUL").return_value == 2


def test_law_2_new_rows_are_relayed_though_another_database_is_away(site: Site, other: str) -> None:
    broker = Broker(site.broker.settings)
    deliverer = Deliverer(broker, ["default"])
    known = connections.databases[other]
    connections[other].close()
    connections.databases[other] = {**known, **away(other)}
    del connections[other]

    for times in (1, 2, 3):
        TaskRecord.objects.create(task_name=f"{TASKS}.add", args=[1, 2])
        with pytest.raises(DatabaseError):
            deliverer.relay()
        assert broker.backlog("default")["ready"] == times

    assert deliverer.relay_passes == 0  # a burst must not end before it looked into all
    connections.databases[other] = known
    del connections[other]
    broker.close()


def test_law_6_rows_are_delivered_anew_though_another_database_is_away(
    site: Site, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "QUIET", 0)
    monkeypatch.setattr(duties, "_away", {})
    queues = ("default", "mail")
    for queue in queues:
        TaskRecord.objects.create(task_name=f"{TASKS}.add", args=[1, 2], queue_name=queue)
    TaskRecord.objects.using(other).create(task_name=f"{TASKS}.add", args=[3, 4])
    broker = Broker(site.broker.settings)
    broker.announce(queues)
    deliverer = Deliverer(broker, ["default"])
    known = connections.databases[other]
    connections[other].close()
    connections.databases[other] = {**known, **away(other)}
    del connections[other]

    for _ in range(2):
        with pytest.raises(DatabaseError):
            deliverer.rebuild()

    assert [broker.backlog(queue)["ready"] for queue in queues] == [1, 1]
    pulses = broker.beat(queues, [])
    assert all(pulse.delivered != pulse.era for pulse in pulses.values())

    connections.databases[other] = known
    connections[other].close()
    del connections[other]
    monkeypatch.setattr(duties, "_away", {})
    deliverer.rebuild()

    assert [broker.backlog(queue)["ready"] for queue in queues] == [2, 1]
    pulses = broker.beat(queues, [])
    assert all(pulse.delivered == pulse.era for pulse in pulses.values())
    broker.close()


def test_one_that_hangs_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    asked: list[tuple[str, float]] = []
    monkeypatch.setattr(duties, "_away", {})
    monkeypatch.setattr(duties.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(duties, "record_databases", lambda: ["default", "other"])

    def visit(database: str) -> None:
        asked.append((database, clock[0]))
        if database == "other":
            clock[0] += 3.0  # a connection that nobody answers
            raise DatabaseError("timeout")

    for _ in range(34):
        with pytest.raises(DatabaseError):
            duties.each_database(visit)
        clock[0] += 1.0

    assert [at for database, at in asked if database == "other"] == [100.0, 133.0]
    assert len([database for database, _ in asked if database == "default"]) == 34
