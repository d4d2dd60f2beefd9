"""Processes: how one begins, ends, and why it ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from django.db import connections

logger = logging.getLogger("django_tasks.worker")


_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def fork(live: Callable[[], None]) -> int:
    """A child process that lives and ends; returns its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # Else a signal just after the fork would run the supervisor's handler in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor decides
        # Until the child obeys it (cancellation.py) it would be the end. No SIG_IGN: programs that
        # a task starts would inherit that.
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        end_with_parent(parent)
        live()
        code = 0
    except BaseException:
        logger.exception("A process of the worker ended by an error of its own")
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # the parent's cleanup is not ours


def let_go_of_databases() -> None:
    """Importing the project may have opened connections and pools; none survives a fork."""
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        if getattr(connection, "pool", None) is not None:
            connection.close_pool()  # type: ignore[attr-defined]


def kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reason_of(status: int) -> str:
    """``SIGKILL``, ``exit code 1``: how a process ended, by what ``waitpid`` says."""
    if not os.WIFSIGNALED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"


def end_with_parent(parent: int) -> None:
    """Die with the supervisor: nobody would renew this process's leases (law 4)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, Linux
    except (OSError, AttributeError):
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
