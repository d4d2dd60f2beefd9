"""Which Django is this: ``django.tasks``' names, or our own classes of the same shape.

From Django 6.0 the names are the framework's; on 5.2 ``framework_5_2.py`` stands in for it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import django
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

HAS_TASKS_FRAMEWORK = django.VERSION >= (6, 0)

if TYPE_CHECKING or HAS_TASKS_FRAMEWORK:
    from django.tasks import (
        DEFAULT_TASK_BACKEND_ALIAS,
        DEFAULT_TASK_QUEUE_NAME,
        default_task_backend,
        task,
        task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import (
        DEFAULT_TASK_PRIORITY,
        Task,
        TaskContext,
        TaskError,
        TaskResult,
        TaskResultStatus,
    )
    from django.tasks.exceptions import (
        InvalidTask,
        InvalidTaskBackend,
        TaskException,
        TaskResultDoesNotExist,
        TaskResultMismatch,
    )
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
else:
    from django_tasks.framework_5_2 import (
        DEFAULT_TASK_BACKEND_ALIAS,
        DEFAULT_TASK_PRIORITY,
        DEFAULT_TASK_QUEUE_NAME,
        BaseTaskBackend,
        InvalidTask,
        InvalidTaskBackend,
        Task,
        TaskContext,
        TaskError,
        TaskException,
        TaskResult,
        TaskResultDoesNotExist,
        TaskResultMismatch,
        TaskResultStatus,
        default_task_backend,
        normalize_json,
        task,
        task_backends,
        task_enqueued,
        task_finished,
        task_started,
    )


OUR_BACKEND = "django_tasks.RedisBackend"
Moment = TypeVar("Moment", datetime, datetime | None)


@lru_cache(maxsize=1)
def _our_default_backend() -> Any:
    return import_string(OUR_BACKEND)(DEFAULT_TASK_BACKEND_ALIAS, {})


def task_backend(alias: str) -> Any:
    """The backend of an alias: what ``TASKS`` says; ours where ``TASKS`` is unset (Django's own
    default would run tasks in the request). Raises ``InvalidTaskBackend``."""
    if alias == DEFAULT_TASK_BACKEND_ALIAS and not settings.is_overridden(  # type: ignore[misc]
        "TASKS"
    ):
        return _our_default_backend()
    return task_backends[alias]


def known_aliases() -> list[str]:
    """The aliases that ``TASKS`` has; `default` where it is unset."""
    if not settings.is_overridden("TASKS"):  # type: ignore[misc]
        return [DEFAULT_TASK_BACKEND_ALIAS]
    return list(task_backends.settings)


def to_utc(moment: Moment) -> Moment:
    """A time as Django has it, as an aware one in UTC: what messages hold."""
    if moment is None:
        return moment
    if timezone.is_naive(moment):  # USE_TZ=False: local time
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(UTC)


def to_django(moment: Moment) -> Moment:
    """A time as Django has it, in rows and results: naive local time where ``USE_TZ`` is off."""
    if moment is None or settings.USE_TZ or timezone.is_naive(moment):
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_PRIORITY",
    "DEFAULT_TASK_QUEUE_NAME",
    "HAS_TASKS_FRAMEWORK",
    "OUR_BACKEND",
    "BaseTaskBackend",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskException",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "default_task_backend",
    "known_aliases",
    "normalize_json",
    "task",
    "task_backend",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
    "to_django",
    "to_utc",
]
