"""Calls are typed: mypy --strict on typed.py finds exactly the errors that it expects."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.mark.skipif(
    find_spec("mypy") is None, reason="make lint has mypy; .ci/run's others have not"
)
def test_mypy_refuses_every_wrong_call_and_no_right_one(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", str(HERE / "typed.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr
