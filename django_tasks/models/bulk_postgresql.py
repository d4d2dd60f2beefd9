"""Many rows as one statement's parameters, in PostgreSQL's form: an array a column.

Array literals are written here: the driver's own way (and Django's preparation of each value)
costs more than the database needs for the row. A column in which all rows have the same value is
one parameter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from django.db import models

from django_tasks.models.fields import AnyTextField

# JSON text that is not as AnyJSONField would write it: with escapes, exponents, NaN and Infinity.
_SPECIAL = re.compile(r"[^\x20-\x5b\x5d-\x7e]|\d[eE]|[NI]")
# Of these no text has anything in it that would end an element of an array.
_BARE = {"bigint", "integer", "smallint", "uuid", "timestamp with time zone", "timestamp"}


class JsonText(str):
    """A value of a JSON column that is JSON already."""

    __slots__ = ()


def source(
    connection: Any, fields: Sequence[models.Field[Any, Any]], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    """``SELECT … FROM unnest(…)`` with a column for each field, and its parameters."""
    quote = connection.ops.quote_name
    selected: list[str] = []
    arrays: list[str] = []
    names: list[str] = []
    constants: list[Any] = []
    parameters: list[Any] = []
    for field, values in zip(fields, zip(*rows, strict=True), strict=True):
        kind, name = _kind(field, connection), quote(field.column)
        write = _writer(field, connection)
        if names and _is_constant(values):
            selected.append(f"%s::{kind} AS {name}")
            constants.append(None if values[0] is None else write(values[0]))
            continue
        selected.append(f"u.{name}::{kind} AS {name}" if _is_json(field) else f"u.{name} AS {name}")
        arrays.append(f"%s::{'text' if _is_json(field) else kind}[]")
        names.append(name)
        texts = ["NULL" if value is None else write(value) for value in values]
        if kind not in _BARE:
            texts = [
                "NULL" if value is None else _quoted(text)
                for value, text in zip(values, texts, strict=True)
            ]
        parameters.append("{" + ",".join(texts) + "}")
    return (
        f"SELECT {', '.join(selected)} FROM unnest({', '.join(arrays)}) AS u({', '.join(names)})",
        [*constants, *parameters],
    )


def _kind(field: models.Field[Any, Any], connection: Any) -> str:
    return str(field.db_type(connection)).partition("(")[0]


def _is_json(field: models.Field[Any, Any]) -> bool:
    return isinstance(field, models.JSONField)


def _is_constant(values: Sequence[Any]) -> bool:
    first = values[0]
    if type(first) in (list, dict):  # equal for Python is not equal for JSON: [1] and [True]
        return not any(values) and all(type(value) is type(first) for value in values)
    return all(
        value is first or (value == first and type(value) is type(first)) for value in values
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _writer(field: models.Field[Any, Any], connection: Any) -> Callable[[Any], str]:
    """How a value of a column is written as text."""
    if _is_json(field):
        return lambda value: _json_text(field, value, connection)
    if isinstance(field, models.DateTimeField):
        return lambda value: value if isinstance(value, str) else str(value.isoformat())
    if isinstance(field, AnyTextField):
        return lambda value: str(field.get_prep_value(value))
    return str


def _json_text(field: Any, value: Any, connection: Any) -> str:
    if isinstance(value, JsonText):
        if not _SPECIAL.search(value):
            return value
        value = json.loads(value)
    if value == [] or value == {}:
        return "[]" if isinstance(value, list) else "{}"
    prepared = field.get_db_prep_save(value, connection)
    return prepared if isinstance(prepared, str) else str(prepared.dumps(prepared.obj))
