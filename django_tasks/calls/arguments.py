"""Arguments: bound to the function where the call is made, normalised to JSON, bounded in size."""

from __future__ import annotations

import datetime
import decimal
import inspect
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import models

from django_tasks.broker.message import to_json
from django_tasks.calls.shown import MASK, inert
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    ArgumentsTooLarge,
    ReturnValueNotSerializable,
)

_PLAIN = frozenset({str, int, bool, type(None)})
MAX_BITS = 14_000  # of a whole number; Python itself writes out no more than 4,300 digits
MAX_DEPTH = 200  # of lists and mappings in each other: far from where Python's own JSON gives up
MAX_DESCRIPTION = 200  # characters
_NESTED = (list, dict)  # `list | dict` would be made anew at each look


@lru_cache(maxsize=4096)
def _signature(function: Callable[..., Any], takes_context: bool) -> inspect.Signature:
    signature = inspect.signature(function)
    if takes_context:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    return signature


def bind(
    function: Callable[..., Any],
    takes_context: bool,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> inspect.BoundArguments:
    """The call, bound to the parameters. Raises ``ArgumentMismatch``, naming the parameter."""
    signature = _signature(function, takes_context)
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        name = function.__name__
        raise ArgumentMismatch(
            f"{name}() can't be called like this: {inert(error, 500)}."
            f" Its parameters: {inert(f'{name}{signature}')}."
        ) from None


@lru_cache(maxsize=4096)
def _positional_bounds(function: Callable[..., Any], takes_context: bool) -> tuple[int, int]:
    """The least and the greatest number of positional arguments that make a call; (1, 0) where
    that does not tell."""
    parameters = _signature(function, takes_context).parameters.values()
    if any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        return 1, 0
    positional = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return sum(one.default is one.empty for one in positional), len(positional)


def require_fit(
    function: Callable[..., Any],
    takes_context: bool,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> None:
    """Raises ``ArgumentMismatch`` if the arguments do not fit; the usual call is counted only."""
    least, most = _positional_bounds(function, takes_context)
    if kwargs or not least <= len(args) <= most:
        bind(function, takes_context, args, kwargs)


def normalize(
    function: Callable[..., Any],
    takes_context: bool,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    sensitive: tuple[str, ...] = (),
    inputs: int = 0,
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as JSON will give them back. ``inputs``: how many will stand before them.
    Raises ``TaskArgumentError``, which says nothing of the value of a sensitive one."""
    require_fit(function, takes_context, (*(None,) * inputs, *args) if inputs else args, kwargs)
    if all(map(_is_plain, (*args, *kwargs.values()))):
        return list(args), dict(kwargs)
    signature = _signature(function, takes_context)
    names = _positional_names(signature, inputs + len(args))[inputs:]
    hidden: set[str] = set()
    if sensitive:
        count = inputs + len(args)
        places = own_places(
            hidden_places(function, takes_context, sensitive, count, kwargs), inputs
        )
        hidden = {names[one] if isinstance(one, int) else one for one in places}

    def checked(name: str, value: Any) -> Any:
        try:
            return to_json_types(value)
        except (TypeError, ValueError) as error:
            if sensitive and name in hidden:
                raise ArgumentNotSerializable(
                    f"{function.__name__}() can't be enqueued: argument {name!r}, which is"
                    f" sensitive, is or holds what has no JSON form"
                    f" ({_article(type(value).__name__)}).",
                    name=name,
                ) from None
            raise ArgumentNotSerializable(
                f"{function.__name__}() can't be enqueued: argument {name!r} is {error}.",
                name=name,
                value=value,
            ) from None

    return (
        [checked(name, value) for name, value in zip(names, args, strict=True)],
        {name: checked(name, value) for name, value in kwargs.items()},
    )


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return kind in _PLAIN and (kind is not int or value.bit_length() <= MAX_BITS)


def _positional_names(signature: inspect.Signature, count: int) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return names[:count]


def positions(function: Callable[..., Any], takes_context: bool) -> dict[str, int]:
    """Parameter → its place among the positional arguments, of those that have one."""
    parameters = _signature(function, takes_context).parameters.values()
    named = [
        one.name
        for one in parameters
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return {name: place for place, name in enumerate(named)}


def parameters(function: Callable[..., Any], takes_context: bool) -> tuple[list[str], bool]:
    """The names of the parameters (without the context), and whether any other name is taken."""
    known = _signature(function, takes_context).parameters.values()
    return [one.name for one in known], any(one.kind is one.VAR_KEYWORD for one in known)


def hidden_places(
    function: Callable[..., Any],
    takes_context: bool,
    sensitive: tuple[str, ...],
    count: int,
    kwargs: Iterable[str],
) -> list[int | str]:
    """Where a call of ``count`` positional arguments and ``kwargs`` has its sensitive ones: the
    position or the name. What fits no parameter any more is taken for sensitive."""
    signature = _signature(function, takes_context)
    places: list[int | str] = []
    names = _positional_names(signature, count)
    for position in range(count):
        name = names[position].partition("[")[0] if position < len(names) else ""
        if not name or name in sensitive:
            places.append(position)
    named = signature.parameters
    rest = next((one.name for one in named.values() if one.kind is one.VAR_KEYWORD), None)
    for name in kwargs:
        if name in sensitive or (name not in named and (rest is None or rest in sensitive)):
            places.append(name)
    return places


def own_places(places: Iterable[int | str], inputs: int) -> list[int | str]:
    """The same places among a call's own arguments, before which ``inputs`` others stand."""
    return [
        one - inputs if isinstance(one, int) else one
        for one in places
        if not isinstance(one, int) or one >= inputs
    ]


def redacted(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], noted: Iterable[Any] = ()
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with ``MASK`` instead of each that the task calls sensitive, however it was
    passed. ``noted``: places that a record notes besides. ``task``: None if it is unknown."""
    options = getattr(task, "options", None)
    places = {one for one in noted if isinstance(one, int | str)}
    if options is not None and options.sensitive:
        places.update(
            hidden_places(task.func, task.takes_context, options.sensitive, len(args), kwargs)
        )
    if not places:
        return list(args), dict(kwargs)
    return (
        [MASK if position in places else value for position, value in enumerate(args)],
        {name: MASK if name in places else value for name, value in kwargs.items()},
    )


def to_json_types(value: Any) -> Any:
    """``value`` in the types that JSON has, by the rules of Django's ``normalize_json``; finite
    numbers only. Raises ``TypeError`` or ``ValueError`` that ends a sentence "… is"."""
    try:
        return _plain(value, 0)
    except RecursionError:  # called from deep within other calls
        raise ValueError("nested too deeply") from None


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(
            f"nested more than {MAX_DEPTH} deep, or holds itself, and JSON has no loops. Pass a"
            " flat list of it, or store it and pass its key"
        )
    match value:
        case None | bool() | str():
            return value
        case int():
            if value.bit_length() > MAX_BITS:
                raise ValueError("a whole number of more than 4,000 digits. Pass hex(value)")
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value}, which JSON does not have. Pass None or a string")
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise ValueError(
                    "bytes that are not UTF-8 text. Pass base64.b64encode(…).decode() of them"
                ) from None
        case Mapping():
            return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
        case Sequence():
            return [_plain(item, depth + 1) for item in value]
    shown = _article(type(value).__name__)
    # Django's own words are among these, and among those for priority and run_after.
    raise TypeError(f"{shown} instance, and JSON has none (Unsupported type). {_cure(value)}")


def _key(key: Any) -> Any:
    if key is None or isinstance(key, str | int | bool):
        return key
    if isinstance(key, float) and math.isfinite(key):
        return key
    raise TypeError(f"a mapping with the key {key!r}, and JSON's keys are text. Pass str(key)")


def _article(name: str) -> str:
    return f"{'an' if name[:1].upper() in 'AEIO' else 'a'} {name}"


def _cure(value: Any) -> str:
    match value:
        case models.Model():
            return "Pass its pk and load it inside the task"
        case models.QuerySet():
            return "Pass a list of pks and query inside the task"
        case datetime.datetime() | datetime.date() | datetime.time():
            return "Pass value.isoformat() and read it with fromisoformat() inside the task"
        case datetime.timedelta():
            return "Pass value.total_seconds()"
        case decimal.Decimal() | uuid.UUID():
            return (
                f"Pass str(value) and make {_article(type(value).__name__)} of it inside the task"
            )
        case set() | frozenset():
            return "Pass sorted(value) or list(value)"
    return "Pass what identifies it and load or build it inside the task"


def checked_size(name: str, args: list[Any], kwargs: dict[str, Any], limit: int) -> None:
    """Raises ``ArgumentsTooLarge`` if the JSON of a call is over ``limit`` bytes."""
    if not args and not kwargs:
        return
    size = len(to_json([args, kwargs]))
    if size > limit:
        raise ArgumentsTooLarge(
            f"{name}() can't be enqueued: its arguments take {size} bytes as JSON, and"
            f" MAX_ARGUMENT_BYTES is {limit}. Store them (a model, a file) and pass their key.",
            size=size,
            limit=limit,
        )


def checked_return_value(name: str, value: Any) -> Any:
    """What a task returned, in JSON's types. Raises ``ReturnValueNotSerializable``."""
    if _is_plain(value):
        return value
    try:
        return to_json_types(value)
    except (TypeError, ValueError) as error:
        raise ReturnValueNotSerializable(
            f"{name}() returned a value that is, or holds, {error}."
        ) from None


def describe(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call as a person would write it, shortened and inert: ``send_welcome(42)``."""
    parts = [_short(value) for value in args[:10]]
    if kwargs:
        parts += [f"{inert(key, 60)}={_short(value)}" for key, value in list(kwargs.items())[:10]]
    if len(args) > 10 or len(kwargs) > 10:
        parts.append("…")
    shown = name if name.isidentifier() and len(name) < MAX_DESCRIPTION else inert(name, 100)
    text = f"{shown}({', '.join(parts)})"
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 2] + "…)"


def _short(value: Any) -> str:
    if isinstance(value, str):
        if value == MASK:
            return MASK
        if len(value) > 60:
            value = value[:60] + "…"
    elif isinstance(value, _NESTED) and len(value) > 10:
        return f"[… {len(value)} …]" if isinstance(value, list) else f"{{… {len(value)} …}}"
    try:
        text = repr(value)
    except RecursionError:  # a foreign hand's
        return "…"
    return text if len(text) <= 80 else text[:79] + "…"
