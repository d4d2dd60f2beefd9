"""to_message and to_row: what is enqueued, and what comes back, walked round."""

from __future__ import annotations

import uuid
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from django_tasks.bridge.translate import (
    to_attempts,
    to_message,
    to_record,
    to_row,
)
from django_tasks.broker import Broker
from django_tasks.broker.message import Message
from django_tasks.broker.snapshot import Snapshot
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import MIRRORED, TOLD

SETTINGS = TaskSettings(broker="redis://127.0.0.1:1/0", prefix="t", release="r7", result_ttl=60)

texts = strategies.text(strategies.characters(), max_size=30)  # surrogates and NUL too
leaves = strategies.none() | strategies.booleans() | strategies.integers(-(2**70), 2**70) | texts
values = strategies.recursive(
    leaves | strategies.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
moments = strategies.none() | strategies.datetimes(
    datetime(1971, 1, 1), datetime(2254, 1, 1), timezones=strategies.just(UTC)
)
records = strategies.builds(
    TaskRecord,
    id=strategies.uuids(),
    task_name=strategies.just("tests.tasks.add"),
    queue_name=strategies.just("default"),
    description=texts,
    priority=strategies.integers(-100, 100),
    args=strategies.lists(values, max_size=3),
    kwargs=strategies.dictionaries(texts, values, max_size=3),
    max_attempts=strategies.integers(1, 1000),
    run_after=moments,
    expires=moments,
    enqueued_at=moments,
    round=strategies.integers(1, 9),
    attempt=strategies.integers(0, 9),
    lost=strategies.integers(0, 9),
    revision=strategies.integers(0, 2**52),
    fence=strategies.integers(0, 2**52),
    metadata=strategies.dictionaries(texts, values, max_size=2),
    headers=strategies.none()
    | strategies.dictionaries(texts.filter(lambda text: text != "parent"), values, min_size=1),
    parent_id=strategies.none() | strategies.uuids(),
    release=strategies.sampled_from(["r7", "r6", "r" * 100]),
)

WALKED = (
    "id task_name queue_name priority args kwargs max_attempts expires enqueued_at round attempt"
    " lost description metadata headers parent_id release"
).split()


def snapshot_of(message: Message, **raw: bytes) -> Snapshot:
    """What HGETALL would say of a pushed message."""
    sent = [text.encode("utf-8", "surrogatepass") for text in message.to_fields()]
    hashed = dict(zip(sent[::2], sent[1::2], strict=True))
    state = {b"state": b"READY"}
    return Snapshot.from_hash(
        message.id, {**hashed, **state, **{name.encode(): value for name, value in raw.items()}}
    )


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=records)
def test_a_record_walked_to_a_message_and_back_is_the_same(record: TaskRecord) -> None:
    message = to_message(record, SETTINGS, recording="after")

    back = to_record(snapshot_of(message), "default")

    assert {name: getattr(back, name) for name in WALKED} == {
        name: getattr(record, name) for name in WALKED
    }
    assert back.run_after == record.run_after
    assert (back.revision, back.fence) == (record.revision, record.fence)


@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=records)
def test_a_claimed_message_is_the_one_that_was_pushed(record: TaskRecord) -> None:
    message = to_message(record, SETTINGS)
    fields = [text.encode("utf-8", "surrogatepass") for text in message.to_fields()]

    claimed = Message.from_claim([message.id.encode(), b"7", b"", fields], "default")

    assert claimed == replace(message, fence=7, revision=7)
    assert message.decoded_arguments() == (record.args, record.kwargs)


