"""Values that a database refuses, rows that are locked, text that is no text (laws 5, 8)."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.db import connection

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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1e999", None),
        # Deeper than MariaDB's JSON functions look, and MySQL's JSON holds.
        ("[" * 150 + "]" * 150, "[" * 150 + "]" * 150),
        ("1" + "0" * 30, "1" + "0" * 30),  # MySQL's JSON rounds what has more than 64 bits
    ],
)
def test_law_5_the_row_that_the_mirror_makes_holds_any_value_or_a_note(
    broker: Broker, redis_client: Any, text: str, kept: str | None
) -> None:
    records = [pushed(broker, "after") for _ in range(3)]
    for message in claimed(broker, 3):
        end(broker, message, return_value='"good"')
    refuse_value(broker, redis_client, records[1], "return_value", text)

    mirror(broker, "default", "default")

    values = {row.id: row.return_value for row in TaskRecord.objects.successful()}
    found = values.pop(records[1].id)
    assert list(values.values()) == ["good", "good"]
    assert "refused" in found if kept is None else found == json.loads(kept)
    assert dirty(broker) == []


@pytest.mark.skipif(connection.vendor != "mysql", reason="max_allowed_packet is MySQL's")
@pytest.mark.django_db(transaction=True)
def test_law_5_a_value_larger_than_a_packet_is_noted(broker: Broker) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        [limit] = cursor.fetchone()
    records = [pushed(broker) for _ in range(3)]
    for message in claimed(broker, 3):
        is_poison = message.id == str(records[1].id)
        end(broker, message, return_value=f'"{"x" * limit}"' if is_poison else '"good"')

    while mirror(broker, "default", "default"):
        pass

    values = {row.id: row.return_value for row in TaskRecord.objects.successful()}
    assert "refused" in values.pop(records[1].id)
    assert list(values.values()) == ["good", "good"]
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
