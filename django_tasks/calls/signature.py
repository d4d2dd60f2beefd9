"""Signature: a call not yet made. It lays itself into a Draft: an unsaved row and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from django_tasks.calls.arguments import (
    checked_size,
    describe,
    hidden_places,
    normalize,
    own_places,
    parameters,
    redacted,
)
from django_tasks.calls.middleware import Call, checked_headers, enqueue_through, plan_of
from django_tasks.calls.options import (
    TaskOptions,
    checked_priority,
    checked_queue,
    checked_run_after,
    checked_sensitive,
)
from django_tasks.calls.registry import find, name_of, register, require_function, variant
from django_tasks.conf import TaskSettings, task_settings
from django_tasks.errors import InvalidTaskOptions, TaskQueueError
from django_tasks.framework import InvalidTask, to_django, to_utc

if TYPE_CHECKING:
    from django_tasks.bridge.outbox import Draft

_PLAIN_OPTIONS = TaskOptions()  # of a task made by the framework's own @task


@cache
def _floors_below() -> tuple[Callable[..., str], Callable[..., Draft], Callable[..., Any]]:
    """Late: tasks are defined before the app registry is ready."""
    from django_tasks.bridge.databases import database_for
    from django_tasks.bridge.outbox import Draft
    from django_tasks.models.record import new_record

    return database_for, Draft, new_record


@dataclass(frozen=True, slots=True)
class Signature:
    """``add.s(1, 2)``: a task and the arguments of one call of it."""

    task: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    immutable: bool = False  # it takes no value of what it waits for

    def __repr__(self) -> str:  # its arguments may be sensitive
        return f"<call of {name_of(self.task)}>"

    def __or__(self, other: Any) -> Any:
        """``add.s(1, 2) | mul.s(3)``: a chain."""
        from django_tasks.calls.canvas import chain

        return chain(self, other)

    def enqueue(self) -> Any:
        """The call, enqueued as ``add.enqueue(1, 2)`` does it."""
        return self.task.enqueue(*self.args, **self.kwargs)

    def delay(self) -> Any:
        """``enqueue``, under the name that Celery users know."""
        return self.enqueue()

    async def aenqueue(self) -> Any:
        """``enqueue`` for asyncio."""
        return await self.task.aenqueue(*self.args, **self.kwargs)

    def draft(self, inputs: int = 0) -> Draft:
        """The row that this call will be, once it passed the middlewares. ``inputs``: how many
        arguments of what it waits for will stand before its own. Raises ``TaskArgumentError``,
        ``MiddlewareError``, and what a middleware raises."""
        settings = task_settings(self.task.backend)
        plan = plan_of(settings.middleware)
        headers: dict[str, Any] | None = None
        for add in plan.adders:
            found = add(self)
            if found:
                headers = {**headers, **found} if headers else dict(found)
        if not plan.enqueues:
            draft = self._laid_down(settings, inputs)
        else:
            call = Call(self.task, self.args, self.kwargs, headers or {})
            draft = enqueue_through(plan, call, partial(self._laid_down, settings, inputs), _id_of)
            headers = call.headers
        if headers:
            draft.record.headers, draft.record.parent_id = checked_headers(headers)
        return draft

    def _laid_down(self, settings: TaskSettings, inputs: int) -> Draft:
        database_for, make_draft, new_record = _floors_below()
        task = self.task
        options = getattr(task, "options", _PLAIN_OPTIONS)
        args, kwargs = normalize(
            task.func, task.takes_context, self.args, self.kwargs, options.sensitive, inputs
        )
        checked_size(task.func.__name__, args, kwargs, settings.max_argument_bytes)
        now = datetime.now(UTC)
        enqueued_at = to_django(now)
        metadata: dict[str, Any] = {}
        if task.backend != "default":
            metadata["backend"] = task.backend
        if options.max_lost != _PLAIN_OPTIONS.max_lost:
            metadata["max_lost"] = options.max_lost
        name = name_of(task)
        register(task)  # a plain ``django.tasks`` one may be unknown yet
        own = own_options(name)
        if options is not own:
            if options.backoff != own.backoff:
                metadata["backoff"] = astuple(options.backoff)
            if options.record != own.record:
                metadata["record"] = options.record
        run_after = moment(task.run_after, now)
        shown: tuple[Any, Any] = (args, kwargs)
        if options.sensitive:
            places = hidden_places(
                task.func, task.takes_context, options.sensitive, inputs + len(args), kwargs
            )
            if places:  # for who shows the record when its task is gone
                noted = own_places(places, inputs)
                metadata["sensitive"] = noted
                shown = redacted(None, args, kwargs, noted)
        if run_after is not None:  # a retry writes its own time into the row
            metadata["run_after"] = run_after.isoformat()
        record = new_record(
            task_name=name,
            description=describe(task.func.__name__, *shown),
            queue_name=task.queue_name,
            priority=int(task.priority),  # 5.0 passes Django's check
            args=args,
            kwargs=kwargs,
            max_attempts=options.retries + 1,
            run_after=run_after,
            expires=moment(options.expires, now),
            created_at=enqueued_at,
            enqueued_at=enqueued_at,
            metadata=metadata,
            release=settings.release,
        )
        return make_draft(
            record=record,
            recording=options.record or settings.record,
            alias=task.backend,
            database=database_for(options.database, settings.database),
        )


def _id_of(draft: Draft) -> Any:
    return draft.record.id


def own_options(name: str) -> TaskOptions:
    """The options that a task was declared with, whatever ``using()`` made of them since."""
    options: TaskOptions = getattr(find(name), "options", _PLAIN_OPTIONS)
    return options


def moment(option: datetime | timedelta | float | None, now: datetime) -> datetime | None:
    """The time, as Django has it, that ``run_after`` or ``expires`` means for a call made now: a
    time, or what counts from the enqueue, as a ``timedelta`` or in seconds."""
    if option is None:
        return None
    if isinstance(option, int | float):
        option = timedelta(seconds=option)
    if isinstance(option, timedelta):
        # In UTC: an hour is an hour also in the night when clocks are put back.
        return to_django(now + option)
    return to_django(to_utc(option))


def checked_task(task: Any, validate: Callable[[Any], None]) -> None:
    """Raises ``InvalidTaskOptions`` for what is wrong with a task, whatever its backend;
    ``validate`` are the backend's own checks."""
    require_function(task.func)
    checked_queue(task.queue_name)
    checked_priority(task.priority)
    checked_run_after(task.run_after)
    if getattr(task, "options", _PLAIN_OPTIONS).atomic and iscoroutinefunction(task.func):
        raise InvalidTaskOptions(
            f"{task.module_path}: atomic=True is for plain functions; transactions have no form for"
            " `async def` in Django."
        )
    sensitive = getattr(task, "options", _PLAIN_OPTIONS).sensitive
    if sensitive:
        known, takes_any = parameters(task.func, task.takes_context)
        if not takes_any:
            checked_sensitive(task.module_path, sensitive, known)
    try:
        validate(_as_enqueued_now(task))
    except TaskQueueError:
        raise
    except (InvalidTask, TypeError, ValueError) as error:
        raise InvalidTaskOptions(f"{task.module_path}: {error}") from error


def _as_enqueued_now(task: Any) -> Any:
    """What Django's checks see of a task whose ``run_after`` is a ``timedelta``: a time."""
    if not isinstance(task.run_after, timedelta):
        return task
    return variant(task, run_after=moment(task.run_after, datetime.now(UTC)))