def test_every_option_of_a_record_travels() -> None:
    later = datetime(2030, 1, 2, tzinfo=UTC)
    record = TaskRecord(
        task_name="a.b",
        queue_name="mail",
        priority=-5,
        args=[1],
        kwargs={"x": 2},
        run_after=later,
        expires=later + timedelta(days=1),
        max_attempts=4,
        round=2,
        fence=11,
        revision=12,
        attempt=1,
        lost=2,
        enqueued_at=later - timedelta(days=1),
        description="b(1, x=2)",
        metadata={"max_lost": 9, "backoff": [1.0, 2.0, 60.0, True]},
        headers={"view": "shop:buy"},
        parent_id=uuid.UUID(int=7),
        release="r6",
    )

    record.metadata["inputs"] = "values:1"

    message = to_message(
        record,
        SETTINGS,
        recording="after",
        database="other",
        parents="p:success:0",
        dependents="c:",
    )

    assert {one.name: getattr(message, one.name) for one in fields(message)} == {
        "id": str(record.id),
        "task": "a.b",
        "queue": "mail",
        "args": "[1]",
        "kwargs": '{"x":2}',
        "priority": -5,
        "run_after": later,
        "expires": later + timedelta(days=1),
        "max_attempts": 4,
        "max_lost": 9,
        "backoff": "[1.0,2.0,60.0,true]",
        "record": "after",
        "database": "other",
        "round": 2,
        "fence": 11,
        "revision": 12,
        "attempt": 1,
        "lost": 2,
        "suspect": False,
        "enqueued_at": later - timedelta(days=1),
        "description": "b(1, x=2)",
        "release": "r6",
        "ttl": 60,
        "metadata": '{"max_lost":9,"backoff":[1.0,2.0,60.0,true],"inputs":"values:1"}',
        "parents": "p:success:0",
        "dependents": "c:",
        "inputs": "values:1",
        "given": None,
        "headers": '{"view":"shop:buy","parent":"00000000-0000-0000-0000-000000000007"}',
        "version": 1,
        "doubt": False,
        "is_recorded": False,
        "broken": "",
    }


def test_times_of_a_project_without_zones_are_aware_in_messages(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    noon = datetime(2030, 1, 2, 12)
    record = TaskRecord(
        task_name="a.b", run_after=noon, expires=noon, enqueued_at=noon, created_at=noon
    )

    message = to_message(record, SETTINGS, recording="after")

    three = datetime(2030, 1, 2, 3, tzinfo=UTC)
    assert (message.run_after, message.expires, message.enqueued_at) == (three,) * 3
    assert message.run_after is not None
    assert message.run_after.tzinfo is UTC
    us = str(round(three.timestamp() * 1_000_000)).encode()
    run = b'{"outcome":"failed","finished_at":%b}' % us
    found = snapshot_of(message, started_at=us, finished_at=us, run_after=us, **{"attempt:7": run})
    row = dict(zip(MIRRORED, to_row(found), strict=True))
    text = noon.isoformat()
    assert (row["run_after"], row["started_at"], row["finished_at"]) == (text,) * 3
    back = to_record(found, "default")
    assert (back.expires, back.enqueued_at, back.created_at) == (noon,) * 3
    [attempt] = to_attempts(found)
    assert dict(zip(TOLD, attempt, strict=True))["finished_at"] == text


def test_what_the_row_has_already_does_not_travel() -> None:
    record = TaskRecord(task_name="a.b", description="b()", metadata={"release": "x"})

    assert to_message(record, SETTINGS).description == ""
    assert to_message(record, SETTINGS).metadata == "{}"
    assert to_message(record, SETTINGS, recording="never").database == ""


def test_a_row_has_a_value_for_each_column_that_is_mirrored() -> None:
    snapshot = snapshot_of(to_message(TaskRecord(task_name="a.b"), SETTINGS), return_value=b"[3]")

    row = dict(zip(MIRRORED, to_row(snapshot), strict=True))

    assert row["id"] == snapshot.id
    assert (row["status"], row["return_value"], row["attempt"]) == ("READY", "[3]", 0)


def test_a_message_that_nobody_can_read_becomes_a_row_with_its_fields_bounded() -> None:
    raw = {f"field{i}".encode(): b"x" * 2000 for i in range(100)}
    said = {b"state": b"FAILED", b"record": b"unreadable", b"no": b"\xff"}
    snapshot = Snapshot.from_hash(str(uuid.uuid4()), {**raw, **said})

    record = to_record(snapshot, "mail")

    shown = record.metadata["message"]
    assert (record.task_name, record.queue_name, record.status) == ("?", "mail", "FAILED")
    assert len(shown) == 50
    assert {len(text) for text in shown.values()} == {1000}


@pytest.mark.django_db
def test_the_walk_through_a_real_broker(broker: Broker) -> None:
    record = TaskRecord(
        task_name="tests.tasks.add",
        args=["\ud800\x00ü"],
        kwargs={"ß": [None]},
        description="add('ü')",
        priority=3,
    )
    broker.push("default", [to_message(record, broker.settings, recording="after")])

    [snapshot] = broker.snapshots("default", [str(record.id)]).values()
    [message] = broker.claim("default", "c")
    back = to_record(snapshot, "default")

    assert (back.id, back.args, back.kwargs) == (record.id, record.args, record.kwargs)
    assert (back.description, back.priority, back.status) == ("add('ü')", 3, "READY")
    assert message.decoded_arguments() == (record.args, record.kwargs)
