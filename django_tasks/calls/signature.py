"""Signature: a call not yet made. It lays itself into a Draft: an unsaved row and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from django_tasks.calls.arguments import checked_size, describe, normalize
from django_tasks.calls.options import (
    TaskOptions,
    checked_priority,
    checked_queue,
    checked_run_after,
)
from django_tasks.calls.registry import find, name_of, register, require_function, variant
from django_tasks.conf import task_settings
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

    def draft(self) -> Draft:
        """The row that this call will be. Raises ``TaskArgumentError``."""
        database_for, make_draft, new_record = _floors_below()
        task = self.task
        options = getattr(task, "options", _PLAIN_OPTIONS)
        settings = task_settings(task.backend)
        args, kwargs = normalize(task.func, task.takes_context, self.args, self.kwargs)
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
        if run_after is not None:  # a retry writes its own time into the row
            metadata["run_after"] = run_after.isoformat()
        record = new_record(
            task_name=name,
            description=describe(task.func.__name__, args, kwargs),
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
        )
        return make_draft(
            record=record,
            recording=options.record or settings.record,
            alias=task.backend,
            database=database_for(options.database, settings.database),
        )


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
