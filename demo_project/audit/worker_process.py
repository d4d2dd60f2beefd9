"""A worker as a process beside this one: started, watched and stopped by `manage.py demo`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

GRACE = 5  # seconds for running tasks when the worker is told to stop
# Whose pid a supervisor finds there is its parent, and it stops when that is gone (`runworker`).
_PARENT = "DJANGO_TASKS_RELOADER"
_MOST_PROCESSES = 4  # an audit of a few dozen distributions is not faster with more
_TAIL = 20  # lines of the log shown when something went wrong


class WorkerProcess:
    """A running `manage.py runworker` that writes to the file ``log``."""

    def __init__(self, manage: Path, log: Path) -> None:
        self._log = log
        processes = min(_MOST_PROCESSES, os.cpu_count() or 1)
        options = ["--processes", str(processes), "--grace", str(GRACE)]
        with log.open("wb") as output:
            # In our process group: what ends the terminal ends the worker too.
            self._process = subprocess.Popen(
                [sys.executable, str(manage), "runworker", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Also a kill -9 of this process ends the worker, and so the embedded broker.
                env={**os.environ, _PARENT: str(os.getpid())},
            )

    def check(self) -> None:
        """Raise ``CommandError`` if the worker has ended."""
        code = self._process.poll()
        if code is not None:
            raise CommandError(f"The worker ended with exit code {code}.")

    def tail(self) -> str:
        """The last lines of the log."""
        lines = self._log.read_text(errors="replace").splitlines()[-_TAIL:]
        return f"The end of {self._log}:\n" + "\n".join(
            f"  {line}" for line in lines or ["(empty)"]
        )

    def stop(self) -> None:
        """Tell the worker to stop and wait until it has."""
        self._process.terminate()
        try:
            self._process.wait(timeout=GRACE + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_worker(manage: Path, log: Path) -> Iterator[WorkerProcess]:
    """A worker for as long as the block lasts; a CommandError leaves with the log's end."""
    worker = WorkerProcess(manage, log)
    try:
        yield worker
    except CommandError as error:
        raise CommandError(f"{error}\n{worker.tail()}") from error
    finally:
        worker.stop()
