"""Columns for what a task may say: any text, any JSON.

PostgreSQL refuses NUL in text and jsonb, and lone surrogates have no UTF-8 form; both occur in
return values and tracebacks. They are written with an escape and come back equal. Its jsonb also
takes a number by its value alone: 1e23 would come back as a whole number. What MySQL's columns
take is said where they are made."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models

_UTF8 = "CHARACTER SET utf8mb4"
_ESCAPE = "\ue01b"  # a private-use character; itself escaped where it occurs
_REFUSED = re.compile("[\x00\ud800-\udfff\ue01b]")
_ESCAPED = re.compile(_ESCAPE + "([0-9a-f]{4})")


def escape(value: Any) -> Any:
    """``value`` with what databases refuse escaped, in every string of it."""
    if isinstance(value, str):
        return _REFUSED.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", value)
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    if isinstance(value, dict):
        return {escape(key): escape(item) for key, item in value.items()}
    return value


def unescape(value: Any) -> Any:
    """The inverse of ``escape``."""
    if isinstance(value, str):
        if _ESCAPE not in value:
            return value
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
    if isinstance(value, list):
        return [unescape(item) for item in value]
    if isinstance(value, dict):
        return {unescape(key): unescape(item) for key, item in value.items()}
    return value


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class AnyTextField(_TextField):
    """Text with any character in it."""

    def db_parameters(self, connection: Any) -> Any:
        found = super().db_parameters(connection)
        if connection.vendor == "mysql":  # whatever the database's own: utf8 and latin1 lack most
            found["type"] = f"{found['type']} {_UTF8}"
        return found

    def get_prep_value(self, value: Any) -> Any:
        return escape(super().get_prep_value(value))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return unescape(value)


# In JSON text: a string, or a number with a positive exponent (as repr writes floats from 1e16).
_STRING_OR_LARGE = re.compile(r'"(?:[^"\\]|\\.)*"|(-?[\d.]+e\+\d+)')


class FloatEncoder(json.JSONEncoder):
    """JSON in which every float has a decimal point, so that jsonb gives a float back, and in which
    nothing is infinite: a column of text would take it."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "allow_nan": False})

    def encode(self, o: Any) -> str:
        text = super().encode(o)
        return _STRING_OR_LARGE.sub(_positional, text) if "e+" in text else text


def _positional(found: re.Match[str]) -> str:
    return f"{Decimal(found[1]):f}.0" if found[1] else found[0]


class AnyJSONField(models.JSONField):
    """JSON with any character in its strings, and with floats of any size."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **{**given, "encoder": FloatEncoder})

    def deconstruct(self) -> Any:
        name, path, args, given = super().deconstruct()
        given.pop("encoder", None)  # how it is written is no part of the column
        return name, path, args, given

    def db_parameters(self, connection: Any) -> Any:
        found = super().db_parameters(connection)
        if connection.vendor == "mysql":
            # Not its JSON: MariaDB's check refuses what is 32 deep, MySQL's type what is 100 deep,
            # and it rounds numbers beyond 64 bits. Functions on JSON take text as well.
            found = {**found, "type": f"longtext {_UTF8} COLLATE utf8mb4_bin", "check": None}
        return found

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(escape(value), connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return unescape(super().from_db_value(value, expression, connection))
