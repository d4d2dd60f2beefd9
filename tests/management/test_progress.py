"""How far long work is: a bar with rich, lines without it, nothing where nobody looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from model_bakery import baker

from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from tests.management.conftest import Terminal
from tests.servers import Server
from tests.tasks import add
from tests.wheels import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def retried(*arguments: str) -> Any:
    """1,201 records: three steps."""
    made = baker.prepare(
        TaskRecord, 1201, status="FAILED", task_name="tests.tasks.add", args=[1, 2]
    )
    TaskRecord.objects.bulk_create(made)
    out = StringIO()
    call_command("tasks", "retry", "--state", "failed", "--yes", "--json", stdout=out)
    get_broker().settle()
    return json.loads(out.getvalue())


def test_a_bar_is_drawn_with_rich(
    queue: TaskSettings, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    terminal.attach()

    assert retried()["changed"] == 1201

    shown = terminal.shows()
    assert "━" in shown
    assert "1201/1201" in shown
    assert "100%" in shown
    assert "\x1b[?25h" in shown  # the cursor is given back


def test_lines_without_rich(
    queue: TaskSettings, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python raises ImportError for a module that stands there as None.
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    terminal.attach()

    assert retried()["changed"] == 1201

    lines = [line for line in terminal.shows().splitlines() if " of " in line]
    assert lines == ["500 of 1,201", "1,000 of 1,201", "1,201 of 1,201"]


def test_a_purge_counts_on_over_rows_and_calls_that_have_none(
    queue: TaskSettings, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    for _ in range(3):
        add.enqueue(1, 2)
    for _ in range(2):
        add.using(record="never").enqueue(1, 2)
    get_broker().settle()
    terminal.attach()

    call_command("tasks", "purge", "default", "--yes", stdout=StringIO())

    lines = [line for line in terminal.shows().splitlines() if " of " in line]
    assert lines == ["3 of 5", "5 of 5"]


def test_nothing_is_told_to_what_is_no_terminal(
    queue: TaskSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    assert retried()["changed"] == 1201

    assert " of " not in capfd.readouterr().err


def manage(folder: Path, server: Server, *arguments: str, **given: Any) -> Any:
    """``python manage.py …`` of the demonstration project, as a person has it."""
    own = {
        "UNCUT_VAR": str(folder),
        "UNCUT_BROKER": server.url,
        "DJANGO_SETTINGS_MODULE": "demo_project.settings",
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **given,
    )


def test_as_a_process_stdout_is_json_alone_and_the_code_tells(
    tmp_path: Path, server: Server
) -> None:
    def tasks(*arguments: str) -> Any:
        return manage(tmp_path, server, "tasks", *arguments, stdin=subprocess.DEVNULL)

    assert "no such table" in tasks("records").stderr
    manage(tmp_path, server, "migrate", "-v0")

    for arguments, code in (
        (("records", "--json"), 0),
        (("retry", "--state", "failed", "--yes", "--json"), 0),
        (("workers", "--json"), 0),
        (("inspect", "nothing"), 1),
        (("retry", "01a214f1-2b45-7539-8ef3-80a2eddf8618"), 1),
        (("retry",), 2),
        (("records", "--limit", "many"), 2),
        (("cancel", "--state", "nope", "--yes"), 2),
        (("purge", "no:name", "--yes"), 2),
        ((), 2),
    ):
        answer = tasks(*arguments)
        assert answer.returncode == code, (arguments, answer)
        assert "Traceback" not in answer.stderr
        if code == 0:
            json.loads(answer.stdout)
        else:
            assert answer.stdout == ""
            assert answer.stderr.strip()
