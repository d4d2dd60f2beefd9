"""``key:value`` in what a record was called with: a condition for the database."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django.db.models import Q
from django.db.models.fields.json import KeyTransform, KeyTransformExact

from django_tasks.calls import registry
from django_tasks.calls.arguments import positions
from django_tasks.models.fields import AnyJSONField

COLUMNS = ("kwargs", "metadata", "headers")
MAX_DEPTH = 8  # of a key with dots


def contents(key: str, value: str) -> Q:
    """``invoice:42`` finds the number and the text; ``user.id:7`` looks inside. A positional
    argument is found by its parameter's name, for the tasks that are known here."""
    path = key.split(".")[:MAX_DEPTH]
    found = Q()
    for meant in _meanings(value):
        for column in COLUMNS:
            found |= Q(_is(column, path, meant))
        for position, names in _places(path[0]).items():
            at = _is("args", [position, *path[1:]], meant)
            found |= Q(Q(task_name__in=names), at)
    return found


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
