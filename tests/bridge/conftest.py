"""What tests of the bridge may ask for: the broker of ``queue``, a consumer, a second database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskAttempt, TaskRecord
from tests.bridge.steps import Interrupted


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


@pytest.fixture
def interrupted(queue: TaskSettings) -> Iterator[Callable[..., Interrupted]]:
    """Makes brokers to which something happens between two steps of the mirror."""
    made: list[Interrupted] = []

    def make(**steps: Callable[[], object]) -> Interrupted:
        made.append(Interrupted(queue, **steps))
        return made[-1]

    yield make
    for one in made:
        one.close()
