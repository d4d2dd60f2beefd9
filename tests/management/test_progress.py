"""How far long work is: a bar with rich, lines without it, nothing where nobody looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def environment(folder: Path, server: Server) -> dict[str, str]:
    """Of the demonstration project, with a broker that is there."""
    own = {
        "UNCUT_VAR": str(folder),
        "UNCUT_BROKER": server.url,
        "DJANGO_SETTINGS_MODULE": "demo_project.settings",
    }
    return {**os.environ, **own}


def manage(folder: Path, server: Server, *arguments: str, **given: Any) -> Any:
    """``python manage.py …``, as a person has it."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder, server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **given,
    )


@contextmanager
def started(
    folder: Path, server: Server, *arguments: str, **given: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """The same, and it goes on."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder, server),
        stdout=subprocess.PIPE,
        # A shell's background job ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **given,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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
        (("inspect", "nothing"), 1),
        (("retry",), 2),
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


def test_watch_is_a_line_of_json_a_look_until_ctrl_c(tmp_path: Path, server: Server) -> None:
    manage(tmp_path, server, "migrate", "-v0")
    with started(tmp_path, server, "tasks", "queues", "--watch", "--json") as process:
        assert process.stdout is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline()) == []
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == b""


def test_whoever_has_read_enough_ends_it_without_a_traceback(
    tmp_path: Path, server: Server
) -> None:
    manage(tmp_path, server, "migrate", "-v0")
    arguments = ("tasks", "queues", "--watch", "--json")
    with started(tmp_path, server, *arguments, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""
        process.stdout = None  # communicate() would read it


def test_ctrl_c_at_the_question_does_nothing(tmp_path: Path, server: Server) -> None:
    manage(tmp_path, server, "migrate", "-v0")
    made = "from tests.ops.made import make; make('FAILED', queue_name='q')"
    assert manage(tmp_path, server, "shell", "-c", made).returncode == 0
    person, end = os.openpty()
    arguments = ("tasks", "retry", "--queue", "q", "--state", "failed")
    with started(tmp_path, server, *arguments, stdin=end, stderr=end) as process:
        shown = b""
        while b"Type yes: " not in shown:
            shown += os.read(person, 1000)
        # Between the question's last byte and the read, Python notes a signal and goes on to block:
        # a person presses once more.
        code = None
        for _ in range(4):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(5)
                break
        assert code == 2
    os.set_blocking(person, False)
    assert b"Nothing was done." in os.read(person, 1000)
    os.close(person)
    os.close(end)
    answer = manage(tmp_path, server, "tasks", "records", "--state", "failed", "--json")
    assert len(json.loads(answer.stdout)["records"]) == 1
