"""The mirror on a database server: rows that others lock, deadlocks, connections that break."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_tasks.bridge import mirror as mirror_module
from django_tasks.bridge.databases import read_record
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.models import TaskRecord
from tests.bridge.steps import claimed, dirty, end, pushed
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has neither rows nor hosts"),
]


@pytest.fixture
def other() -> Iterator[Any]:
    """Another session of the same database."""
    made: Any = connections.create_connection("default")
    made.inc_thread_sharing()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _waits_for_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_skipping_until", {})


def key(record: TaskRecord) -> Any:
    """Its id as this database has it."""
    field = TaskRecord._meta.get_field("id")
    return field.get_db_prep_value(record.id, connection)


def lock(session: Any, record: TaskRecord) -> None:
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM django_tasks_taskrecord WHERE id = %s FOR UPDATE", [key(record)]
        )


def waits(session: Any) -> bool:
    """Whether anybody waits for a lock."""
    asked = {
        # Not innodb_trx, which is not renewed while somebody keeps asking.
        "mysql": "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'",
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()",
    }[connection.vendor]
    with session.cursor() as cursor:
        cursor.execute(asked)
        return int(cursor.fetchone()[-1]) > 0


def test_law_5_a_locked_row_goes_later_and_its_neighbours_are_written(
    broker: Broker, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "LOCK_TIMEOUT", 1)
    monkeypatch.setattr(mirror_module, "_skipping_until", {})
    records = [pushed(broker) for _ in range(4)]
    locked = records[1]
    other.set_autocommit(False)
    lock(other, locked)

    mirror(broker, "default", "default")

    assert set(TaskRecord.objects.ready()) == set(records) - {locked}
    assert dirty(broker) == [str(locked.id)]

    # For a while none is waited for: new rows are written at once.
    monkeypatch.setattr(mirror_module, "LOCK_TIMEOUT", 60)
    later = [pushed(broker) for _ in range(3)]
    began = time.monotonic()
    mirror(broker, "default", "default")
    assert time.monotonic() - began < 5
    assert set(TaskRecord.objects.ready()) == {*records, *later} - {locked}

    other.rollback()
    mirror(broker, "default", "default")
    assert set(TaskRecord.objects.ready()) == {*records, *later}
    assert dirty(broker) == []


def test_a_batch_that_lost_a_deadlock_is_written_again(broker: Broker, other: Any) -> None:
    records = [pushed(broker) for _ in range(3)]
    looker: Any = connections.create_connection("default")
    looker.inc_thread_sharing()
    failed: list[BaseException] = []

    def stand_in_the_way() -> None:
        try:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                # Heavier than the mirror, whose batch is what InnoDB gives up.
                for _ in range(20):
                    cursor.execute(
                        "UPDATE django_tasks_taskrecord SET priority = priority + 1 WHERE id = %s",
                        [key(records[2])],
                    )
                held.set()
                wait_until(lambda: waits(looker), message="the mirror waits")
                cursor.execute(
                    "UPDATE django_tasks_taskrecord SET priority = 7 WHERE id = %s",
                    [key(records[0])],
                )
            other.commit()
        except BaseException as error:
            failed.append(error)
        finally:
            looker.close()
            other.close()

    held = threading.Event()
    thread = threading.Thread(target=stand_in_the_way)
    thread.start()
    assert held.wait(10)

    written = mirror(broker, "default", "default")

    thread.join(10)
    assert (failed, written) == ([], 3)
    assert TaskRecord.objects.ready().count() == 3
    assert mirror_module._skipping_until == {}  # nobody holds a row for long
    assert dirty(broker) == []


def test_a_session_that_was_ended_is_replaced_and_the_batch_written(
    broker: Broker, other: Any, caplog: pytest.LogCaptureFixture
) -> None:
    records = [pushed(broker) for _ in range(3)]
    asked = {"mysql": "SELECT CONNECTION_ID()", "postgresql": "SELECT pg_backend_pid()"}
    ends = {"mysql": "KILL %s", "postgresql": "SELECT pg_terminate_backend(%s)"}
    with connection.cursor() as cursor:
        cursor.execute(asked[connection.vendor])
        [session] = cursor.fetchone()
    with other.cursor() as cursor:
        cursor.execute(ends[connection.vendor], [session])

    assert mirror(broker, "default", "default") == 3

    assert set(TaskRecord.objects.ready()) == set(records)
    assert caplog.records == []
    assert mirror_module._skipping_until == {}


def repeatable_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """This thread's next connection sees what was when its transaction began."""
    level: Any = "repeatable read"
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        level = IsolationLevel.REPEATABLE_READ
    options = {**connection.settings_dict.get("OPTIONS", {}), "isolation_level": level}
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    repeatable_read(monkeypatch)
    yield
    connection.close()


@pytest.mark.usefixtures("snapshots")
def test_law_5_under_repeatable_read_rows_are_asked_for_as_they_are(
    broker: Broker, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pushed(broker)
    [message] = claimed(broker)
    end(broker, message, return_value="3")
    written = mirror_module.update_records

    def after_another(rows: Any, using: str) -> int:
        list(TaskRecord.objects.values("status"))  # a snapshot, if one is taken
        with other.cursor() as cursor:
            cursor.execute(
                "UPDATE django_tasks_taskrecord SET status = 'CANCELLED' WHERE id = %s",
                [key(record)],
            )
        return written(rows, using)

    monkeypatch.setattr(mirror_module, "update_records", after_another)

    mirror(broker, "default", "default")

    assert TaskRecord.objects.get().status == "CANCELLED"
    [snapshot] = broker.snapshots("default", [str(record.id)]).values()
    assert snapshot.state == "CANCELLED"  # final is final: the message was finished with it
    assert dirty(broker) == []


@pytest.mark.usefixtures("snapshots")
def test_a_row_is_read_as_it_is_also_inside_a_snapshot(broker: Broker, other: Any) -> None:
    record = pushed(broker)

    with transaction.atomic():
        assert TaskRecord.objects.get().status == "PENDING"
        with other.cursor() as cursor:
            cursor.execute("UPDATE django_tasks_taskrecord SET status = 'FAILED'")
        assert TaskRecord.objects.get().status == "PENDING"

        found = read_record(record.id, "default")
        made = TaskRecord.objects.create(task_name="t")
        ours = read_record(made.id, "default")

        assert found is not None
        assert found.status == "FAILED"
        assert ours == made
        assert TaskRecord.objects.count() == 2  # on the connection that it was
