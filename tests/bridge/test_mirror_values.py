"""Values that a database refuses, rows that are locked, text that is no text (laws 5, 8)."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from django.db import connection, connections

from django_tasks.bridge import mirror as mirror_module
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker
from django_tasks.models import TaskRecord
from tests.bridge.steps import (
    claimed,
    dirty,
    end,
    pushed,
)

pytestmark = pytest.mark.django_db


# -- values that a database refuses, rows that are locked --------------------------------------


def refuse_value(
    broker: Broker, redis_client: Any, record: TaskRecord, name: str, text: str
) -> None:
    redis_client.hset(broker.keys("default").message(str(record.id)), name, text)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("return_value", "1e999"),  # no database has infinity in JSON
        ("return_value", "[" * 100_000 + "]" * 100_000),  # deeper than Python walks
    ],
)
def test_law_5_a_refused_value_is_noted_and_its_neighbours_are_written(
    broker: Broker, redis_client: Any, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    caplog.set_level(logging.WARNING)
    records = [pushed(broker) for _ in range(5)]
    for message in claimed(broker, 5):
        end(broker, message, return_value='"good"')
    poisoned = records[2]
    refuse_value(broker, redis_client, poisoned, name, text)

    mirror(broker, "default", "default")

    values = {row.id: row.return_value for row in TaskRecord.objects.successful()}
    assert len(values) == 5
    assert dirty(broker) == []
    assert "refused" in values.pop(poisoned.id)
    assert set(values.values()) == {"good"}
    warnings = {one.__dict__["message_id"] for one in caplog.records}
    assert warnings == {str(poisoned.id)}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no single row")
@pytest.mark.django_db(transaction=True)
def test_law_5_a_locked_row_goes_later_and_its_neighbours_are_written(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "LOCK_TIMEOUT", 1)
    monkeypatch.setattr(mirror_module, "_skipping_until", {})
    records = [pushed(broker) for _ in range(4)]
    locked = records[1]
    other: Any = connections.create_connection("default")
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM django_tasks_taskrecord WHERE id = %s FOR UPDATE", [locked.id]
        )

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
    other.close()
    mirror(broker, "default", "default")
    assert set(TaskRecord.objects.ready()) == {*records, *later}
    assert dirty(broker) == []


@pytest.mark.django_db(transaction=True)
def test_law_5_any_text_comes_back_equal(broker: Broker) -> None:
    nasty = "a\x00b \ud800 \udfff c\ue01bd \ue01b0000 \U0001f600 \\u0000"
    record = pushed(broker, "first", args=[nasty, {nasty: [nasty]}], description=nasty)
    [message] = claimed(broker)
    end(
        broker,
        message,
        "failed",
        return_value=json.dumps({nasty: [nasty]}),
        error_class="ValueError",
        error_message=nasty,
        traceback=nasty,
    )

    mirror(broker, "default", "default")

    record.refresh_from_db()
    assert record.return_value == {nasty: [nasty]}
    assert (record.error_message, record.traceback, record.description) == (nasty,) * 3
    assert record.args == [nasty, {nasty: [nasty]}]
    [attempt] = record.attempts.all()
    assert attempt.traceback == nasty


def test_law_8_foreign_things_among_the_marks_stop_nobody(
    broker: Broker, redis_client: Any
) -> None:
    keys = broker.keys("default")
    redis_client.hset(keys.message("not-a-uuid"), mapping={"state": "READY", "database": "default"})
    strange = pushed(broker)
    redis_client.hset(keys.message(str(strange.id)), "state", "DANCING")
    redis_client.lpush(keys.message("a-list"), "x")
    for name in ("not-a-uuid", "a-list", "nothing-at-all"):
        redis_client.zadd(keys.dirty("default"), {name: 1})
    good = pushed(broker)

    mirror(broker, "default", "default")

    good.refresh_from_db()
    assert good.status == "READY"
    assert dirty(broker) == []
