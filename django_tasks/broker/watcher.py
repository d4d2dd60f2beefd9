"""The embedded server's parent: starts it, starts it again, stops it when nobody uses it.

A program of its own, run by ``embedded.py``, which says how it, users and server are tied by locks.
It needs neither Django nor redis-py."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from django_tasks.broker.embedded import (
    FAILURE_MEMORY,
    LOGS,
    LONGEST_PAUSE,
    answers,
    is_in_place,
    locks,
    remember_failure,
    socket_path,
)
from django_tasks.broker.server_programs import server_programs

LINGER = 2.0  # seconds without users until the server stops
LOOK = 0.2  # seconds between two looks
FIRST_LOOK = 0.03  # the same, until the server has answered
LISTENS = 5.0  # seconds after which a server has a socket, also where there is much to do
FIRST_PAUSE = 0.2  # seconds before a server that ended is started again; then ever more
STEADY = 10.0  # seconds after which the end of a server is not one more failure in a row
LONGEST_LOG = 1 << 20  # bytes


class Watcher:
    """The server's parent, until nobody uses it or its folder is deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket_path(folder)
        self.server: subprocess.Popen[bytes] | None = None
        self.has_answered = False  # this server
        self.failures = 0  # servers in a row that ended soon
        self.started = self.next_start = 0.0  # monotonic
        self.unused_since: float | None = None
        self.log_sizes: dict[str, int] = {}
        self.is_stopping = False

    def run(self) -> None:
        """Returns at once if the folder has a watcher."""
        folder = self.folder
        with open(folder / "watcher.lock", "ab") as own, open(folder / "users.lock", "ab") as users:
            if not locks(own):
                return
            signal.signal(signal.SIGTERM, self._stop)
            signal.signal(signal.SIGINT, self._stop)
            while not self.is_stopping and self._is_used(users):
                if not (is_in_place(own) and is_in_place(users)):
                    # Who comes now makes the folder anew and has a server there; so must those
                    # who still talk to ours. Killed, since a server that ends by itself removes
                    # its socket: by name, which may be the other's by now.
                    self._end(signal.SIGKILL)
                    return
                self._see_that_it_runs()
                self._sleep()
            self._end(signal.SIGTERM)
            self.socket.unlink(missing_ok=True)

    def _is_used(self, users: IO[bytes]) -> bool:
        """If not, the lock is kept: who comes now waits until the server is gone."""
        if not locks(users):
            self.unused_since = None
            return True
        now = time.monotonic()
        self.unused_since = self.unused_since or now
        if now - self.unused_since >= LINGER:
            return False
        fcntl.flock(users, fcntl.LOCK_UN)
        return True

    def _see_that_it_runs(self) -> None:
        if self.server is None:
            if time.monotonic() >= self.next_start:
                self._start_server()
        elif self.server.poll() is not None:
            self._note_end(f"it ended with {self.server.returncode}")
        elif not self.has_answered and answers(self.socket):
            self.has_answered = True
            (self.folder / "failure.json").unlink(missing_ok=True)
        elif not self.socket.exists() and (
            self.has_answered or time.monotonic() - self.started > LISTENS
        ):
            self._end(signal.SIGTERM)
            self._note_end("its socket was deleted")

    def _note_end(self, how: str) -> None:
        """The next start: soon after a first end, later and later after those that follow."""
        server, self.server = self.server, None
        now = time.monotonic()
        self.failures = 1 if now - self.started > STEADY else self.failures + 1
        pause = min(FIRST_PAUSE * 2 ** min(self.failures - 1, 10), LONGEST_PAUSE)
        self.next_start = now + pause
        reason = f"{_last_line(self.folder, self.log_sizes) or 'it said nothing'} ({how})"
        sys.stderr.write(f"The server ended: {reason}; started again in {pause:g} s\n")
        was_killed = server is not None and server.returncode < 0
        if not self.has_answered and not (was_killed and self.failures == 1):
            seconds = max(pause, FAILURE_MEMORY)
            remember_failure(self.folder, f"{reason}. More in its server.log.", seconds)

    def _sleep(self) -> None:
        if self.server is None:
            time.sleep(min(LOOK, max(self.next_start - time.monotonic(), 0.0)))
            return
        try:
            self.server.wait(timeout=LOOK if self.has_answered else FIRST_LOOK)
        except subprocess.TimeoutExpired:
            return

    def _start_server(self) -> None:
        self._end_orphan()
        # Left by a server that was killed; nobody listens.
        self.socket.unlink(missing_ok=True)
        if _size(self.folder / LOGS[0]) > LONGEST_LOG:
            (self.folder / LOGS[0]).replace(self.folder / f"{LOGS[0]}.1")
        self.log_sizes = {name: _size(self.folder / name) for name in LOGS}
        self.has_answered = False
        self.started = time.monotonic()
        # The server inherits this lock and so holds it as long as it lives, whoever its parent is.
        with open(self.folder / "server.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # No program: as if one could not be executed, since it was there a moment ago.
            command = [next(server_programs(), "valkey-server"), *self._options()]
            try:
                self.server = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock.fileno()],
                    preexec_fn=_end_with_watcher,
                )
            except OSError as error:
                self._note_end(f"it does not run: {error}")

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": os.fspath(self.socket),
            "unixsocketperm": "700",
            "dir": os.fspath(self.folder),
            "logfile": os.fspath(self.folder / LOGS[0]),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [text for name, value in options.items() for text in (f"--{name}", value)]

    def _end_orphan(self) -> None:
        """A server that outlived its watcher would write the same files as the next one."""
        end = time.monotonic() + 5.0
        with open(self.folder / "server.lock", "ab") as lock:
            while not locks(lock) and time.monotonic() < end:
                try:
                    with socket.socket(socket.AF_UNIX) as connection:
                        connection.connect(os.fspath(self.socket))
                        connection.sendall(b"SHUTDOWN\r\n")
                except OSError:
                    pass
                time.sleep(0.05)

    def _end(self, number: int) -> None:
        if self.server is None:
            return
        self.server.send_signal(number)
        try:
            self.server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def _stop(self, *_: object) -> None:
        self.is_stopping = True


def _last_line(folder: Path, sizes: dict[str, int]) -> str:
    """The last words of a log that has grown beyond its size; "" if none has."""
    for name, size in sizes.items():
        try:
            with open(folder / name, "rb") as log:
                log.seek(size)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            continue
        # Without the process's number and the time: "7:M 25 Nov 2026 18:55:43.538 # ".
        said = [re.sub(r"^\d+:\w .{10,40}? [-.*#] ?", "", line).strip() for line in lines]
        if any(said):
            return [line for line in said if line][-1]
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _end_with_watcher() -> None:
    """In the server's process, before it is one: end when the watcher does (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return


if __name__ == "__main__":
    Watcher(Path(sys.argv[1])).run()
