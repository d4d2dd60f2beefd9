"""What tests of the calls may ask for: a worker's loop in this very process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_tasks.conf import TaskSettings, task_settings
from django_tasks.worker.burst import burst


@pytest.fixture
def work(queue: TaskSettings) -> Callable[..., None]:
    """``work()`` runs what is ready in the queues named, and mirrors."""

    def run(*queues: str, max_tasks: int | None = None) -> None:
        burst(task_settings(), queues or ("default",), max_tasks=max_tasks)

    return run
