"""``django.tasks`` for Django 5.2, which has none: the same names, shapes and behaviour.

Only what tasks, backends and results need. ``TASKS`` may name Django 6's Immediate and Dummy
backends by their paths: framework_5_2_backends.py stands in for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from inspect import isclass, iscoroutinefunction, isfunction
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Self

from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models import TextChoices
from django.dispatch import Signal
from django.utils import timezone
from django.utils.connection import BaseConnectionHandler, ConnectionProxy
from django.utils.inspect import get_func_args
from django.utils.module_loading import import_string
from django.utils.translation import pgettext_lazy

DEFAULT_TASK_BACKEND_ALIAS = "default"
DEFAULT_TASK_PRIORITY = 0
DEFAULT_TASK_QUEUE_NAME = "default"
LEAST_PRIORITY, GREATEST_PRIORITY = -100, 100
OUR_BACKEND = "django_tasks.RedisBackend"

_WRONG_PRIORITY = (
    f"priority must be a whole number between {LEAST_PRIORITY} and {GREATEST_PRIORITY}."
)

task_enqueued = Signal()
task_started = Signal()
task_finished = Signal()


class TaskException(Exception):
    """Base of what the framework raises."""


class InvalidTask(TaskException):
    """The backend can't run the task as it is."""


class InvalidTaskBackend(ImproperlyConfigured):
    """``TASKS`` names no usable backend."""


class TaskResultDoesNotExist(TaskException):
    """No result has this id."""


class TaskResultMismatch(TaskException):
    """The result is another task's."""


class TaskResultStatus(TextChoices):
    """The four states that the framework knows."""

    READY = "READY", pgettext_lazy("Task", "Ready")
    RUNNING = "RUNNING", pgettext_lazy("Task", "Running")
    FAILED = "FAILED", pgettext_lazy("Task", "Failed")
    SUCCESSFUL = "SUCCESSFUL", pgettext_lazy("Task", "Successful")


