"""Name → task: what a message may name, and how tasks are found (law 8)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_tasks import django_task
from django_tasks.calls import registry
from django_tasks.errors import InvalidSettings, InvalidTaskOptions, UnknownTask
from tests.tasks import add


def one(number: int) -> int:
    return number


def another(number: int) -> int:
    return number


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    monkeypatch.setattr(registry, "_aliases", dict(registry._aliases))
    monkeypatch.setattr(registry, "_loads", dict(registry._loads))


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_task_is_found_by_module_and_function() -> None:
    assert registry.find("tests.tasks.add") is add
    assert registry.name_of(add) == add.task_name == "tests.tasks.add"


def test_a_task_is_found_by_its_name_and_its_aliases() -> None:
    task = django_task(name="mail.send", aliases=("old.send", "older.send"))(one)

    assert registry.name_of(task) == task.task_name == "mail.send"
    for name in ("mail.send", "old.send", "older.send"):
        assert registry.find(name) is task
    with pytest.raises(UnknownTask):
        registry.find(f"{__name__}.one")


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "tests.tasks", "", "add"])
def test_law_8_a_name_can_be_nothing_but_a_registered_task(name: str) -> None:
    with pytest.raises(UnknownTask):
        registry.find(name)


def test_an_unknown_name_is_told_the_nearest_and_the_cure() -> None:
    with pytest.raises(UnknownTask) as caught:
        registry.find("tests.tasks.ad")

    said = str(caught.value)
    assert "The nearest name is 'tests.tasks.add'." in said
    assert "aliases=" in said
    assert "DJANGO_TASKS['MODULES']" in said


def test_two_tasks_can_not_have_one_name() -> None:
    django_task(name="same")(one)

    with pytest.raises(InvalidTaskOptions, match=rf"{__name__}\.one and {__name__}\.another"):
        django_task(name="same")(another)
    assert registry.find("same").func is one


def test_an_alias_can_not_be_another_tasks_name_or_alias() -> None:
    first: Any = django_task(name="first", aliases=("former",))(one)

    for taken in ("first", "former"):
        with pytest.raises(InvalidTaskOptions, match=f"The alias '{taken}' of the task 'second'"):
            django_task(name="second", aliases=(taken,))(another)
        with pytest.raises(UnknownTask):
            registry.find("second")  # nothing of it stays
    assert registry.find("former") is first


def test_a_name_can_not_be_another_tasks_alias() -> None:
    first: Any = django_task(name="first", aliases=("former",))(one)

    with pytest.raises(InvalidTaskOptions, match=r"'former' .* is an alias of the task 'first'"):
        django_task(name="former")(another)
    assert registry.find("former") is first


def test_a_variant_does_not_take_the_place_of_its_task() -> None:
    add.using(queue_name="elsewhere", priority=5)

    assert registry.find("tests.tasks.add") is add


def test_a_function_defined_anew_takes_the_place_of_the_old_one() -> None:
    source = "def again(number: int) -> int: return number"
    first: dict[str, Any] = {"__name__": "somewhere"}
    second: dict[str, Any] = {"__name__": "somewhere"}
    exec(source, first)
    exec(source, second)

    django_task(first["again"])
    reloaded = django_task(second["again"])

    assert registry.find("somewhere.again") is reloaded


TWICE = """
from django_tasks import django_task

@django_task
def send() -> int:
    return 1

{between}
def send() -> int:
    return 2
send = django_task(send)
"""
IN_A_LOOP = """
from django_tasks import django_task

tasks = []
for number in range(2):
    def send() -> int:
        return number
    tasks.append(django_task(send))
