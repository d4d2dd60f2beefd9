"""A backend that is not ours (Immediate and Dummy, in tests), as our tasks use it.

What is promised of a call holds with every backend: arguments are bound and in JSON's types, no
``QUEUES`` means any name, ``run_after`` may be a ``timedelta``, results have ``get``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django_tasks import framework
from django_tasks.calls.arguments import normalize
from django_tasks.calls.context import TaskContext
from django_tasks.calls.registry import variant
from django_tasks.calls.result import REFRESHED, TaskResult
from django_tasks.calls.signature import checked_task, moment
from django_tasks.errors import ResultTimeout


class ForeignBackend:
    """Stands before the backend; what is not here is the backend's own."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    __class__: Any = property(lambda self: type(self._backend))  # what isinstance() sees

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def validate_task(self, task: Any) -> None:
        """Raises ``InvalidTaskOptions``."""
        with self._any_queue():
            checked_task(task, self._backend.validate_task)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Raises ``TaskArgumentError``, ``InvalidTaskOptions``."""
        call = _as_backends_take_it(task, args, kwargs)
        with self._any_queue():
            return adopted(self._backend.enqueue(*call))

    async def aenqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult:
        """``enqueue`` for asyncio."""
        call = _as_backends_take_it(task, args, kwargs)
        with self._any_queue():
            return adopted(await self._backend.aenqueue(*call))

    def get_result(self, result_id: Any) -> TaskResult:
        """Raises ``TaskResultDoesNotExist``."""
        return adopted(self._backend.get_result(result_id))

    async def aget_result(self, result_id: Any) -> TaskResult:
        """``get_result`` for asyncio."""
        return adopted(await self._backend.aget_result(result_id))

    @contextmanager
    def _any_queue(self) -> Iterator[None]:
        """Django's default is the one queue "default"; that of our tasks is any name."""
        backend = self._backend
        if framework.task_backends.settings[backend.alias].get("QUEUES"):
            yield
            return
        named, backend.queues = backend.queues, set()
        try:
            yield
        finally:
            backend.queues = named


def _as_backends_take_it(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, list[Any], dict[str, Any]]:
    sensitive = getattr(getattr(task, "options", None), "sensitive", ())
    plain = normalize(task.func, task.takes_context, args, kwargs, sensitive)
    if isinstance(task.run_after, timedelta):
        task = variant(task, run_after=moment(task.run_after, datetime.now(UTC)))
    return task, *plain


def own_context(context: Any) -> Any:
    """The context that a backend gives to a task of ours, as ours."""
    if not isinstance(context, framework.TaskContext) or isinstance(context, TaskContext):
        return context
    return TaskContext(task_result=adopted(context.task_result), number=context.attempt)


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignResult(TaskResult):
    """The result of a backend that is not ours: read from that backend, and equal to what that
    keeps of it."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, framework.TaskResult):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in (*_FIELDS, "status"))

    __hash__ = None  # type: ignore[assignment]

    def refresh(self) -> None:
        """Read again where the task is. What Immediate gave is final: nothing is read."""
        if not self.is_finished:
            self._copy(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        """``refresh`` for asyncio."""
        if not self.is_finished:
            self._copy(await self.task.get_backend().aget_result(self.id))

    def _copy(self, fresh: Any) -> None:
        for name in REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))

    def _require_progress(self) -> None:
        if not self.task.get_backend().supports_get_result:
            raise ResultTimeout(
                f"Task {self.id} is {self.state}, and waiting does not help: the backend of the"
                f" alias {self.backend!r} in TASKS runs no task later. Tests that want its outcome"
                " use Django's ImmediateBackend, or ours and a burst."
            )


def adopted(result: Any) -> TaskResult:
    """A result as Django's backends make it, as ours; what is none is the backend's own affair."""
    is_a_result = isinstance(result, framework.TaskResult)
    if isinstance(result, TaskResult) or not is_a_result:
        kept: TaskResult = result
        return kept
    error = result.errors[-1] if result.errors and result.status == "FAILED" else None
    made = ForeignResult(
        **{name: getattr(result, name) for name in _FIELDS},
        state=result.status.value,
        error_class=error.exception_class_path if error else "",
        error_message=_message_of(error) if error else "",
        traceback=error.traceback if error else "",
        database="",
    )
    object.__setattr__(made, "_return_value", result._return_value)
    return made


_FIELDS = [name for name, one in framework.TaskResult.__dataclass_fields__.items() if one.init]


def _message_of(error: Any) -> str:
    """The text of the exception: what stands behind its name, at the end of its traceback."""
    path = str(error.exception_class_path).removeprefix("builtins.")
    _, found, text = str(error.traceback).rstrip().rpartition(f"\n{path}: ")
    return text if found else ""
