"""Django 6's Immediate and Dummy backends, for 5.2: tests run tasks at once, or not at all."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from traceback import format_exception
from typing import Any

from django.utils import timezone
from django.utils.crypto import get_random_string

from django_tasks.framework_5_2 import (
    BaseTaskBackend,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
    task_enqueued,
    task_finished,
    task_started,
)

logger = logging.getLogger("django.tasks")
LOG_UID = "django_tasks.framework"  # a module loaded anew connects no second time


def log_task_finished(sender: Any, task_result: Any, **_: Any) -> None:
    """One line per finished task, an ERROR if it failed."""
    # Sent inside exception handlers, so that exc_info() is there.
    error = sys.exc_info()
    logger.log(
        logging.ERROR if task_result.status == TaskResultStatus.FAILED else logging.INFO,
        "Task id=%s path=%s state=%s",
        task_result.id,
        task_result.task.module_path,
        task_result.status,
        exc_info=error if error[0] else None,
    )


task_finished.connect(log_task_finished, dispatch_uid=LOG_UID)


def _new_result(backend: BaseTaskBackend, task: Any, args: Any, kwargs: Any) -> TaskResult:
    return TaskResult(
        task=task,
        id=get_random_string(32),
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=backend.alias,
        errors=[],
        worker_ids=[],
    )


def _set(result: TaskResult, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(result, name, value)


class ImmediateBackend(BaseTaskBackend):
    """Runs a task where it is enqueued."""

    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.worker_id = get_random_string(32)

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
        self.validate_task(task)
        result = _new_result(self, task, args, kwargs)
        _set(result, enqueued_at=timezone.now())
        task_enqueued.send(type(self), task_result=result)
        now = timezone.now()
        _set(result, status=TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
        result.worker_ids.append(self.worker_id)
        task_started.send(sender=type(self), task_result=result)
        context = (TaskContext(task_result=result),) if task.takes_context else ()
        try:
            value = normalize_json(task.call(*context, *result.args, **result.kwargs))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            kind = type(error)
            result.errors.append(
                TaskError(
                    exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
                    traceback="".join(format_exception(error)),
                )
            )
            _set(result, finished_at=timezone.now(), status=TaskResultStatus.FAILED)
            task_finished.send(type(self), task_result=result)
        else:
            _set(result, _return_value=value, finished_at=timezone.now())
            _set(result, status=TaskResultStatus.SUCCESSFUL)
            task_finished.send(type(self), task_result=result)
        return result


class DummyBackend(BaseTaskBackend):
    """Keeps what is enqueued, runs nothing: for tests."""

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[TaskResult] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
        self.validate_task(task)
        result = _new_result(self, task, args, kwargs)
        _set(result, enqueued_at=timezone.now())
        self.results.append(result)
        task_enqueued.send(type(self), task_result=result)
        # A copy: what the caller does to it is not what was enqueued.
        return replace(result, errors=[*result.errors], worker_ids=[*result.worker_ids])

    def get_result(self, result_id: str) -> TaskResult:
        """Raises ``TaskResultDoesNotExist``."""
        for result in self.results:
            if result.id == result_id:
                return result
        raise TaskResultDoesNotExist(result_id)

    def clear(self) -> None:
        """Forget what was enqueued."""
        self.results.clear()
