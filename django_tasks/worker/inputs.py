"""What a task gets of its parents: the first of its arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections

from django_tasks.bridge import edges
from django_tasks.bridge.connections import usable
from django_tasks.broker import get_broker
from django_tasks.broker.message import Message
from django_tasks.conf import task_settings
from django_tasks.errors import ArgumentsTooLarge, BrokerError, UndecodableMessage


class InputsAway(Exception):
    """A store that has them does not serve: the task is given back, and nobody is charged."""


def inputs_of(message: Message, alias: str) -> list[Any]:
    """The arguments that stand before its own: each parent's value ("values:2"), a list of them
    ("list:10"), or what is known of a failure ("error:1": id, class and text of the error). Raises
    ``UndecodableMessage``, ``ArgumentsTooLarge``, ``InputsAway``."""
    mode, _, rest = message.inputs.partition(":")
    number, _, shape = rest.partition(":")
    try:
        expected, given = int(number), message.given or {}
        if len(given) < expected:
            given = _read(message, alias, given)
        require_bounded(given.values(), task_settings(alias).max_input_bytes)
        lost = expected - len(given)
        values = [json.loads(given.get(position, "null")) for position in range(expected)]
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(
            f"Message {message.id}: inputs can't be read ({error})."
        ) from error
    if lost > 0:
        raise UndecodableMessage(f"What it waited for was deleted: {lost} of {expected} inputs.")
    if mode == "list":
        return [values]
    if mode == "shape":
        return [_placed(json.loads(shape), values)]
    return list(values[0]) if mode == "error" and values and values[0] else values


def require_bounded(texts: Iterable[str], limit: int) -> None:
    """Raises ``ArgumentsTooLarge``."""
    size = sum(map(len, texts))
    if size > limit:
        raise ArgumentsTooLarge(
            f"What it is given by the calls that it waits for takes {size:,} bytes as JSON, and at"
            f" most {limit:,} are passed on (DJANGO_TASKS['MAX_INPUT_BYTES']). Let those calls"
            " return ids, and load what is large inside the task.",
            size=size,
            limit=limit,
        )


def _read(message: Message, alias: str, given: dict[int, str]) -> dict[int, str]:
    try:
        return edges.inputs_of(message.id, get_broker(alias), message.database, given)
    except (BrokerError, DatabaseError) as error:
        if message.database in connections:
            usable(message.database)  # it may have broken
        raise InputsAway(f"what it waited for can't be read: {error}") from error


def _placed(shape: Any, values: list[Any]) -> Any:
    if isinstance(shape, list):
        return [_placed(part, values) for part in shape]
    return values[shape]
