"""The house stays in order: floors, sizes, names; what docs/contributing/house.md says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_tasks
from django_tasks import errors, framework
from tests.wheels import ROOT

PACKAGE = ROOT / "django_tasks"
LINES, LUA_LINES, PART_LINES = 400, 120, 40
# Path → why it may be longer.
LONGER = {
    "django_tasks/broker/lua/_claim.lua": "the one gate that claim.lua and ack.lua share",
}
# The backport `django-tasks` has files of these names: installed after us, it would replace ours.
FORBIDDEN = {"base", "checks", "signals", "exceptions", "utils", "backends", "common"}
WITH_CONTENT = {"", "models", "admin", "broker"}  # rooms whose __init__.py may say something
WRITES = re.compile(
    r"""["'](HSET|HDEL|HINCRBY|ZADD|ZREM|SADD|SREM|DEL|SET|EXPIRE|[LR]PUSH|FLUSHALL)["']"""
)


def sources(*folders: str, suffix: str = ".py") -> list[Path]:
    """Our files of one kind, migrations apart: a generator writes those."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob(f"*{suffix}"))
        if "migrations" not in path.parts
    ]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def limit(path: Path) -> int:
    if path.suffix == ".lua":
        return PART_LINES if path.name.startswith("_") else LUA_LINES
    return LINES


def is_too_long(path: Path) -> bool:
    return len(path.read_text().splitlines()) > limit(path)


def test_imports_point_down() -> None:
    # In a process of its own: import-linter configures logging, which disables our loggers.
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_every_room_has_a_floor_and_is_listed_inside() -> None:
    contracts = (ROOT / "setup.cfg").read_text()
    rooms = ["calls", "worker", "bridge", "broker", "ops"]

    closed = re.findall(
        r"type = layers\ncontainers = django_tasks\.?(\w*)\nexhaustive = True", contracts
    )

    assert sorted(closed) == sorted(["", *rooms])


def test_no_file_is_longer_than_can_be_read() -> None:
    files = [
        *sources("django_tasks", "demo_project", "tests", "benchmarks"),
        *sources("django_tasks", suffix=".lua"),
    ]

    long = {named(path) for path in files if is_too_long(path)}

    assert long - set(LONGER) == set()
    assert set(LONGER) - long == set(), "no longer too long: take it from the list"


def test_no_file_has_a_name_that_another_distribution_would_replace() -> None:
    inner = {path.relative_to(PACKAGE).parts for path in sources("django_tasks")}

    found = [parts for parts in inner for part in parts if part.removesuffix(".py") in FORBIDDEN]

    assert found == []


def test_only_some_rooms_have_content_in_their_init() -> None:
    filled = {
        str(path.parent.relative_to(PACKAGE)).replace(".", "", 1)
        for path in PACKAGE.rglob("__init__.py")
        if path.read_text().strip()
    }

    assert filled == WITH_CONTENT


def test_every_module_says_in_its_docstring_what_it_is_for() -> None:
    silent = [
        named(path)
        for path in sources("django_tasks", "demo_project", "tests", "benchmarks")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


def test_nothing_prints_but_commands() -> None:
    printing = [
        f"{named(path)}:{node.lineno}"
        for path in sources("django_tasks")
        if "management" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]

    assert printing == []


def test_no_test_sleeps() -> None:
    sleeping = [
        f"{named(path)}:{node.lineno}"
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]

    assert sleeping == []


def test_only_scripts_write_the_brokers_keys() -> None:
    writing = [named(path) for path in sources("django_tasks") if WRITES.search(path.read_text())]

    assert writing == []


def test_errors_have_one_base_and_are_drawn_as_a_tree() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in classes if one.__module__ == errors.__name__]

    assert len(ours) > 1
    assert all(issubclass(one, errors.TaskQueueError) for one in ours)
    assert [one.__name__ for one in ours if one.__name__ not in (errors.__doc__ or "")] == []


@pytest.mark.parametrize("name", sorted(django_tasks.__all__))
def test_a_public_name_exists_and_says_what_it_is(name: str) -> None:
    assert getattr(django_tasks, name).__doc__


@pytest.mark.parametrize("name", sorted(framework.__all__))
def test_a_name_of_the_framework_exists_on_every_django(name: str) -> None:
    assert getattr(framework, name) is not None


@pytest.mark.parametrize(
    "page", [named(path) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]]
)
def test_a_page_links_to_nothing_that_is_not_there(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    dead = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (ROOT / page).parent.joinpath(target).exists()
    ]

    assert dead == []
