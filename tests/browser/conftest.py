"""A project that lives, and a browser to look at it: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.test import override_settings

from django_tasks.broker import get_broker
from tests.browser.looking import PLAIN, Look, Window
from tests.browser.project import Project
from tests.browser.scene import Scene, play
from tests.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OpenPage = Callable[..., Window]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        pytest.skip("no Playwright or axe-core here: make browser, or pip install '.[browser]'")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: apt install chromium")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's event loop stands on this thread, between its calls; no coroutine of it
        # touches the database, so what Django guards against can't happen.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        sandboxed = os.getuid() != 0  # Chromium refuses to be root in a sandbox
        browser = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=sandboxed, args=["--lang=en-US"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe_script(chromium: Browser) -> str:
    """axe-core, as its npm package has it, in the wheel that brings it along."""
    import axe_playwright_python

    return Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Instead of pytest-django's: its flush after each test deadlocks with a mirror that is
    writing, and would take away what a module's tests look at. So no test has its marker."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def living(
    chromium: Browser,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Project]:
    """The project, its site served. Its server is flushed between tests, so it is its own."""
    with django_db_blocker.unblock(), Server() as server:
        made = Project(tmp_path_factory.mktemp("project"), server.url, server=server)
        made.serve()
        yield made
        made.stop()
        connections.close_all()


def forget() -> None:
    """A process makes a queue's name known once; the flushed server does not know it."""
    get_broker().announce([], anew=True)


@pytest.fixture
def project(living: Project, settings: Any) -> Iterator[Project]:
    """The project, empty; calls of this process go to its broker."""
    settings.DJANGO_TASKS = living.tasks
    living.clear()
    forget()
    yield living
    living.clear()


@pytest.fixture(scope="module")
def scene(living: Project) -> Iterator[Scene]:
    """A shop in the middle of its day (scene.py), for tests that only look."""
    with override_settings(DJANGO_TASKS=living.tasks):
        living.clear()
        forget()
        yield play(living)
        living.clear()


@pytest.fixture
def open_page(
    living: Project, chromium: Browser, axe_script: str, transactional_db: None
) -> Iterator[OpenPage]:
    """Open a page of the site as one of a role (project.py); any fault of it fails the test."""
    opened: list[Window] = []

    def open_page(
        path: str, role: str = "chief", look: Look = PLAIN, *, refused: int = 0, press: str = ""
    ) -> Window:
        context = chromium.new_context(
            base_url=living.address,
            color_scheme=look.scheme,
            viewport={"width": look.width, "height": 800},
            locale=look.language,
            reduced_motion="reduce",
        )
        if role != "visitor":
            cookie = {"name": "sessionid", "value": living.session(role), "url": living.address}
            context.add_cookies([cookie])
        window = Window(context.new_page(), axe_script, refused)
        opened.append(window)
        answer = window.page.goto(path)
        assert answer is not None
        assert answer.status == (refused or 200), window.page.content()
        if role != "visitor":
            assert window.page.url == f"{living.address}{path}"
        if press:
            window.press(press)
        return window

    yield open_page
    faults = []
    for window in opened:
        window.settle()
        faults += window.faults
        window.page.context.close()
    assert faults == []
