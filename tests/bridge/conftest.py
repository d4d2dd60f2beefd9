"""What tests of the bridge may ask for: the broker of ``queue``, a consumer, a second database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_tasks.bridge.translate import to_message
from django_tasks.broker import Broker
from django_tasks.broker.message import Message
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.models.bulk import insert_records


@pytest.fixture
def broker(queue: TaskSettings) -> Iterator[Broker]:
    """The broker that enqueues use here, with a consumer "c" that may claim."""
    made = Broker(queue)
    made.beat(["default"], ["c"], register=True)
    yield made
    made.close()


@pytest.fixture
def other_database(tmp_path: Path) -> Iterator[str]:
    """The alias of a second database that has our tables."""
    settings = {
        **connections.databases["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "other.sqlite3"),
        "OPTIONS": {},
        "CONN_MAX_AGE": None,
    }
    connections.databases["other"] = settings
    connection: Any = connections["other"]
    connection.connect()  # directly: a test may not connect to an alias its marker does not name
    with connection.schema_editor() as editor:
        editor.create_model(TaskRecord)
        editor.create_model(TaskAttempt)
    yield "other"
    connection.close()
    del connections.databases["other"]
    del connections["other"]


def written(settings: TaskSettings, **given: Any) -> TaskRecord:
    """A committed row that the broker does not know."""
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2], description="add(1, 2)")
    for name, value in given.items():
        setattr(record, name, value)
    insert_records([record], using="default")
    return record


def pushed(broker: Broker, recording: str = "first", **given: Any) -> TaskRecord:
    """A row and its message, as an enqueue leaves them after the commit."""
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2], description="add(1, 2)")
    for name, value in given.items():
        setattr(record, name, value)
    if recording == "first":
        insert_records([record], using="default")
    broker.push("default", [to_message(record, broker.settings, recording=recording)])
    return record


def claimed(broker: Broker, limit: int = 1) -> list[Message]:
    """What the consumer "c" takes now."""
    return broker.claim("default", "c", limit)
