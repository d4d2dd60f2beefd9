"""Columns for what a task may say: any text, any JSON.

PostgreSQL refuses NUL in text and jsonb, and lone surrogates have no UTF-8 form; both occur in
return values and tracebacks. They are written with an escape and come back equal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db import models

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

    def get_prep_value(self, value: Any) -> Any:
        return escape(super().get_prep_value(value))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return unescape(value)


class AnyJSONField(models.JSONField):
    """JSON with any character in its strings."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(escape(value), connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return unescape(super().from_db_value(value, expression, connection))
