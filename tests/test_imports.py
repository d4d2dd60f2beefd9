"""Law 10: importing is cheap, and tasks can be defined before the app registry is ready."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import django_tasks
from django_tasks import framework
from tests.wheels import ROOT

# Runs what stands in argv[1], then tells what it loaded and what it did to the outside.
PROBE = """
import json, sys
deeds = []
watched = ("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.fork", "os.posix_spawn")
sys.addaudithook(lambda event, details: deeds.append(event) if event in watched else None)
exec(sys.argv[1])
has_settings = "django.conf" in sys.modules and sys.modules["django.conf"].settings.configured
if has_settings and "django.db" in sys.modules:
    deeds += map(str, sys.modules["django.db"].connections.all(initialized_only=True))
print(json.dumps({
    "modules": sorted(sys.modules),
    "deeds": deeds,
    "settings": has_settings,
    "apps": "django.apps" in sys.modules and sys.modules["django.apps"].apps.ready,
}))
"""


def after(program: str, settings: str = "", folder: Path = ROOT) -> dict[str, Any]:
    """What a new interpreter has loaded and done once it ran the program."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(ROOT)}
    if not settings:
        del environment["DJANGO_SETTINGS_MODULE"]
    shown = subprocess.run(
        [sys.executable, "-c", PROBE, program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    told: dict[str, Any] = json.loads(shown.stdout)
    return told


def ours(modules: list[str]) -> list[str]:
    return [name for name in modules if name.startswith("django_tasks")]


def test_law_10_the_package_alone_loads_nothing() -> None:
    told = after("import django_tasks")

    assert ours(told["modules"]) == ["django_tasks"]
    assert not {"django", "redis", "django_redis", "asyncio"}.intersection(told["modules"])
    assert told["deeds"] == []


def test_law_10_public_names_open_no_connection_and_load_no_worker_and_no_models() -> None:
    names = ", ".join(django_tasks.__all__)

    told = after(f"from django_tasks import {names}", settings="tests.settings")

    rooms = {name.split(".")[1] for name in ours(told["modules"]) if "." in name}
    assert "calls" in rooms
    assert not rooms.intersection({"worker", "models", "bridge", "admin", "management"})
    assert told["deeds"] == []
    assert told["apps"] is False


def test_law_10_names_that_define_no_task_read_no_settings() -> None:
    told = after("from django_tasks import Retry, Snooze, django_task, TaskResult, TaskContext")

    assert told["settings"] is False
    assert told["deeds"] == []


@pytest.mark.parametrize(
    "decorator", ["django_task", "django_task(queue='mail', retries=5, backoff=0)"]
)
def test_law_10_a_tasks_module_is_imported_without_django_setup(
    decorator: str, tmp_path: Path
) -> None:
    (tmp_path / "mailing.py").write_text(
        f"from django_tasks import django_task\n\n\n@{decorator}\n"
        "def send(user_id: int) -> int:\n    return user_id + 1\n"
    )

    told = after(
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "import mailing\n"
        "assert mailing.send(1) == 2\n"
        "assert mailing.send.module_path == 'mailing.send'",
        settings="tests.settings",
    )

    assert told["apps"] is False
    assert told["deeds"] == []
    assert not {"django_tasks.models", "django_tasks.worker"}.intersection(told["modules"])


def test_what_is_not_public_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'django_tasks' has no attribute 'djnago_task"):
        django_tasks.djnago_task  # noqa: B018


def test_code_written_for_the_backport_runs() -> None:
    names = ["task", "task_backends", "default_task_backend", "TaskResultStatus"]

    found = [getattr(django_tasks, name) for name in names]

    assert found == [getattr(framework, name) for name in names]
    assert set(names) < set(dir(django_tasks))
    if framework.HAS_TASKS_FRAMEWORK:
        import django.tasks

        assert django_tasks.task is django.tasks.task
