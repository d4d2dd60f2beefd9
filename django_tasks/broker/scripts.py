"""Loads ``lua/``, pastes the parts that a script uses, and calls scripts by their digest.

The only reader of ``lua/``. A script's header is its contract (a test parses it)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

Argument = str | bytes | int | float

_USES = re.compile(r"^-- uses[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One transition, ready to be sent. ``text``: with its parts pasted above it."""

    name: str
    text: str
    digest: str


def read_lua(name: str) -> str:
    """The text of ``lua/<name>.lua``."""
    return files("django_tasks.broker").joinpath("lua", f"{name}.lua").read_text("utf-8")


def assemble(name: str, replaced: dict[str, str] | None = None) -> Script:
    """The script ``name`` below the parts its header names, in that order.

    ``replaced``: text by file name, instead of the file's (tests: a clock with a skew, a fault)."""
    replaced = replaced or {}

    def text_of(file: str) -> str:
        return replaced[file] if file in replaced else read_lua(file)

    body = text_of(name)
    uses = _USES.search(body)
    parts = uses.group(1).split() if uses else []
    text = "\n".join([*(text_of(part) for part in parts), body])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def load(name: str) -> Script:
    """The script ``name`` as shipped."""
    return assemble(name)


def _encoded(arguments: Sequence[Argument]) -> list[Argument]:
    """Text in our own encoding: hiredis knows none but strict UTF-8, and a traceback with a lone
    surrogate in it must not stop its ack."""
    return [
        one.encode("utf-8", "surrogatepass") if isinstance(one, str) and not one.isascii() else one
        for one in arguments
    ]


def call(client: Any, script: Script, root: str, arguments: Sequence[Argument]) -> Any:
    """Run one script. The server forgets scripts (SCRIPT FLUSH, restart): then it is sent whole."""
    arguments = _encoded(arguments)
    try:
        return client.execute_command("EVALSHA", script.digest, 1, root, *arguments)
    except NoScriptError:
        return client.execute_command("EVAL", script.text, 1, root, *arguments)


def call_all(client: Any, calls: Sequence[tuple[Script, str, Sequence[Argument]]]) -> list[Any]:
    """Run several scripts in one round trip, in order; an answer or a ``ResponseError`` each."""
    calls = [(script, root, _encoded(arguments)) for script, root, arguments in calls]
    pipeline = client.pipeline(transaction=False)
    for script, root, arguments in calls:
        pipeline.execute_command("EVALSHA", script.digest, 1, root, *arguments)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    for position, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            script, root, arguments = calls[position]
            try:
                answers[position] = client.execute_command("EVAL", script.text, 1, root, *arguments)
            except ResponseError as error:
                answers[position] = error
    return answers
