"""make: the virtual environment is whole, and of the Python that was asked for, or made anew.

Python is a script here that notes how it is called, so that nothing is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.wheels import ROOT

PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
  *realpath*) readlink -f "$0" ;;
  *venv\\ --clear*)
    rm -rf "$4" && mkdir -p "$4/bin" && ln -s "$(readlink -f "$0")" "$4/bin/python" ;;
  *install*) {install} ;;
  --version) echo Python 3.12.0 ;;
esac
"""
STEPS = {"-m venv --clear ": "venv", "-m pip ": "install", "manage.py demo": "demo"}
DIE = "kill -9 0"  # the whole process group


class Clone:
    """A clone of the project in which ``make demo`` is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"
        for name in ("Makefile", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)

    def python(self, name: str, install: str = "exit 0") -> Path:
        path = self.folder / name
        path.write_text(PYTHON.format(log=self.log, install=install))
        path.chmod(0o755)
        return path

    def make(self, python: Path, *, is_named: bool = True) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and which steps Python was called for."""
        self.log.write_text("")
        environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
        for inherited in ("PYTHON", "VENV", "MAKEFLAGS", "MAKELEVEL"):
            environment.pop(inherited, None)
        done = subprocess.run(
            ["make", "demo", *([f"PYTHON={python}"] if is_named else [])],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
        )
        calls = self.log.read_text().splitlines()
        steps = [step for call in calls for word, step in STEPS.items() if call.startswith(word)]
        return done.returncode, done.stdout + done.stderr, steps


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_a_whole_venv_is_used_again(clone: Clone) -> None:
    python = clone.python("python3")

    code, said, cold = clone.make(python)
    warm = clone.make(python)
    unnamed = clone.make(python, is_named=False)

    assert (code, cold) == (0, ["venv", "install", "demo"])
    assert f"Setting up .venv with {python}" in said
    assert warm == unnamed == (0, "", ["demo"])


def test_a_venv_that_was_half_made_is_made_anew(clone: Clone) -> None:
    python = clone.python("python3")
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    (clone.folder / ".venv" / "bin" / "python").symlink_to(python)

    _, _, steps = clone.make(python)

    assert steps == ["venv", "install", "demo"]


def test_a_venv_in_which_an_installation_was_killed_is_made_anew(clone: Clone) -> None:
    python = clone.python("python3", install=DIE)
    killed, _, _ = clone.make(python)
    clone.python("python3")

    code, _, steps = clone.make(python)

    assert killed == -signal.SIGKILL
    assert (code, steps) == (0, ["venv", "install", "demo"])


def test_a_venv_in_which_an_installation_failed_is_used_again(clone: Clone) -> None:
    python = clone.python("python3", install="exit 1")
    failed, _, _ = clone.make(python)
    clone.python("python3")

    code, _, steps = clone.make(python)

    assert failed
    assert (code, steps) == (0, ["install", "demo"])


def test_another_python_makes_the_venv_anew_and_is_said(clone: Clone) -> None:
    clone.make(clone.python("python3"))
    other = clone.python("python3.12")

    _, said, steps = clone.make(other)
    again = clone.make(other)

    assert f"Setting up .venv with {other}" in said
    assert steps == ["venv", "install", "demo"]
    assert again == (0, "", ["demo"])


def test_a_venv_whose_python_is_gone_is_made_anew(clone: Clone) -> None:
    gone = clone.python("python3.12")
    clone.make(gone)
    gone.unlink()

    code, _, steps = clone.make(clone.python("python3"), is_named=False)

    assert (code, steps) == (0, ["venv", "install", "demo"])
