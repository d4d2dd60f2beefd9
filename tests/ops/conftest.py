"""A queue, and a worker's steps by hand: what is looked at here has really come about."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings


@pytest.fixture
def take_table_away() -> Iterator[Callable[[], None]]:
    """From its call on no record can be read; it is back when the test ends."""
    renamed = []

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def take_away() -> None:
        rename("django_tasks_taskrecord", "taken_away")
        renamed.append(True)

    yield take_away
    if renamed:
        rename("taken_away", "django_tasks_taskrecord")


@pytest.fixture
def hands(queue: TaskSettings) -> Iterator[Broker]:
    """The broker of the project's settings, to claim and report by."""
    made = Broker(queue)
    yield made
    made.close()
