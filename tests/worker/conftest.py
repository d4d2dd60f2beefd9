"""Projects with workers: one of its own for a test that kills, one shared by those that do not.

Only one of them runs at a time: they have one database, whose unfinished rows each would deliver
to a broker of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_tasks.models import TaskAttempt, TaskRecord, Workflow
from tests.servers import Server
from tests.worker.running import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Instead of pytest-django's: its flush after each test deadlocks with a mirror that is
    writing. Rows stay until the worker that serves them is stopped (delete_rows)."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


def delete_rows(blocker: Any) -> None:
    """When no worker runs any more: the next one would deliver them."""
    with blocker.unblock():
        TaskAttempt.objects.all().delete()
        TaskRecord.objects.all().delete()
        Workflow.objects.all().delete()
        connections.close_all()


class Shared:
    """The shared project of a module: started when a test wants it, stopped when one wants its
    own."""

    def __init__(self, server: Server, folders: pytest.TempPathFactory, blocker: Any) -> None:
        self._server = server
        self._folders = folders
        self._blocker = blocker
        self._site: Site | None = None

    def running(self) -> Site:
        if self._site is None:
            self._site = Site(self._folders.mktemp("shared"), self._server.url)
            self._site.start("--processes", "2")
        return self._site

    def stop(self) -> None:
        if self._site is not None:
            self._site.stop()
            self._site = None
            delete_rows(self._blocker)


@pytest.fixture(scope="module")
def shared(
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Shared]:
    made = Shared(server, tmp_path_factory, django_db_blocker)
    yield made
    made.stop()


@pytest.fixture
def live(shared: Shared, settings: Any, transactional_db: None) -> Site:
    """The shared project with its worker of two children; calls of this process go there."""
    site = shared.running()
    settings.DJANGO_TASKS = site.tasks
    return site


@pytest.fixture
def make_site(
    server: Server,
    shared: Shared,
    tmp_path: Path,
    settings: Any,
    transactional_db: None,
    django_db_blocker: Any,
) -> Iterator[MakeSite]:
    """Make a project; calls of this process go to its broker. Its workers end with the test."""
    made: list[Site] = []
    shared.stop()

    def make(broker_url: str = "", **given: Any) -> Site:
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        site = Site(folder, broker_url or server.url, **given)
        made.append(site)
        settings.DJANGO_TASKS = site.tasks
        return site

    yield make
    for site in made:
        site.stop()
    delete_rows(django_db_blocker)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A project of this test's own."""
    return make_site()
