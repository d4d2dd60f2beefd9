"""TaskContext: what a running task may ask. The first argument of a task that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_tasks import framework

if TYPE_CHECKING:
    from django_tasks.calls.result import TaskResult

    # django-stubs has it neither frozen nor with a result of ours.
    FrameworkTaskContext: Any
else:
    FrameworkTaskContext = framework.TaskContext


class RunCancelled(BaseException):
    """Raised inside a running task that somebody cancelled. Clean up and let it pass; a task that
    does not end within ``CANCEL_GRACE`` seconds is ended with its process.

    No error, as asyncio's ``CancelledError`` is none: an ``except Exception`` does not stop it."""


@dataclass(frozen=True, kw_only=True)
class TaskContext(FrameworkTaskContext):  # type: ignore[misc, unused-ignore]
    """Django's ``TaskContext``. ``attempt``: which attempt this is, counted from 1."""

    number: int = 1

    @property
    def attempt(self) -> int:
        """Runs that ended by an error of the task, and this one. Lost runs are not counted."""
        return self.number

    @property
    def result(self) -> TaskResult:
        """The result of the call that runs: its ``id``, ``args``, ``enqueued_at``."""
        result: TaskResult = self.task_result
        return result
