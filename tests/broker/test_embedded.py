"""embedded://: one server for all processes of a project, gone with the last, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from django_tasks.broker import embedded
from django_tasks.errors import EmbeddedServerUnavailable
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
USER = (
    "import sys; from pathlib import Path; from django_tasks.broker.embedded import serve;"
    "print(serve(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)
GONE = 20.0  # seconds: a watcher lingers for two


class User:
    """A process that uses the server until it is told to end, or killed."""

    def __init__(self, folder: Path, **variables: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
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
def here(folder: Path) -> Iterator[Path]:
    """A folder that this process may use, as long as the test runs."""
    yield folder
    if lock := embedded._used.pop(folder, None):
        lock.close()


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
        elif "django_tasks.broker.watcher" in words and words.endswith(str(folder)):
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
    wait_until(lambda: embedded.answers(embedded.socket_path(folder)), 5)
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


def damage(folder: Path) -> None:
    """What no server reads."""
    kept = folder / "appendonlydir"
    kept.mkdir(parents=True)
    (kept / "appendonly.aof.manifest").write_text("garbage\n")


def refusal(folder: Path) -> tuple[str, float]:
    """Why there is no server, and how many seconds it took to say so."""
    began = time.monotonic()
    with pytest.raises(EmbeddedServerUnavailable) as caught:
        embedded.serve(folder)
    return str(caught.value), time.monotonic() - began


def test_a_server_that_can_not_start_is_an_error_at_once_with_its_own_words(here: Path) -> None:
    damage(here)

    first, slow = refusal(here)
    second, fast = refusal(here)

    assert "Invalid AOF manifest file format (it ended with 1)" in first
    assert "server.log" in first
    assert slow < embedded.START_TIMEOUT / 2  # not waited for: some hundredths, where idle
    assert (second, fast < 0.1) == (first, True)


def test_what_can_not_start_is_tried_ever_later_and_serves_once_it_can(here: Path) -> None:
    damage(here)
    refusal(here)
    log = here / "watcher.log"

    wait_until(lambda: log.read_text().count("started again") >= 3)
    shutil.rmtree(here / "appendonlydir")

    url = wait_until(lambda: served(here))
    assert ask(url, "PING")
    pauses = [line.rpartition("started again in ")[2] for line in log.read_text().splitlines()]
    assert pauses[:3] == ["0.2 s", "0.4 s", "0.8 s"]
    wait_until(lambda: not (here / "failure.json").exists())


def served(folder: Path) -> str:
    try:
        return embedded.serve(folder)
    except EmbeddedServerUnavailable:
        return ""


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0"])
def test_a_folder_that_can_not_be_used_is_said_with_the_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    for call in (embedded.serve, embedded.revive):
        with pytest.raises(EmbeddedServerUnavailable, match=r"\['EMBEDDED_FOLDER'\]"):
            call(tmp_path / name)


def test_a_folder_that_may_not_be_written_is_said_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")  # whoever runs the tests may write all

    monkeypatch.setattr(Path, "mkdir", refuse)

    for call in (embedded.serve, embedded.revive):
        with pytest.raises(EmbeddedServerUnavailable, match=r"\['EMBEDDED_FOLDER'\]"):
            call(tmp_path / "broker")


def test_a_folder_deleted_under_its_users_is_made_anew_with_one_server(
    here: Path, users: list[User]
) -> None:
    ask(embedded.serve(here), "SET", "x", "old")
    server = processes(here)["server"]

    shutil.rmtree(here)
    _, url = start(users, here)

    wait_until(lambda: not is_alive(server), message="the old server is gone")
    assert ask(url, "GET", "x") is None
    embedded.revive(here)  # as who finds the old server gone does
    users.pop().end()
    with open(here / "users.lock", "ab") as lock:
        assert not embedded.locks(lock), "this process is a user of the new server"


def test_a_deleted_folder_is_made_anew_by_who_finds_its_server_gone(here: Path) -> None:
    url = embedded.serve(here)
    server = processes(here)["server"]
    shutil.rmtree(here)
    wait_until(lambda: not is_alive(server))

    embedded.revive(here)

    wait_until(lambda: embedded.answers(embedded.socket_path(here)))
    assert ask(url, "PING")


def test_a_deleted_socket_is_made_anew_with_nothing_lost(here: Path) -> None:
    url = embedded.serve(here)
    ask(url, "SET", "x", "kept")

    embedded.socket_path(here).unlink()

    wait_until(lambda: embedded.answers(embedded.socket_path(here)))
    assert ask(url, "GET", "x") == "kept"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_path_too_long_for_a_socket_is_served_from_a_folder_of_our_own(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("x" * 120)
    elsewhere = tmp_path / ("t" * 120)
    elsewhere.mkdir()
    user = User(long)
    other = User(long, TMPDIR=str(elsewhere))  # for Python's tempfile, not for us

    url = user.url()

    path = Path(url.removeprefix("unix://").removesuffix("?db=0"))
    assert other.url() == url
    assert len(os.fsencode(path)) <= embedded.LONGEST_SOCKET
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ask(url, "PING")
    user.end()
    other.end()
    wait_until(lambda: not processes(long), GONE)


def test_where_no_short_folder_is_ours_the_error_says_what_to_shorten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / f"uncut-{os.getuid()}").symlink_to("/")
    monkeypatch.setattr(embedded, "SHORT_FOLDERS", [str(tmp_path / "taken"), "/dev/null"])

    why, seconds = refusal(long)

    assert "Set DJANGO_TASKS['EMBEDDED_FOLDER'] to a folder with a path of at most" in why
    assert seconds < 1
    embedded._used.pop(long).close()
