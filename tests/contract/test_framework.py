"""What we rely on of django.tasks, the same on every Django: Django's own classes from 6.0 on,
framework_5_2.py's before. The tables are 6.1's."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_tasks import framework, framework_5_2
from django_tasks.framework import TaskResultStatus, task, task_backends
from tests.wheels import ROOT

IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
DUMMY = "django.tasks.backends.dummy.DummyBackend"
TASKS: dict[str, Any] = {
    "default": {"BACKEND": IMMEDIATE},
    "dummy": {"BACKEND": DUMMY, "QUEUES": ["default", "mail"]},
    "any queue": {"BACKEND": DUMMY, "QUEUES": []},
    "bare": {"BACKEND": f"{__name__}.BareBackend", "OPTIONS": {"colour": "red"}},
}
# 5.2's stand-in is 6.1's; 6.0 knows no options of a task class, no defaults and no pickle.
from_6_1 = pytest.mark.skipif(django.VERSION[:2] == (6, 0), reason="Django 6.0 lacks it")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
PRIORITY = "priority must be a whole number between -100 and 100"
TASK_FIELDS = {"func": MISSING, "priority": 0, "backend": "default", "queue_name": "default"}
TASK_FIELDS |= {"run_after": None, "takes_context": False}
RESULT_FIELDS = (
    "task id status enqueued_at started_at finished_at last_attempted_at args kwargs backend errors"
    " worker_ids"
).split()


@dataclass(frozen=True, kw_only=True)
class Labelled(framework.Task):  # type: ignore[misc, type-arg, unused-ignore]
    """A task class with an option of its own, as ours is."""

    label: str = ""


class BareBackend(framework.BaseTaskBackend):
    """Supports nothing but what the base class does."""

    task_class = Labelled

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """What it was given."""
        return (task, args, kwargs)


def plain(*args: Any, **kwargs: Any) -> list[Any]:
    """A function that no task stands for."""
    return [args, kwargs]


class Shelf:
    """Holds functions that can be imported, though not from the module itself."""

    @staticmethod
    def kept() -> None: ...

    def __call__(self) -> None: ...


with override_settings(TASKS=TASKS):

    @task
    def add(a: int, b: int = 0) -> int:
        """Two numbers' sum."""
        return a + b

    @task
    async def add_later(a: int, b: int) -> int:
        """Two numbers' sum, by a coroutine."""
        return a + b

    @task(takes_context=True)
    def describe(context: Any) -> str:
        """What the context is."""
        return type(context).__name__


@pytest.fixture(autouse=True)
def _aliases(settings: Any) -> None:
    settings.TASKS = TASKS


def make(func: Any, backend: str = "dummy", **options: Any) -> Any:
    """A task of a function that bears no decorator."""
    values = {one.name: getattr(add, one.name) for one in fields(add)}
    return framework.Task(**{**values, "func": func, "backend": backend, **options})


def test_importing_needs_neither_settings_nor_the_app_registry() -> None:
    program = (
        "import django_tasks.framework, django_tasks.framework_5_2\n"
        "from django.apps import apps; from django.conf import settings\n"
        "assert not settings.configured and not apps.ready"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, timeout=60
    )

    assert shown.returncode == 0, shown.stderr.decode()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        pytest.param("Task", TASK_FIELDS, marks=from_6_1),
        ("TaskResult", {**dict.fromkeys(RESULT_FIELDS, MISSING), "_return_value": None}),
        ("TaskContext", {"task_result": MISSING}),
        ("TaskError", {"exception_class_path": MISSING, "traceback": MISSING}),
    ],
)
def test_a_dataclass_has_these_fields_in_this_order(name: str, table: dict[str, Any]) -> None:
    found = fields(getattr(framework, name))

    assert [(one.name, one.default) for one in found] == list(table.items())
    assert [one.name for one in found if not one.init] == [n for n in table if n[0] == "_"]
    assert {one.kw_only for one in found if one.init} == {True}


def test_the_stand_in_for_task_is_generic_as_the_stubs_have_it() -> None:
    generic: Any = framework_5_2.Task

    made = generic[[int], str]

    assert (made.__origin__, made.__args__) == (generic, ([int], str))


def test_statuses_are_four() -> None:
    assert [(one.name, one.value, one.label) for one in TaskResultStatus] == [
        ("READY", "READY", "Ready"),
        ("RUNNING", "RUNNING", "Running"),
        ("FAILED", "FAILED", "Failed"),
        ("SUCCESSFUL", "SUCCESSFUL", "Successful"),
    ]


