"""What tests of the bridge may ask for: the broker of ``queue``, a consumer, a second database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from tests import databases
from tests.bridge.steps import Interrupted
from tests.ops.conftest import take_table_away as take_table_away


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
    with databases.other_database(tmp_path, on_server=False) as alias:
        yield alias


@pytest.fixture
def third_database(tmp_path: Path) -> Iterator[str]:
    """One more."""
    with databases.other_database(tmp_path, "third", on_server=False) as alias:
        yield alias


@pytest.fixture
def database_elsewhere(tmp_path: Path) -> Iterator[str]:
    """A second database, on another server if there is one."""
    with databases.other_database(tmp_path, on_server=True) as alias:
        yield alias


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
