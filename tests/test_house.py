"""The house's own rules: floors, sizes, names. docs/contributing/house.md says why."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_tasks"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
SCRIPTS = sorted((PACKAGE / "broker" / "lua").glob("*.lua"))
FORBIDDEN = {"base", "checks", "signals", "exceptions", "utils", "backends", "common"}
WITH_INIT = {"", "models", "admin", "broker"}  # rooms whose __init__ may say something


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_imports_point_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True) == 0


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    files = [*MODULES, *(ROOT / "demo_project").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]

    assert {str(path): lines(path) for path in files if lines(path) > 400} == {}


def test_scripts_are_at_most_a_hundred_and_twenty_lines_and_parts_forty_or_so() -> None:
    # _claim is the gate and the claim, shared by two scripts: read as one, it is the exception.
    limits = {path: 40 if path.name.startswith("_") else 120 for path in SCRIPTS}
    limits[PACKAGE / "broker" / "lua" / "_claim.lua"] = 80

    assert {path.name for path, limit in limits.items() if lines(path) > limit} == set()


def test_no_module_bears_a_name_that_says_nothing() -> None:
    assert {path.stem for path in MODULES} & FORBIDDEN == set()


def test_rooms_have_an_empty_init() -> None:
    rooms = {
        str(path.parent.relative_to(PACKAGE)).replace(".", "", 1): path
        for path in MODULES
        if path.name == "__init__.py"
    }

    assert {name for name, path in rooms.items() if lines(path)} == WITH_INIT


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    source = path.read_text("utf-8")

    assert not source or ast.get_docstring(ast.parse(source))


def test_every_public_name_is_there() -> None:
    package = import_module("django_tasks")

    missing = [name for name in package.__all__ if not hasattr(package, name)]

    assert missing == []
    assert {"django_task", "Task", "TaskResult", "TaskContext", "RedisBackend"} <= set(dir(package))
    assert {"enqueue_many", "Retry", "Snooze", "task", "task_backends"} <= set(dir(package))


def test_errors_have_one_base() -> None:
    errors = import_module("django_tasks.errors")
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in classes if one.__module__ == errors.__name__]

    assert all(issubclass(one, errors.TaskQueueError) for one in ours)
    assert {one.__name__ for one in ours if one.__name__ not in (errors.__doc__ or "")} == set()


def test_only_scripts_write_the_brokers_keys() -> None:
    writes = re.compile(
        r"""["'](HSET|HDEL|HINCRBY|ZADD|ZREM|SADD|SREM|DEL|SET|EXPIRE|[LR]PUSH|FLUSHALL)["']"""
    )

    found = [str(path) for path in MODULES if writes.search(path.read_text("utf-8"))]

    assert found == []