def test_constants_and_errors_are_as_in_6_1() -> None:
    assert framework.DEFAULT_TASK_BACKEND_ALIAS == framework.DEFAULT_TASK_QUEUE_NAME == "default"
    assert framework.DEFAULT_TASK_PRIORITY == 0
    assert framework.TaskException.__base__ is Exception
    assert framework.InvalidTask.__base__ is framework.TaskException
    assert framework.TaskResultDoesNotExist.__base__ is framework.TaskException
    assert framework.TaskResultMismatch.__base__ is framework.TaskException
    assert framework.InvalidTaskBackend.__base__ is ImproperlyConfigured


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (1.5, 1.5),
        ("é\x00\ud800", "é\x00\ud800"),
        ("é".encode(), "é"),
        (bytearray(b"a"), [97]),
        ((1, (2, b"x")), [1, [2, "x"]]),
        (range(2), [0, 1]),
        ({b"k": (1,), 2: {None: ()}}, {"k": [1], 2: {None: []}}),
        (MappingProxyType({"k": (1,)}), {"k": [1]}),
        ((float("inf"), float("nan")), [float("inf"), float("nan")]),  # neither is JSON
    ],
)
def test_normalize_json(value: Any, expected: Any) -> None:
    # Compared as text: NaN equals nothing, 1 equals True.
    assert repr(framework.normalize_json(value)) == repr(expected)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({1}, TypeError, "Unsupported type: <class 'set'>"),
        ([NOON], TypeError, "Unsupported type: <class 'datetime.datetime'>"),
        ({"price": Decimal(1)}, TypeError, "Unsupported type: <class 'decimal.Decimal'>"),
        ({(1, 2): 3}, TypeError, "unhashable type: 'list'"),
        ([b"\xff"], ValueError, "Unsupported value: <class 'bytes'>"),
    ],
)
def test_normalize_json_refuses(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        framework.normalize_json(value)

    assert str(caught.value).startswith(text)


def test_the_decorator_makes_a_frozen_task_with_defaults() -> None:
    assert (add.name, add.module_path) == ("add", f"{__name__}.add")
    assert (add.priority, add.queue_name, add.run_after) == (0, "default", None)
    assert add.get_backend() is task_backends["default"]
    assert describe.takes_context
    with pytest.raises(FrozenInstanceError):
        add.priority = 1  # type: ignore[misc, unused-ignore]


@from_6_1
def test_the_decorator_builds_the_backends_task_class_with_its_options() -> None:
    made: Any = task(backend="bare", label="blue")(plain)  # type: ignore[call-overload, unused-ignore]

    assert made.label == made.using(run_after=None).label == "blue"
    assert made.enqueue(1, b=2) == (made, (1,), {"b": 2})
    assert async_to_sync(made.aenqueue)(1, b=2) == (made, (1,), {"b": 2})
    assert type(made) is Labelled


@from_6_1
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"run_after": NOON}, r"Use .using\(run_after=...\)"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_the_decorator_refuses(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        task(**options)(plain)


def test_using_changes_a_copy_and_keeps_what_is_none() -> None:
    changed = add.using(priority=5, queue_name="mail", run_after=NOON, backend="dummy")
    again = changed.using(priority=None, queue_name=None, run_after=None, backend=None)

    assert (changed.priority, changed.queue_name) == (5, "mail")
    assert (changed.run_after, changed.backend, changed.func) == (NOON, "dummy", add.func)
    assert again == changed
    assert add.priority == 0
    with pytest.raises(TypeError, match="unexpected keyword argument 'takes_context'"):
        add.using(takes_context=True)  # type: ignore[call-arg, unused-ignore]


def test_a_task_is_hashable() -> None:
    urgent = add.using(priority=5)

    assert {add, add.using(), urgent} == {add, urgent}
    assert copy.deepcopy(urgent) == urgent


@from_6_1
def test_a_task_is_pickled_by_its_path() -> None:
    urgent = add.using(priority=5)

    assert pickle.loads(pickle.dumps(urgent)) == urgent
    with pytest.raises(ValueError, match=r"Expected '.*\.plain' to point to a Task instance"):
        pickle.loads(pickle.dumps(make(plain)))


def test_a_task_is_called_here_and_now_from_both_worlds() -> None:
    assert [add.call(1, b=2), add_later.call(1, 2)] == [3, 3]
    assert [async_to_sync(one.acall)(1, b=2) for one in (add, add_later)] == [3, 3]


def nested() -> list[Any]:
    """Functions that nobody can import."""

    def inner() -> None: ...

    return [inner, lambda: None]


@pytest.mark.parametrize(
    ("func", "is_valid"),
    [
        (plain, True),
        (Shelf.kept, True),
        *[(one, False) for one in nested()],
        (len, False),
        (Shelf, False),
        (Shelf(), False),
        (Shelf().__call__, False),
    ],
)
def test_a_task_is_a_function_that_can_be_imported(func: Any, is_valid: bool) -> None:
    if is_valid:
        assert make(func).func is func
    else:
        with pytest.raises(framework.InvalidTask, match="must be defined at a module level"):
            make(func)


@pytest.mark.parametrize(
    ("backend", "options", "text"),
    [
        *[("dummy", {"priority": one}, PRIORITY) for one in (-101, 101, 1.5, float("inf"))],
        ("dummy", {"queue_name": "post"}, "Queue 'post' is not valid for backend"),
        ("default", {"queue_name": "mail"}, "Queue 'mail' is not valid for backend"),
        ("dummy", {"run_after": NOON.replace(tzinfo=None)}, "run_after must be an aware datetime"),
        ("default", {"run_after": NOON}, "does not support run_after"),
        ("default", {"run_after": timedelta(1)}, "does not support run_after"),
        ("bare", {"priority": 1}, "does not support setting priority"),
        ("bare", {"priority": "high"}, "does not support setting priority"),
        ("dummy", {"takes_context": True}, "does not have a first argument of 'context'"),
        ("bare", {"func": add_later.func, "priority": 1}, "does not support async Tasks"),
    ],
)
def test_the_backend_refuses_a_task_that_it_cannot_run(
    backend: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(framework.InvalidTask, match=text):
        make(**{"func": plain, "backend": backend, **options})


def test_what_lies_within_bounds_is_valid(settings: Any) -> None:
    for priority in (-100, 100, 1.0):
        assert make(plain, priority=priority).priority == priority
    assert make(plain, backend="any queue", queue_name="post").queue_name == "post"
    assert make(describe.func, takes_context=True).takes_context

    settings.USE_TZ = False

    assert make(plain, run_after=NOON.replace(tzinfo=None)).run_after.tzinfo is None


def test_a_task_is_validated_again_when_it_is_enqueued(settings: Any) -> None:
    mail = make(add.func, queue_name="mail")
    settings.TASKS = {**TASKS, "dummy": {"BACKEND": DUMMY}}

    with pytest.raises(framework.InvalidTask, match="Queue 'mail'"):
        mail.enqueue(1)


def test_backends_are_found_by_alias_one_per_thread() -> None:
    others: list[Any] = []
    thread = threading.Thread(target=lambda: others.append(task_backends["dummy"]))
    thread.start()
    thread.join()

    assert list(task_backends) == list(TASKS)
    assert [one.alias for one in task_backends.all()] == list(TASKS)
    assert task_backends["dummy"] is task_backends["dummy"]
    assert task_backends["dummy"] is not others[0]
    assert framework.default_task_backend == task_backends["default"]
    assert framework.default_task_backend.alias == "default"


def test_a_backend_has_its_queues_options_and_no_complaints() -> None:
    bare = task_backends["bare"]

    assert bare.options == {"colour": "red"}
    queues = [{"default"}, {"default", "mail"}, set(), {"default"}]
    assert [task_backends[one].queues for one in TASKS] == queues
    assert list(bare.check(app_configs=None)) == []
    with pytest.raises(TypeError, match="abstract"):
        framework.BaseTaskBackend("default", {})  # type: ignore[abstract, unused-ignore]


def test_what_backends_support() -> None:
    names = ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority")

    assert {
        alias: [getattr(task_backends[alias], name) for name in names]
        for alias in ("default", "dummy", "bare")
    } == {
        "default": [False, True, False, True],
        "dummy": [True, True, False, True],
        "bare": [False, False, False, False],
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "The connection 'default' doesn't exist"),
        ({"mail": {"BACKEND": DUMMY}}, "The connection 'default' doesn't exist"),
        ({"default": {"BACKEND": "no.such.Backend"}}, "Could not find backend 'no.such.Backend'"),
    ],
)
def test_tasks_without_a_usable_default_says_so(given: Any, text: str, settings: Any) -> None:
    settings.TASKS = given

    with pytest.raises(framework.InvalidTaskBackend, match=text):
        add.enqueue(1)


def test_settings_are_obeyed_as_soon_as_they_change(settings: Any) -> None:
    before = task_backends["default"]

    settings.TASKS = {"default": {"BACKEND": DUMMY, "QUEUES": ["mail"]}}

    assert type(before).__name__ == "ImmediateBackend"
    assert type(task_backends["default"]).__name__ == "DummyBackend"
    assert task_backends["default"].queues == {"mail"}
