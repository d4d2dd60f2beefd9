"""Loads ``lua/``, pastes the parts that a script uses, and calls scripts by their digest.

The only reader of ``lua/``. A script's header is its contract (a test parses it)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from django_tasks.broker.connection import Wire

Argument = str | bytes | int | float

Call = tuple["Script", str, Sequence[Argument]]  # script, root, arguments

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


def evalsha(script: Script, root: str, arguments: Sequence[Argument]) -> list[Argument]:
    """The command that calls a script."""
    return ["EVALSHA", script.digest, 1, root, *_encoded(arguments)]


def begin_all(wire: Wire, calls: Sequence[Call]) -> Callable[[], list[Any]]:
    """Send several scripts in one write, to be run in order. What is returned reads an answer or a
    ``ResponseError`` each. The server forgets scripts (SCRIPT FLUSH, restart): then one is sent
    whole."""
    commands = [evalsha(*call) for call in calls]
    finish = wire.send(commands)

    def read() -> list[Any]:
        answers = finish()
        for position, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                script, command = calls[position][0], commands[position]
                [answers[position]] = wire.send([["EVAL", script.text, *command[2:]]])()
        return answers

    return read
