"""docs/follow-one-task.md as a session: every step is run, and the page told again from what came.

``python -m tests.follow`` writes the page with today's outputs; a test compares the two. What the
page says of names that stand for numbers is done by ``Names``."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.waiting import wait_until
from tests.wheels import ROOT

PAGE = ROOT / "docs" / "follow-one-task.md"
PREFIX = "demo_project.settings"
STEP = re.compile(r"(?:<!-- file (\S+) -->\n)?```(python|pycon|redis)\n(.*?)^```$", re.M | re.S)
UNORDERED = {"KEYS", "SMEMBERS"}
SUMS = {"run_us", "wait_us"}  # sums of durations: never the same twice


class Names:
    """What differs from run to run, by name; the same number has the same name everywhere."""

    def __init__(self) -> None:
        self.by_text: dict[str, str] = {}
        self.by_name: dict[str, str] = {}

    def give(self, text: str, name: str) -> str:
        self.by_name.setdefault(name, text)
        return self.by_text.setdefault(text, name)

    def named(self, text: str) -> str:
        """As the page shows it."""

        def name_of(found: re.Match[str]) -> str:
            digits = found[0]
            kind = {16: "t", 13: "ms"}[len(digits)]
            count = sum(1 for name in self.by_name if re.fullmatch(rf"{kind}\d+", name))
            return self.by_text.get(digits) or self.give(digits, f"{kind}{count + 1}")

        text = re.sub(r'"traceback":"(?:[^"\\]|\\.)*"', '"traceback":"..."', text)
        for known, name in self.by_text.items():
            if not known.isdigit() or len(known) < 13:
                text = text.replace(known, name)
        return re.sub(r"(?<![\w.])(?:\d{16}|\d{13})(?![\w.])", name_of, text)

    def meant(self, command: str) -> str:
        """A command of the page, with the names' values of this run."""
        return re.sub(
            r"\b(?:ID|CHILD|PARENT|MINUTE|t\d+)\b", lambda found: self.by_name[found[0]], command
        )


class Session:
    """A shell and a redis-cli, side by side."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection  # of redis-py: answers as they come, text
        self.names = Names()
        self.scope: dict[str, Any] = {"__name__": "page"}

    def told_again(self, page: str) -> str:
        """The page, with the outputs of this run."""
        return STEP.sub(self._step, page)

    def _step(self, found: re.Match[str]) -> str:
        _, language, block = found.groups()
        if language == "python":
            return found[0]  # a file, which is there already
        told = self._shell(block) if language == "pycon" else self._redis(block)
        return f"```{language}\n{told}```"

    def _shell(self, block: str) -> str:
        told = io.StringIO()
        for example in doctest.DocTestParser().get_examples(block):
            lines = example.source.rstrip("\n").splitlines()
            told.write("".join(f"{'...' if i else '>>>'} {x}\n" for i, x in enumerate(lines)))
            if lines[-1].startswith(" "):  # a shell wants an empty line where a block ends
                told.write("...\n")
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(example.source, PAGE.name, "single"), self.scope)
            result = self.scope.get("result")
            if result is not None:
                self.names.give(result.id, "ID")
            for name in ("parent", "child"):
                if name in self.scope:
                    self.names.give(str(self.scope[name].id), name.upper())
            told.write(self.names.named(said.getvalue()))
        return told.getvalue()

    def _redis(self, block: str) -> str:
        self.scope["broker"].settle()  # an enqueue's push may still be on its way
        self.names.give(self._ask(["INFO", "server"]).split("run_id:")[1][:40], "RUN")
        self.names.give(str(int(time.time() // 60)), "MINUTE")
        told = []
        for line in block.splitlines():
            if line.startswith("> "):
                words = shlex.split(self.names.meant(line[2:]))
                told += [line, *_shown(self._arranged(words[0], self._ask(words)), self.names)]
        return "\n".join(told) + "\n"

    def _ask(self, words: list[str]) -> Any:
        self.connection.send_command(*words)
        return self.connection.read_response()

    def _arranged(self, command: str, answer: Any) -> Any:
        """What the server gives in no order, sorted."""
        if command in UNORDERED:
            return sorted(answer)
        if command == "HGETALL":
            pairs = sorted(zip(answer[::2], answer[1::2], strict=True))
            return [
                text for name, value in pairs for text in (name, "..." if name in SUMS else value)
            ]
        return answer


def _shown(answer: Any, names: Names) -> Iterator[str]:
    """As redis-cli shows it."""
    if isinstance(answer, list):
        width = len(str(len(answer)))
        for number, one in enumerate(answer, 1):
            yield f"{number:>{width}}) {next(_shown(one, names))}"
        if not answer:
            yield "(empty array)"
    elif isinstance(answer, int):
        yield f"(integer) {answer}"
    elif answer is None:
        yield "(nil)"
    else:
        yield json.dumps(names.named(answer))


@contextlib.contextmanager
def files_of(page: str, folder: Path) -> Iterator[None]:
    """The files that the page has its reader write, to be imported from ``folder``."""
    files = {name: text for name, _, text in STEP.findall(page) if name}
    for name, text in files.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in files:
            sys.modules.pop(name.removesuffix(".py"), None)


def told_again(page: str, client: Any, folder: Path) -> str:
    """The page from a run of its steps: against ``client``'s server, which nobody else uses."""
    # A session takes two seconds, and the name of a counter is its minute.
    wait_until(lambda: time.time() % 60 < 54, 10, "another minute begins")
    connection = client.connection_pool.get_connection()
    try:
        with files_of(page, folder):
            return Session(connection).told_again(page)
    finally:
        client.connection_pool.release(connection)


def main() -> None:
    """Write the page with the outputs of a run."""
    import tempfile

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.test.utils import get_runner, override_settings, setup_test_environment

    from tests.servers import Server

    setup_test_environment()
    runner = get_runner(settings)(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        with Server() as server, server.client() as client, tempfile.TemporaryDirectory() as folder:
            given = {"BROKER": server.url, "PREFIX": PREFIX}
            with override_settings(DJANGO_TASKS=given):
                PAGE.write_text(told_again(PAGE.read_text(), client, Path(folder)))
    finally:
        runner.teardown_databases(databases)


if __name__ == "__main__":
    main()
