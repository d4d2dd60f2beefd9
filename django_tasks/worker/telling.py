"""An error as texts: for the message and its row, and for the log. Nothing of it escapes, whatever
its own methods do; the values of sensitive arguments stay out (``shown``)."""

from __future__ import annotations

import traceback as traceback_module
from collections.abc import Callable
from typing import Any

from django_tasks.broker.message import Message
from django_tasks.calls.shown import inert, inert_lines

Shown = Callable[[str], str]

MAX_TRACEBACK = 50_000  # characters kept, from the end
MAX_MESSAGE = 10_000  # characters of an error's text


def error_fields(error: BaseException | None, shown: Shown) -> dict[str, str]:
    """What a message and an attempt say of an error; "" for none."""
    if error is None:
        return {"error_class": "", "error_message": "", "traceback": ""}
    kind = type(error)
    return {
        "error_class": f"{kind.__module__}.{kind.__qualname__}",
        # Cut last: half a value would not be found.
        "error_message": shown(text_of(error))[:MAX_MESSAGE],
        "traceback": shown(_lines_of(error))[-MAX_TRACEBACK:],
    }


def text_of(error: BaseException) -> str:
    """Its message."""
    try:
        return str(error)
    except BaseException as trouble:  # this is the task's code: nothing of it may escape
        return f"(the message can't be shown: {type(trouble).__name__})"


def line_of(error: BaseException, shown: Shown) -> str:
    """For the log: the error as one line."""
    text = " ".join(shown(text_of(error))[:MAX_MESSAGE].split())
    name = inert(type(error).__name__, 200)
    return f"{name}: {inert(text, MAX_MESSAGE)}" if text else name


def logged(error: BaseException, shown: Shown) -> tuple[str, BaseException | None]:
    """For the log of a failure: its line, and the error if its traceback may be written out as it
    is. What a terminal would obey, or what is sensitive, is not: its text stands in the line."""
    line = line_of(error, shown)
    if len(text_of(error)) > MAX_MESSAGE:  # a text of megabytes would be written whole
        return line, None
    lines = _lines_of(error)
    told = inert_lines(shown(lines))
    return (line, error) if told == lines else (f"{line}\n{told[-MAX_TRACEBACK:].rstrip()}", None)


def _lines_of(error: BaseException) -> str:
    try:
        return "".join(traceback_module.format_exception(error))
    except BaseException as trouble:  # a __str__ or __repr__ that raises, whatever it raises
        return f"(the traceback can't be shown: {type(trouble).__name__})"


def log_fields(message: Message) -> dict[str, Any]:
    """For ``extra``."""
    return {"task_name": message.task, "message_id": message.id, "queue": message.queue}
