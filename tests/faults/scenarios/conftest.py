"""One project for all scenarios: a server that may be harmed, and a worker that has to survive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.campaign import Campaign
from tests.servers import Server
from tests.worker.conftest import delete_rows, transactional_db
from tests.worker.running import MODULES, Site

__all__ = ["transactional_db"]


@pytest.fixture(scope="package")
def frail() -> Iterator[Server]:
    """Its files are what the scenario needs: a dump on request; an append-only file."""
    with Server(
        appendonly="no", appendfsync="everysec", aof_load_truncated="yes", dbfilename="dump.rdb"
    ) as started:
        yield started


@pytest.fixture(scope="package")
def working(
    frail: Server,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("faults"),
        frail.url,
        tasks={"MODULES": [*MODULES, "tests.faults.fault_tasks"], "LEASE": 2.0},
        settings={"UNCUT_REBUILD_PAUSE": float(os.environ.get("UNCUT_REBUILD_PAUSE", "0.25"))},
    )
    made.start("--processes", "2", "--grace", "2")
    yield made
    made.stop()
    delete_rows(django_db_blocker)


@pytest.fixture
def campaign(
    working: Site, frail: Server, settings: Any, transactional_db: None
) -> Iterator[Campaign]:
    settings.DJANGO_TASKS = working.tasks
    begun = Campaign(working, frail)
    yield begun
    log = "\n".join(worker.log for worker in working.workers)
    assert "Traceback" not in log, log
