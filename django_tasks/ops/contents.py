"""``key:value`` in what a record was called with: a condition for the database."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.db.models import Q
from django.db.models.fields.json import KeyTransform, KeyTransformExact
from django.utils.translation import gettext as _

from django_tasks.calls import registry
from django_tasks.calls.arguments import positions
from django_tasks.calls.sensitive import NOTE, note_of
from django_tasks.errors import InvalidFilter
from django_tasks.models.fields import AnyJSONField

MAX_DEPTH = 8  # of a key with dots


def contents(key: str, value: str, tasks: Collection[str] = ()) -> Q:
    """``invoice:42`` finds the number and the text; ``user.id:7`` looks inside. A positional
    argument is found by its parameter's name, for the tasks that are known here. ``tasks``: those
    it may be; any, if there are none. Raises ``InvalidFilter`` for a sensitive argument: who may
    not see a value may not guess it either."""
    path = key.split(".")[:MAX_DEPTH]
    _require_open(path[0], tasks)
    hiding, others = _with_sensitive(path[0])
    # What a task noted that is not known here: nobody can say which of its arguments were meant.
    is_open = Q(**{f"metadata__{NOTE}__isnull": True}) | Q(task_name__in=others)
    found = Q()
    for meant in _meanings(value):
        found |= Q(_is("metadata", path, meant)) | Q(_is("headers", path, meant))
        found |= Q(_is("kwargs", path, meant)) & is_open & ~Q(task_name__in=hiding)
        for position, names in _places(path[0]).items():
            at = _is("args", [position, *path[1:]], meant)
            found |= Q(Q(task_name__in=[one for one in names if one not in hiding]), at)
    return found


def _require_open(name: str, tasks: Collection[str]) -> None:
    hiding = [
        registry.name_of(task)
        for task in registry.all_tasks()
        if name in _sensitive_of(task) and (not tasks or registry.name_of(task) in tasks)
    ]
    if hiding:
        text = _("%(name)s is a sensitive argument of %(tasks)s: nobody can search for it.")
        hint = "" if tasks else _(" Name another task, if you mean that of another.")
        raise InvalidFilter(text % {"name": name, "tasks": ", ".join(hiding[:5])} + hint)


def _with_sensitive(name: str) -> tuple[list[str], list[str]]:
    """The tasks with sensitive arguments: those that hide the one of this name, and the others."""
    hiding: list[str] = []
    others: list[str] = []
    for task in registry.all_tasks():
        if _sensitive_of(task):
            is_hidden = bool(note_of(task, (), {name: None}))
            (hiding if is_hidden else others).append(registry.name_of(task))
    return hiding, others


def _sensitive_of(task: Any) -> tuple[str, ...]:
    options = getattr(task, "options", None)
    return options.sensitive if options is not None else ()


def _meanings(value: str) -> list[Any]:
    try:
        read = json.loads(value)
    except ValueError:
        return [value]
    # No list or mapping as a whole, and null is what is not there too: those are text.
    return [value] if read is None or isinstance(read, list | dict | str) else [read, value]


def _is(column: str, path: list[Any], value: Any) -> Any:
    found: Any = column
    for key in path:
        # Not by the words of a lookup: kwargs__in is none for a key "in".
        found = KeyTransform(key, found, output_field=AnyJSONField())
    return KeyTransformExact(found, value)


def _places(name: str) -> dict[int, list[str]]:
    """Position → the tasks whose parameter of that name it is."""
    found: dict[int, list[str]] = defaultdict(list)
    for task in registry.all_tasks():
        place = positions(task.func, bool(getattr(task, "takes_context", False))).get(name)
        if place is not None:
            found[place].append(registry.name_of(task))
    return found
