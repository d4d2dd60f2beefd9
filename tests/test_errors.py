"""Errors: one base, a cure in every message, and the classes that callers already catch."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_tasks import errors
from django_tasks.errors import (
    ArgumentNotSerializable,
    ArgumentsTooLarge,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from django_tasks.framework import InvalidTask, TaskException, TaskResultDoesNotExist


@pytest.mark.parametrize(
    ("name", "also"),
    [
        ("InvalidTaskOptions", (InvalidTask, TypeError)),
        ("NotATask", (TypeError,)),
        ("TaskArgumentError", (TypeError,)),
        ("ArgumentMismatch", (TypeError,)),
        ("ArgumentNotSerializable", (TypeError,)),
        ("ArgumentsTooLarge", (TypeError,)),
        ("ReturnValueNotSerializable", (TypeError,)),
        ("UnknownTask", (LookupError,)),
        ("InvalidFilter", (ValueError,)),
        ("UndecodableMessage", (ValueError,)),
        ("ResultNotFound", (TaskResultDoesNotExist, TaskException)),
        ("ResultTimeout", (TimeoutError,)),
        ("ResultInsideTransaction", (TimeoutError, errors.ResultTimeout)),
        ("TaskCancelled", (TaskFailed,)),
        ("TaskExpired", (TaskFailed,)),
        ("InvalidSettings", (ImproperlyConfigured,)),
        ("BrokenInstallation", (ImproperlyConfigured,)),
        ("BrokerUnavailable", (ConnectionError,)),
        ("BrokerUnusable", (ImproperlyConfigured,)),
        ("EmbeddedServerUnavailable", (errors.BrokerUnusable,)),
        ("WorkerCannotStart", ()),
    ],
)
def test_an_error_is_what_callers_catch_already(name: str, also: tuple[type, ...]) -> None:
    error = getattr(errors, name)

    assert issubclass(error, (errors.TaskQueueError,))
    assert all(issubclass(error, other) for other in also)


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    drawn: dict[str, str] = {}
    above = ["TaskQueueError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ]*)[├└]── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1]

    real = {
        name: one.__bases__[0].__name__
        for name, one in vars(errors).items()
        if isinstance(one, type) and one.__module__ == errors.__name__ and name != "TaskQueueError"
    }
    assert drawn == real


def test_a_failed_task_says_which_and_why() -> None:
    error = TaskFailed("some-id", "builtins.ValueError", "no such user", "Traceback …")

    assert str(error) == "Task some-id failed: builtins.ValueError: no such user"
    assert str(TaskFailed("some-id", "", "")) == "Task some-id failed"
    assert str(TaskCancelled("some-id", "", "")) == "Task some-id was cancelled"
    assert str(TaskExpired("some-id", "", "")) == "Task some-id expired before it was started"
    assert (error.error_class, error.traceback) == ("builtins.ValueError", "Traceback …")


@pytest.mark.parametrize(
    "error",
    [
        TaskFailed("id", "a.B", "why", "trace"),
        TaskExpired("id", "a.B", "why"),
        ArgumentNotSerializable("said", name="user", value=3),
        ArgumentsTooLarge("said", size=5, limit=3),
        errors.ResultTimeout("said"),
    ],
)
def test_an_error_survives_pickling_as_pools_and_parallel_tests_do_it(error: Any) -> None:
    back = pickle.loads(pickle.dumps(error))

    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))
