"""@django_task and Task: a function made runnable in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from django_tasks import framework
from django_tasks.calls import registry
from django_tasks.calls.arguments import require_fit
from django_tasks.calls.foreign import ForeignBackend, own_context
from django_tasks.calls.options import (
    TaskOptions,
    changed,
    changed_for_call,
    one_queue,
    require_for_all_calls,
)
from django_tasks.calls.signature import Signature
from django_tasks.errors import InvalidTaskOptions, NotATask

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    from django.tasks import Task as FrameworkTask

    from django_tasks.calls.result import TaskResult
else:

    class FrameworkTask(framework.Task):
        """The framework's class, generic at run time too (django-stubs has it so)."""

        __class_getitem__ = classmethod(lambda cls, parameters: cls)


@dataclass(frozen=True, kw_only=True)
class Task(FrameworkTask[P, R]):
    """Django's ``Task`` with our options. ``add(1, 2)`` stays a plain call."""

    options: TaskOptions = field(default_factory=TaskOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        # As functools.wraps does, for documentation and inspection.
        for name in ("__name__", "__qualname__", "__doc__", "__wrapped__"):
            value = self.func if name == "__wrapped__" else getattr(self.func, name, None)
            object.__setattr__(self, name, value)
        registry.register(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now, as if it were not a task."""
        result: R = self.func(*args, **kwargs)
        return result

    def __deepcopy__(self, memo: Any) -> Task[P, R]:
        # Frozen, so that a copy is itself: Dummy copies what it gives, and Django would look the
        # task up by its path, where a function made a task by a call is none.
        return self

    @property
    def task_name(self) -> str:
        """The name that travels and that records bear."""
        return registry.name_of(self)

    def get_backend(self) -> Any:
        """The backend of the task's alias; ours if ``TASKS`` is unset."""
        backend = framework.task_backend(self.backend)
        if issubclass(backend.task_class, Task):
            return backend
        return ForeignBackend(backend)

    if not TYPE_CHECKING:

        def call(self, *args, **kwargs):
            """As the framework's; a context of another backend's making becomes ours."""
            return super().call(*self._with_own_context(args), **kwargs)

        async def acall(self, *args, **kwargs):
            """``call`` for asyncio."""
            return await super().acall(*self._with_own_context(args), **kwargs)

        def _with_own_context(self, args):
            return (own_context(args[0]), *args[1:]) if self.takes_context and args else args

    if TYPE_CHECKING:
        # The framework's own methods run (who traces tasks patches those); ours is what they give.
        def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult: ...
        async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult: ...
        def get_result(self, result_id: str) -> TaskResult: ...
        async def aget_result(self, result_id: str) -> TaskResult: ...

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult:
        """``enqueue``, under the name that Celery users know."""
        return self.enqueue(*args, **kwargs)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A call not yet made, for ``enqueue_many`` and for what joins calls: there its first
        arguments may be what others return, so that no type checker knows whether these fit."""
        return Signature(self, args, dict(kwargs))

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """The same, immutable: in a chain or a chord it takes no value of what it waits for."""
        return Signature(self, args, dict(kwargs), immutable=True)

    def map(self, items: Iterable[Any]) -> Signature:
        """A call not yet made of this task with each of the items in turn, in one run; its value is
        the list of theirs. Raises ``InvalidTaskOptions``, ``ArgumentMismatch``."""
        given = list(items)
        for item in given:
            require_fit(self.func, self.takes_context, [item], {})
        return Signature(self._many("call_with_each"), (self.task_name, given))

    def starmap(self, items: Iterable[Sequence[Any]]) -> Signature:
        """``map``, each item being the positional arguments of one call."""
        given = [list(item) for item in items]
        for item in given:
            require_fit(self.func, self.takes_context, item, {})
        return Signature(self._many("call_with_all_of_each"), (self.task_name, given))

    def _many(self, name: str) -> Any:
        """The task that calls this one many times, as this one is run."""
        if self.options.sensitive or self.options.atomic:
            raise InvalidTaskOptions(
                f"{self.module_path} has sensitive= or atomic=, which hold for each call by itself:"
                " enqueue a group of calls instead."
            )
        found = getattr(registry.load("django_tasks.tasks"), name)
        kept = ("retries", "backoff", "max_lost", "expires")
        own = {one: getattr(self.options, one) for one in kept}
        return replace(
            found,
            queue_name=self.queue_name,
            priority=self.priority,
            backend=self.backend,
            run_after=self.run_after,
            options=replace(found.options, **own),
        )

    def using(
        self,
        *,
        queue: str | None = None,
        queue_name: str | None = None,
        priority: int | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        **options: Any,
    ) -> Task[P, R]:
        """The task with other options; what is None stays. A ``timedelta`` in ``run_after`` counts
        from the enqueue. Raises ``InvalidTaskOptions``."""
        given: dict[str, Any] = {
            "queue_name": one_queue(queue, queue_name),
            "priority": priority,
            "run_after": run_after,
            "backend": backend,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return replace(self, **changes, options=changed_for_call(self.options, options))


@overload
def django_task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def django_task(
    *,
    takes_context: Literal[True],
    queue: str | None = ...,
    queue_name: str | None = ...,
    priority: int = ...,
    backend: str = ...,
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...  # our context, or Django's


@overload
def django_task(
    *,
    takes_context: Literal[False] = ...,
    queue: str | None = ...,
    queue_name: str | None = ...,
    priority: int = ...,
    backend: str = ...,
    **options: Any,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def django_task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    queue: str | None = None,
    queue_name: str | None = None,
    priority: int = framework.DEFAULT_TASK_PRIORITY,
    backend: str = framework.DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    **options: Any,
) -> Any:
    """Make a module's function a background task; with or without parentheses.

    ``queue`` (or Django's ``queue_name``), ``priority`` −100…100 (higher first), ``backend`` (an
    alias of ``TASKS``), ``takes_context`` (the first parameter is a ``TaskContext``), and the
    options of ``TaskOptions``. Raises ``InvalidTaskOptions`` at import."""
    if function is not None and not callable(function):
        raise NotATask(
            f"@django_task got {function!r} instead of a function. Write options by name:"
            " @django_task(queue='mail')."
        )
    require_for_all_calls(options)
    chosen = one_queue(queue, queue_name) or framework.DEFAULT_TASK_QUEUE_NAME
    checked = changed(TaskOptions(), options)

    def decorate(func: Callable[..., Any]) -> Task[..., Any]:
        if isinstance(func, framework.Task):
            raise InvalidTaskOptions(f"{func.module_path} is a task already.")
        return Task(
            func=func,
            priority=priority,
            queue_name=chosen,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            options=checked,
        )

    return decorate if function is None else decorate(function)


def require_task(value: Any) -> Any:
    """``value`` if it is a task. Raises ``NotATask`` with the cure."""
    if isinstance(value, framework.Task):
        return value
    name = getattr(value, "__name__", repr(value))
    raise NotATask(
        f"{name} is a plain {type(value).__name__}, not a task. Put @django_task above its"
        f" definition, then use {name}.s(…) or {name}.enqueue(…)."
    )
