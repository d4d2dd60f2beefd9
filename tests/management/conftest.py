"""What tests of the commands may ask for: a table taken away, a second database, a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from tests.bridge.conftest import other_database as other_database
from tests.ops.conftest import hands as hands
from tests.ops.conftest import take_table_away as take_table_away


class Terminal:
    """A real pseudo-terminal as stdin and stderr; what is typed is ready before it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.person, end = os.openpty()
        self.stdin: TextIO = os.fdopen(end, "r")
        self.stderr: TextIO = os.fdopen(os.dup(end), "w")

    def attach(self) -> None:
        """In the test itself: pytest has a stderr of its own for each phase."""
        self.monkeypatch.setattr(sys, "stdin", self.stdin)
        self.monkeypatch.setattr(sys, "stderr", self.stderr)

    def type(self, text: str) -> None:
        self.attach()
        os.write(self.person, text.encode())

    def shows(self) -> str:
        """All that it was told until now."""
        self.stderr.flush()
        os.set_blocking(self.person, False)
        found = b""
        while True:
            try:
                found += os.read(self.person, 65536)
            except BlockingIOError:
                return found.decode()

    def close(self) -> None:
        self.stdin.close()
        self.stderr.close()
        os.close(self.person)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal(monkeypatch)
    yield made
    monkeypatch.undo()
    made.close()
