"""The worker beside the demo: watched while it runs, gone afterwards, its log shown on failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management.base import CommandError

from demo_project.audit.worker_process import WorkerProcess, running_worker
from tests.waiting import wait_until

ENDS = "print('no reason to stay', flush=True); raise SystemExit(3)"
STAYS = """
import select, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit(0)))
print("here with", *sys.argv[1:], flush=True)
while True:  # not signal.pause(): a signal just before it would be waited for in vain
    select.select([], [], [], 0.1)
"""


def script(folder: Path, text: str) -> Path:
    path = folder / "manage.py"
    path.write_text(text)
    return path


def has_ended(worker: WorkerProcess) -> bool:
    try:
        worker.check()
    except CommandError:
        return True
    return False


def watch(manage: Path, log: Path) -> None:
    with running_worker(manage, log) as worker:
        wait_until(lambda: has_ended(worker), message="the worker runs on")
        worker.check()


def test_a_worker_that_ends_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    manage = script(tmp_path, ENDS)

    with pytest.raises(CommandError) as caught:
        watch(manage, tmp_path / "log")

    assert str(caught.value).startswith("The worker ended with exit code 3.")
    assert str(caught.value).endswith("  no reason to stay")


def test_a_worker_is_told_to_stop_when_the_block_ends(tmp_path: Path) -> None:
    manage, log = script(tmp_path, STAYS), tmp_path / "log"

    with running_worker(manage, log) as worker:
        wait_until(lambda: "here" in log.read_text())
        ran = not has_ended(worker)

    assert ran
    assert has_ended(worker)
    assert log.read_text().splitlines()[1:] == ["told to stop"]
    assert "runworker --processes" in log.read_text()
