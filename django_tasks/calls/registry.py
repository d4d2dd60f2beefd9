"""Name → task. A message can name nothing but what is in here (law 8)."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.apps import apps

from django_tasks.calls.options import TaskOptions
from django_tasks.calls.retries import Backoff
from django_tasks.conf import task_settings
from django_tasks.errors import InvalidSettings, InvalidTaskOptions, ResultNotFound, UnknownTask
from django_tasks.framework import to_utc

if TYPE_CHECKING:
    from django_tasks.models import TaskRecord

_tasks: dict[str, Any] = {}  # by name
_aliases: dict[str, str] = {}  # other names → name
_loads: dict[str, Any] = {}  # name → which loading of its module defined the task


def name_of(task: Any) -> str:
    """The name that travels: the option ``name``, else module and function."""
    options = getattr(task, "options", None)
    return (options.name if options else "") or task.module_path


def require_function(func: Any) -> None:
    """Raises ``InvalidTaskOptions`` for what no worker could find by module and name."""
    if not inspect.isfunction(func):
        raise InvalidTaskOptions(
            f"{func!r} is a {type(func).__name__} and not a function of a module, and workers find"
            " tasks by module and name. Write a function that calls it."
        )
    if "<locals>" in func.__qualname__:
        raise InvalidTaskOptions(
            f"{func.__module__}.{func.__qualname__} is defined inside a function, where no worker"
            " finds it. A task must be defined at module level."
        )


def register(task: Any) -> None:
    """Make a task known by its name and aliases. The first of one function stays: what
    ``using()`` returns is a variant of it. Raises ``InvalidTaskOptions`` for a name taken."""
    name = name_of(task)
    known = _tasks.get(name)
    if known is not None and known.func is task.func:
        return
    if name.endswith("<lambda>"):
        raise InvalidTaskOptions(
            f"{name} has no name by which a worker finds it. Write a function with def, or give it"
            " one: django_task(name='…')(lambda: …)."
        )
    if known is not None and not _is_defined_anew(name, known, task):
        raise InvalidTaskOptions(
            f"Two tasks have the name {name!r}: {known.module_path} and {task.module_path}"
            f" ({_place_of(known)}; {_place_of(task)}). Give one of them another name=."
        )
    aliases = task.options.aliases if hasattr(task, "options") else ()
    if _aliases.get(name, name) != name:
        raise InvalidTaskOptions(
            f"The name {name!r} of {task.module_path} is an alias of the task {_aliases[name]!r}."
        )
    for alias in aliases:
        taken = _aliases.get(alias, alias if alias in _tasks else name)
        if taken != name:
            raise InvalidTaskOptions(
                f"The alias {alias!r} of the task {name!r} is a name of the task {taken!r}."
            )
    _tasks[name] = task  # a module loaded anew replaces its tasks
    _loads[name] = _load_of(task)
    _aliases.update(dict.fromkeys(aliases, name))


def _load_of(task: Any) -> Any:
    """What is another one after each loading of a task's module: its spec."""
    return getattr(sys.modules.get(task.func.__module__), "__spec__", None)


def _is_defined_anew(name: str, known: Any, task: Any) -> bool:
    """Whether ``task`` is the later state of the same source: a reload, a shell's next input."""
    if known.module_path != task.module_path:
        return False
    load = _load_of(task)
    if load is not None:
        return load is not _loads.get(name)
    old, new = known.func.__code__, task.func.__code__
    is_elsewhere: bool = old.co_filename != new.co_filename
    return is_elsewhere or old.co_firstlineno == new.co_firstlineno


def _place_of(task: Any) -> str:
    code = task.func.__code__
    return f"{code.co_filename}, line {code.co_firstlineno}"


