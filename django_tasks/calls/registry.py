"""Name → task. A message can name nothing but what is in here (law 8)."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps

from django_tasks.conf import task_settings
from django_tasks.errors import InvalidSettings, InvalidTaskOptions, UnknownTask

_tasks: dict[str, Any] = {}  # by name
_aliases: dict[str, str] = {}  # other names → name


def name_of(task: Any) -> str:
    """The name that travels: the option ``name``, else module and function."""
    options = getattr(task, "options", None)
    return (options.name if options else "") or task.module_path


def register(task: Any) -> None:
    """Make a task known by its name and aliases. The first of one function stays: what
    ``using()`` returns is a variant of it. Raises ``InvalidTaskOptions`` for a name taken."""
    name = name_of(task)
    known = _tasks.get(name)
    if known is not None and known.func is task.func:
        return
    if known is not None and known.module_path != task.module_path:
        raise InvalidTaskOptions(
            f"Two tasks have the name {name!r}: {known.module_path} and {task.module_path}."
            " Give one of them another name=."
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
    _aliases.update(dict.fromkeys(aliases, name))


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


def databases() -> set[str]:
    """Aliases that tasks name for their records, besides what the routers say."""
    return {
        task.options.database
        for task in _tasks.values()
        if hasattr(task, "options") and task.options.database
    }


def discover(aliases: Iterable[str] = ("default",)) -> None:
    """Import each installed app's ``tasks`` module and the ``MODULES`` of the given aliases."""
    for config in apps.get_app_configs():
        name = f"{config.name}.tasks"
        # An app without the module is fine; a module that fails to import must say so.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    for alias in aliases:
        for module in task_settings(alias).modules:
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name and (module == error.name or module.startswith(error.name + ".")):
                    raise InvalidSettings(
                        f"DJANGO_TASKS['MODULES'] names {module!r}, which can't be found."
                    ) from error
                raise
