"""Sensitive arguments, for whoever shows a call: redacted by the task's name, or as its record
notes it; and taken out of the texts of its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_tasks.broker.message import to_json
from django_tasks.calls import registry
from django_tasks.calls.arguments import describe, hidden_places
from django_tasks.calls.arguments import redacted as redacted_call
from django_tasks.calls.shown import MASK
from django_tasks.errors import UnknownTask

if TYPE_CHECKING:
    from django_tasks.models import TaskRecord

NOTE = "sensitive"  # in a record's metadata (signature.py): the places, also of a task that is gone
LEAST = 4  # characters of a value that is looked for in the texts of errors: "1" is in all of them
MOST_VALUES = 1000  # that are looked for


def note_of(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int | str]:
    """Where a call has its sensitive arguments: positions and names."""
    options = getattr(task, "options", None)
    if options is None or not options.sensitive:
        return []
    return hidden_places(task.func, task.takes_context, options.sensitive, len(args), kwargs)


def redacted(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as they may be shown. ``task``: itself, or its name."""
    return redacted_call(_found(task), args, kwargs)


def is_sensitive(task_name: str) -> bool:
    """Whether the task of this name calls some of its arguments sensitive."""
    return _is_sensitive(_found(task_name))


def shown_call(record: TaskRecord) -> tuple[Any, Any, str]:
    """A record's args, kwargs and description as they may be shown."""
    task, noted = _found(record.task_name), (record.metadata or {}).get(NOTE, ())
    if not _is_sensitive(task) and not noted:
        return record.args, record.kwargs, record.description
    if not isinstance(record.args, list) or not isinstance(record.kwargs, dict):
        return MASK, MASK, record.task_name  # a foreign hand's
    args, kwargs = redacted_call(task, record.args, record.kwargs, noted)
    name = record.task_name.rpartition(".")[2] if task is None else task.func.__name__
    # Made anew: the one that is there may be older than the option.
    return args, kwargs, describe(name, args, kwargs)


def shown_fields(fields: Mapping[str, str], record: TaskRecord | None = None) -> dict[str, str]:
    """A message's raw fields as they may be shown: ``args``, ``kwargs`` and ``description``.
    ``record``: its row, if there is one."""
    shown = dict(fields)
    task = _found(fields.get("task", ""))
    metadata = record.metadata if record is not None else _read(fields.get("metadata", ""), dict)
    noted = (metadata or {}).get(NOTE, ())
    if not _is_sensitive(task) and not noted:
        return shown
    name = fields.get("task", "").rpartition(".")[2] if task is None else task.func.__name__
    args = _read(fields.get("args", "[]"), list)
    kwargs = _read(fields.get("kwargs", "{}"), dict)
    if args is None or kwargs is None:
        hidden = {"args": MASK, "kwargs": MASK, "description": name}
    else:
        args, kwargs = redacted_call(task, args, kwargs, noted)
        told = describe(name, args, kwargs)
        hidden = {"args": to_json(args), "kwargs": to_json(kwargs), "description": told}
    shown.update({field: text for field, text in hidden.items() if field in shown})
    return shown


def scrubbed(text: str, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A text without the values of sensitive arguments that stand in it word for word, also as
    Python or JSON would quote them."""
    places = set(note_of(task, args, kwargs))
    if not places:
        return text
    hidden = [value for position, value in enumerate(args) if position in places]
    hidden += [value for name, value in kwargs.items() if name in places]
    words: set[str] = set()
    try:
        for value in _leaves(hidden):
            words.update((value, repr(value)[1:-1], to_json(value)[1:-1]))
            if len(words) > MOST_VALUES:  # to look for so many would take long
                return f"{MASK} (not shown: its task was given too many sensitive values)"
    except RecursionError:  # a foreign hand's
        return f"{MASK} (not shown: its task was given sensitive values too deep to look at)"
    for word in sorted(words, key=len, reverse=True):  # one may be part of another
        if len(word) >= LEAST:
            text = text.replace(word, MASK)
    return text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield repr(value)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not name.isidentifier():  # "number" is a field's name, "4111 1111" is none
                yield name
            yield from _leaves(item)


def _is_sensitive(task: Any) -> bool:
    options = getattr(task, "options", None)
    return options is not None and bool(options.sensitive)


def _found(task: Any) -> Any:
    """The task of this name; None for one that nobody knows here."""
    if not isinstance(task, str):
        return task
    try:
        return registry.find(task)
    except UnknownTask:
        pass
    try:
        registry.discover()  # e.g. in a process that enqueues nothing
        return registry.find(task)
    except Exception:  # also a module that can't be imported: who looks must not fail of it
        return None


def _read(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
