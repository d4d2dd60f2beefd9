"""What every test may ask for: a server, a broker with names of its own, a worker's settings."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message
from django_tasks.conf import TaskSettings, task_settings
from tests.servers import Server
from tests.wheels import build_distributions


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not harm it; nobody flushes, kills or pauses this one."""
    with Server() as started:
        yield started


@pytest.fixture
def broker(server: Server) -> Iterator[Broker]:
    """A broker whose keys are this test's alone."""
    made = Broker(TaskSettings(broker=server.url, prefix=f"t{uuid.uuid4().hex[:12]}"))
    yield made
    made.close()


@pytest.fixture
def redis_client(server: Server) -> Iterator[Any]:
    """The same server, raw; answers are text."""
    with server.client() as client:
        yield client


@pytest.fixture
def queue(server: Server, settings: Any) -> TaskSettings:
    """``DJANGO_TASKS`` as a project has it: the server, and a prefix of this test's own."""
    settings.DJANGO_TASKS = {
        "BROKER": server.url,
        "PREFIX": f"t{uuid.uuid4().hex[:12]}",
        "MODULES": ["tests.tasks"],
    }
    return task_settings()


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our sdist and the wheel built from it."""
    folder = tmp_path_factory.mktemp("distributions")
    build_distributions(folder)
    return folder


def make_message(**given: Any) -> Message:
    """A message as an enqueue would make it; its id is later than those made before."""
    from django_tasks.models.record import new_id

    values: dict[str, Any] = {"id": str(new_id()), "task": "tests.tasks.add", "queue": "mail"}
    return Message(**{**values, "args": "[1,2]", **given})