"""


@pytest.mark.parametrize("source", [TWICE.format(between=""), IN_A_LOOP])
def test_two_functions_of_one_name_in_one_module_are_two_tasks(source: str, modules: Path) -> None:
    (modules / "twice.py").write_text(source)

    with pytest.raises(InvalidTaskOptions, match=r"twice\.send and twice\.send \(.*; .*, line \d"):
        importlib.import_module("twice")
    assert registry.find("twice.send").func() in (0, 1)


def test_two_functions_of_one_name_in_a_shell_are_two_tasks() -> None:
    typed = "def send(): return 1\none = task(send)\n\ndef send(): return 2\ntask(send)"

    with pytest.raises(InvalidTaskOptions, match="Two tasks have the name"):
        exec(typed, {"__name__": "typed", "task": django_task})


def test_a_module_that_is_loaded_anew_replaces_its_tasks(modules: Path) -> None:
    source = "from django_tasks import django_task\n{0}@django_task\ndef f() -> int: return {1}\n"
    module = modules / "reloaded.py"
    module.write_text(source.format("", 1))
    loaded = importlib.import_module("reloaded")
    assert registry.find("reloaded.f")() == 1

    module.write_text(source.format("\n\n", 22))  # of another size, so that no old .pyc is taken
    importlib.reload(loaded)
    assert registry.find("reloaded.f")() == 22

    del sys.modules["reloaded"]
    anew: Any = importlib.import_module("reloaded")
    assert registry.find("reloaded.f") is anew.f


first_lambda, second_lambda = (lambda: 1), (lambda: 2)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(InvalidTaskOptions, match=r"Write a function .*name='…'"):
        django_task(first_lambda)

    one = django_task(name="lambdas.one")(first_lambda)
    two = django_task(name="lambdas.two")(second_lambda)

    assert registry.find("lambdas.one") is one
    assert registry.find("lambdas.two")() == two() == 2
    with pytest.raises(InvalidTaskOptions, match=r"Two tasks have the name 'lambdas\.one'"):
        django_task(name="lambdas.one")(second_lambda)


def test_all_tasks_and_their_queues_are_listed() -> None:
    django_task(name="aaa", queue="b-queue")(one)
    django_task(name="aab", queue="a-queue")(another)

    assert [registry.name_of(task) for task in registry.all_tasks()][:2] == ["aaa", "aab"]
    names = registry.queue_names()
    assert names[0] == "default"
    assert names[1:] == sorted(names[1:])
    assert {"a-queue", "b-queue"} <= set(names)


def test_databases_that_tasks_name_are_listed() -> None:
    django_task(name="aaa", database="default")(one)

    assert registry.databases() == ["default"]  # for more of them: tests/bridge/test_databases.py


def test_each_apps_tasks_and_the_modules_of_the_settings_are_imported(
    settings: Any, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have imported it, into the registry of its time.
    monkeypatch.delitem(sys.modules, "demo_project.audit.tasks", raising=False)
    (modules / "extra_jobs.py").write_text(
        "from django_tasks import django_task\n@django_task\ndef tidy() -> None: ...\n"
    )
    settings.DJANGO_TASKS = {"MODULES": ["extra_jobs"]}

    registry.discover()

    assert registry.find("extra_jobs.tidy").task_name == "extra_jobs.tidy"
    assert any(
        registry.name_of(task).startswith("demo_project.audit.") for task in registry.all_tasks()
    )


def test_a_module_that_is_not_there_is_named(settings: Any) -> None:
    settings.DJANGO_TASKS = {"MODULES": ["nowhere.jobs"]}

    with pytest.raises(InvalidSettings, match=r"MODULES'\] names 'nowhere\.jobs'"):
        registry.discover()


def test_a_module_that_can_not_be_imported_says_why(settings: Any, modules: Path) -> None:
    (modules / "broken_jobs.py").write_text("import a_library_that_is_missing\n")
    settings.DJANGO_TASKS = {"MODULES": ["broken_jobs"]}

    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        registry.discover()


def test_modules_of_every_alias_are_imported(settings: Any, modules: Path) -> None:
    (modules / "second_jobs.py").write_text(
        "from django_tasks import django_task\n@django_task\ndef tidy() -> None: ...\n"
    )
    ours: dict[str, Any] = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {"default": ours, "second": {**ours, "OPTIONS": {"MODULES": ["second_jobs"]}}}

    registry.discover(["default", "second"])

    assert registry.find("second_jobs.tidy")
