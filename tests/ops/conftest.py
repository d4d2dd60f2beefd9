"""A queue, and a worker's steps by hand: what is looked at here has really come about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings


@pytest.fixture
def hands(queue: TaskSettings) -> Iterator[Broker]:
    """The broker of the project's settings, to claim and report by."""
    made = Broker(queue)
    yield made
    made.close()