def normalize_json(obj: Any) -> Any:
    """``obj`` in JSON's types. Raises ``TypeError``; ``ValueError`` for bytes that are no text."""
    match obj:
        case Mapping():
            return {normalize_json(key): normalize_json(item) for key, item in obj.items()}
        case bytes():
            try:
                return obj.decode()
            except UnicodeDecodeError:
                raise ValueError(f"Unsupported value: {type(obj)}") from None
        case str() | int() | float() | None:
            return obj
        case Sequence():
            return [normalize_json(item) for item in obj]
    raise TypeError(f"Unsupported type: {type(obj)}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A function and how it is to be enqueued."""

    func: Callable[..., Any]
    priority: int = DEFAULT_TASK_PRIORITY
    backend: str = DEFAULT_TASK_BACKEND_ALIAS
    queue_name: str = DEFAULT_TASK_QUEUE_NAME
    run_after: datetime | None = None
    takes_context: bool = False

    @classmethod
    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)  # Task[P, R], as django-stubs has it

    def __post_init__(self) -> None:
        self.get_backend().validate_task(self)

    @classmethod
    def _reconstruct(cls, values: dict[str, Any]) -> Self:
        path = values["func"]
        try:
            values["func"] = import_string(path).func
        except (ImportError, AttributeError) as error:
            raise ValueError(f"Expected {path!r} to point to a Task instance.") from error
        return cls(**values)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["func"] = self.module_path
        return (self.__class__._reconstruct, (values,))

    @property
    def name(self) -> str:
        return self.func.__name__

    @property
    def module_path(self) -> str:
        return f"{self.func.__module__}.{self.func.__qualname__}"

    def using(self, **options: Any) -> Self:
        known = ("priority", "queue_name", "run_after", "backend")
        for name in options:
            if name not in known:
                raise TypeError(f"Task.using() got an unexpected keyword argument {name!r}")
        return replace(self, **{name: one for name, one in options.items() if one is not None})

    def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        return self.get_backend().enqueue(self, args, kwargs)

    async def aenqueue(self, *args: Any, **kwargs: Any) -> Any:
        return await self.get_backend().aenqueue(self, args, kwargs)

    def get_result(self, result_id: str) -> Any:
        """Raises ``TaskResultDoesNotExist``, ``TaskResultMismatch``."""
        return self._matching(self.get_backend().get_result(result_id))

    async def aget_result(self, result_id: str) -> Any:
        return self._matching(await self.get_backend().aget_result(result_id))

    def _matching(self, result: Any) -> Any:
        if result.task.func != self.func:
            raise TaskResultMismatch(f"Task does not match (received {result.task.module_path!r})")
        return result

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if iscoroutinefunction(self.func):
            return async_to_sync(self.func)(*args, **kwargs)
        return self.func(*args, **kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        if iscoroutinefunction(self.func):
            return await self.func(*args, **kwargs)
        return await sync_to_async(self.func)(*args, **kwargs)

    def get_backend(self) -> Any:
        return task_backends[self.backend]


def task(
    function: Callable[..., Any] | None = None,
    *,
    priority: int = DEFAULT_TASK_PRIORITY,
    queue_name: str = DEFAULT_TASK_QUEUE_NAME,
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    **options: Any,
) -> Any:
    """The framework's decorator."""
    if "run_after" in options:
        raise TypeError(
            "run_after cannot be defined statically with the @task decorator. "
            "Use .using(run_after=...) to set it dynamically."
        )

    def decorate(func: Callable[..., Any]) -> Any:
        return task_backends[backend].task_class(
            func=func,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            **options,
        )

    return decorate if function is None else decorate(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskError:
    """One error of a task."""

    exception_class_path: str
    traceback: str

    @property
    def exception_class(self) -> type[BaseException]:
        found = import_string(self.exception_class_path)
        if not isclass(found) or not issubclass(found, BaseException):
            raise ValueError(f"{self.exception_class_path!r} does not reference a valid exception.")
        return found


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What became of one call."""

    task: Any
    id: str
    status: TaskResultStatus
    enqueued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    last_attempted_at: datetime | None
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    errors: list[TaskError]
    worker_ids: list[str]
    _return_value: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", normalize_json(self.args))
        object.__setattr__(self, "kwargs", normalize_json(self.kwargs))

    @property
    def return_value(self) -> Any:
        """Raises ``ValueError`` unless the task succeeded."""
        if self.status == TaskResultStatus.SUCCESSFUL:
            return self._return_value
        if self.status == TaskResultStatus.FAILED:
            raise ValueError("Task failed")
        raise ValueError("Task has not finished yet")

    @property
    def is_finished(self) -> bool:
        return self.status in {TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL}

    @property
    def attempts(self) -> int:
        return len(self.worker_ids)

    def refresh(self) -> None:
        """Read again what changes."""
        self._copy(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        self._copy(await self.task.get_backend().aget_result(self.id))

    def _copy(self, fresh: Any) -> None:
        for name in (
            "errors _return_value finished_at started_at last_attempted_at status enqueued_at"
            " worker_ids"
        ).split():
            object.__setattr__(self, name, getattr(fresh, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task may ask that takes its context."""

    task_result: Any

    @property
    def attempt(self) -> int:
        return int(self.task_result.attempts)


class BaseTaskBackend(ABC):
    """What ``TASKS`` names."""

    task_class: type[Any] = Task
    supports_defer = False
    supports_async_task = False
    supports_get_result = False
    supports_priority = False

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        self.alias = alias
        self.queues = set(params.get("QUEUES", [DEFAULT_TASK_QUEUE_NAME]))
        self.options = params.get("OPTIONS", {})

    def validate_task(self, task: Any) -> None:
        """Raises ``InvalidTask``."""
        # In this order, each only if those before it passed: a later one may not bear the value.
        if not _is_module_level(task.func):
            raise InvalidTask("Task function must be defined at a module level.")
        if not self.supports_async_task and iscoroutinefunction(task.func):
            raise InvalidTask("Backend does not support async Tasks.")
        if task.takes_context and get_func_args(task.func)[:1] != ["context"]:
            raise InvalidTask("Task takes context but does not have a first argument of 'context'.")
        if not self.supports_priority and task.priority != DEFAULT_TASK_PRIORITY:
            raise InvalidTask("Backend does not support setting priority of tasks.")
        is_within = LEAST_PRIORITY <= task.priority <= GREATEST_PRIORITY
        if not is_within or int(task.priority) != task.priority:
            raise InvalidTask(_WRONG_PRIORITY)
        if not self.supports_defer and task.run_after is not None:
            raise InvalidTask("Backend does not support run_after.")
        if settings.USE_TZ and task.run_after is not None and not timezone.is_aware(task.run_after):
            raise InvalidTask("run_after must be an aware datetime.")
        if self.queues and task.queue_name not in self.queues:
            raise InvalidTask(f"Queue '{task.queue_name}' is not valid for backend.")

    @abstractmethod
    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Queue up a call."""

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        return await sync_to_async(self.enqueue, thread_sensitive=True)(
            task=task, args=args, kwargs=kwargs
        )

    def get_result(self, result_id: str) -> Any:
        """Raises ``TaskResultDoesNotExist``; here: not supported."""
        # The class that Django raises.
        raise NotImplementedError("This backend does not support retrieving or refreshing results.")

    async def aget_result(self, result_id: str) -> Any:
        return await sync_to_async(self.get_result, thread_sensitive=True)(result_id=result_id)

    def check(self, **kwargs: Any) -> list[Any]:
        return []


def _is_module_level(function: Any) -> bool:
    # A class's static method can be imported as well; a builtin or an instance is no function.
    return isfunction(function) and "<locals>" not in function.__qualname__


if TYPE_CHECKING:
    _Handler = BaseConnectionHandler[Any]
else:
    _Handler = BaseConnectionHandler

# Settings written for Django 6 name these paths; they do not exist in 5.2.
_STAND_INS = {
    "django.tasks.backends.immediate.ImmediateBackend": (
        "django_tasks.framework_5_2_backends.ImmediateBackend"
    ),
    "django.tasks.backends.dummy.DummyBackend": "django_tasks.framework_5_2_backends.DummyBackend",
}


class TaskBackendHandler(_Handler):
    """The backends by alias, one per thread, made when first asked for."""

    settings_name = "TASKS"
    exception_class = InvalidTaskBackend

    def configure_settings(self, given: Any) -> Any:
        # 5.2 has no default of TASKS. An empty one is not unset: it has no backend, as in 6.1.
        if given is None:
            ours = {DEFAULT_TASK_BACKEND_ALIAS: {"BACKEND": OUR_BACKEND}}
            given = getattr(settings, "TASKS", ours)
        return given

    def create_connection(self, alias: str) -> Any:
        params = self.settings[alias]
        path = params["BACKEND"]
        try:
            backend = import_string(_STAND_INS.get(path, path))
        except ImportError as error:
            raise InvalidTaskBackend(f"Could not find backend '{path}': {error}") from error
        return backend(alias=alias, params=params)


task_backends = TaskBackendHandler()
default_task_backend: Any = ConnectionProxy(task_backends, DEFAULT_TASK_BACKEND_ALIAS)


def _forget_backends(*, setting: str, **_: Any) -> None:
    if setting == "TASKS":
        handler: Any = task_backends
        handler._settings = handler.settings = handler.configure_settings(None)
        handler._connections = Local()


setting_changed.connect(_forget_backends, dispatch_uid="django_tasks.framework")
