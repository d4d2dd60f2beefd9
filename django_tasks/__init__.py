"""Uncut: a task queue for Django. The public names, lazily: importing this imports nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__distribution__ = "django-tasks-uncut"  # whose file this is: see installation.py

if TYPE_CHECKING:
    from django_tasks.calls.backend import RedisBackend, enqueue_many
    from django_tasks.calls.canvas import chain, chord, group
    from django_tasks.calls.context import RunCancelled, TaskContext
    from django_tasks.calls.dependency import Dependency
    from django_tasks.calls.group_result import GroupResult
    from django_tasks.calls.handle import get_workflow, workflow
    from django_tasks.calls.provenance import (
        LanguageAndTimeZone,
        Provenance,
        request_middleware,
    )
    from django_tasks.calls.result import TaskResult
    from django_tasks.calls.retries import Retry, Snooze
    from django_tasks.calls.task import Task, django_task
    from django_tasks.framework import DEFAULT_TASK_BACKEND_ALIAS as DEFAULT_TASK_BACKEND_ALIAS
    from django_tasks.framework import DEFAULT_TASK_QUEUE_NAME as DEFAULT_TASK_QUEUE_NAME
    from django_tasks.framework import TaskResultStatus as TaskResultStatus
    from django_tasks.framework import default_task_backend as default_task_backend
    from django_tasks.framework import task as task
    from django_tasks.framework import task_backends as task_backends

_OURS = {
    "django_task": "calls.task",
    "Task": "calls.task",
    "TaskResult": "calls.result",
    "TaskContext": "calls.context",
    "RedisBackend": "calls.backend",
    "enqueue_many": "calls.backend",
    "chain": "calls.canvas",
    "chord": "calls.canvas",
    "group": "calls.canvas",
    "GroupResult": "calls.group_result",
    "Dependency": "calls.dependency",
    "workflow": "calls.handle",
    "get_workflow": "calls.handle",
    "Retry": "calls.retries",
    "Snooze": "calls.retries",
    "RunCancelled": "calls.context",
    "LanguageAndTimeZone": "calls.provenance",
    "Provenance": "calls.provenance",
    "request_middleware": "calls.provenance",
}
# So that code written for django.tasks' backport, `from django_tasks import task`, runs.
_FRAMEWORK = (
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_QUEUE_NAME",
    "TaskResultStatus",
    "default_task_backend",
    "task",
    "task_backends",
)

__all__ = [
    "Dependency",
    "GroupResult",
    "LanguageAndTimeZone",
    "Provenance",
    "RedisBackend",
    "Retry",
    "RunCancelled",
    "Snooze",
    "Task",
    "TaskContext",
    "TaskResult",
    "chain",
    "chord",
    "django_task",
    "enqueue_many",
    "get_workflow",
    "group",
    "request_middleware",
    "workflow",
]


def __getattr__(name: str) -> object:
    if name in _OURS:
        return getattr(import_module(f"django_tasks.{_OURS[name]}"), name)
    if name in _FRAMEWORK:
        return getattr(import_module("django_tasks.framework"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OURS, *_FRAMEWORK])
