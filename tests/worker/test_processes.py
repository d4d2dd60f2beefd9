"""processes: how one ended, by what the kernel says."""

from __future__ import annotations

import os
import signal

import pytest

from django_tasks.worker.processes import reason_of


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV"), (40, "signal 40")],
)
def test_a_signal_by_its_name_or_by_its_number(number: int, said: str) -> None:
    child = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    os.kill(child, number)

    assert reason_of(os.waitpid(child, 0)[1]) == said


def test_an_exit_by_its_code() -> None:
    child = os.posix_spawnp("sh", ["sh", "-c", "exit 3"], os.environ)

    assert reason_of(os.waitpid(child, 0)[1]) == "exit code 3"