def variant(task: Any, **values: Any) -> Any:
    """The task with other values, as it is: what was enqueued once need not be valid now."""
    if all(getattr(task, name) == value for name, value in values.items()):
        return task
    copied = object.__new__(type(task))
    kept = {name: getattr(task, name) for name in type(task).__dataclass_fields__}
    # Django's own class has slots and no __dict__; ours bears the function's name and text too.
    for name, value in {**kept, **getattr(task, "__dict__", {}), **values}.items():
        object.__setattr__(copied, name, value)
    return copied


def find(name: str) -> Any:
    """The task of this name or alias. Raises ``UnknownTask``."""
    task = _tasks.get(name) or _tasks.get(_aliases.get(name, ""))
    if task is None:
        close = difflib.get_close_matches(name, [*_tasks, *_aliases], n=1)
        raise UnknownTask(
            f"No task is named {name!r} here."
            + (f" The nearest name is {close[0]!r}." if close else "")
            + " If it was renamed, keep the old name in aliases=(…); if its module is none of the"
            " apps' `tasks`, add it to DJANGO_TASKS['MODULES']."
        )
    return task


def all_tasks() -> Iterator[Any]:
    """Every registered task, by name."""
    return (_tasks[name] for name in sorted(_tasks))


def queue_names(backend: str | None = None) -> list[str]:
    """`default` and every queue that a registered task (of that alias) names."""
    named = {task.queue_name for task in _tasks.values() if backend in (None, task.backend)}
    return sorted(named | {"default"}, key=lambda name: (name != "default", name))


def databases() -> list[str]:
    """Every alias that may hold records; the routers' first."""
    from django_tasks.bridge.databases import record_databases

    return record_databases(
        task.options.database for task in _tasks.values() if hasattr(task, "options")
    )


def discover(aliases: Iterable[str] = ("default",)) -> None:
    """Import every module of ``task_modules``."""
    for module in task_modules(aliases):
        load(module)


def task_modules(aliases: Iterable[str] = ("default",)) -> Iterator[str]:
    """Each installed app's ``tasks`` module and the ``MODULES`` of the given aliases."""
    for config in apps.get_app_configs():
        name = f"{config.name}.tasks"
        # An app without the module is fine; a module that fails to import must say so.
        if importlib.util.find_spec(name) is not None:
            yield name
    for alias in aliases:
        yield from task_settings(alias).modules


def load(module: str) -> ModuleType:
    """Import a module of tasks; returns it. Raises ``InvalidSettings`` if it is not there, and
    whatever its own code raises."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise InvalidSettings(
                f"DJANGO_TASKS['MODULES'] names {module!r}, which can't be found."
            ) from error
        raise


def task_of(record: TaskRecord, alias: str) -> Any:
    """The task of a record as it was for that call. Raises ``ResultNotFound``."""
    try:
        task = find(record.task_name)
    except UnknownTask:
        discover([alias])  # e.g. in a shell, where nobody imported the tasks yet
        try:
            task = find(record.task_name)
        except UnknownTask as error:
            raise ResultNotFound(f"The record {record.id} exists. {error}") from error
    return variant(task, **_called_with(task, record, alias))


def _called_with(task: Any, record: TaskRecord, alias: str) -> dict[str, Any]:
    """What ``using()`` said for the call that became this record."""
    metadata = record.metadata or {}
    run_after, expires = metadata.get("run_after"), record.expires
    values: dict[str, Any] = {
        "queue_name": record.queue_name,
        "priority": record.priority,
        "backend": alias,
        "run_after": datetime.fromisoformat(run_after) if run_after else None,
    }
    if hasattr(task, "options"):  # a plain `django.tasks` task has none
        own: TaskOptions = task.options
        values["options"] = replace(
            own,
            retries=record.max_attempts - 1,
            max_lost=metadata.get("max_lost", TaskOptions.max_lost),
            backoff=Backoff(*metadata["backoff"]) if "backoff" in metadata else own.backoff,
            record=metadata.get("record", own.record),
            expires=(
                (to_utc(expires) - to_utc(record.enqueued_at)).total_seconds()
                if expires and record.enqueued_at
                else None
            ),
        )
    return values
