"""A virtual environment for each peer, under var/bench, made when it is first needed.

A peer's figures come from its file in peers/, run in that environment; it prints one JSON line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.project import ROOT

# What its users would install for speed.
REQUIREMENTS = {
    "celery": ["celery[redis]>=5.5,<6", "redis[hiredis]>=6,<9"],
    "huey": ["huey>=2.5,<4", "redis[hiredis]>=6,<9"],
    "taskiq": [
        "taskiq>=0.11,<1",
        "taskiq-redis>=1,<2",
        "redis[hiredis]>=6,<9",
        "uvloop>=0.19",
        "orjson>=3.9",
    ],
}


class PeerFailed(Exception):
    """The peer could not be installed or did not run; the text says why."""


def install(peer: str, folder: Path) -> Path:
    """The Python of the peer's environment. Raises ``PeerFailed``."""
    home = folder / peer
    python = home / "bin" / "python"
    wanted = "\n".join(REQUIREMENTS[peer])
    stamp = home / "requirements"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Installing {peer} into {home} ...", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run([*pip, *REQUIREMENTS[peer]])
    stamp.write_text(wanted)
    return python


def measure(
    peer: str, folder: Path, url: str, what: str, count: int, *, mode: str, kind: str = ""
) -> dict[str, Any]:
    """What ``benchmarks/peers/<peer>.py`` tells. ``what``, ``mode`` and ``kind``: as
    its docstring says. Raises ``PeerFailed``."""
    python = install(peer, folder)
    shown = _run(
        [str(python), "-m", f"benchmarks.peers.{peer}", what, str(count)],
        {
            "UNCUT_BENCH_URL": url,
            "UNCUT_BENCH_LOG": str(folder / f"{peer}.log"),
            "UNCUT_BENCH_MODE": mode,
            "UNCUT_BENCH_KIND": kind,
        },
    )
    told: dict[str, Any] = json.loads(shown.strip().splitlines()[-1])
    return told


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["(it said nothing)"]
        raise PeerFailed(f"{command[0]} ended with {done.returncode}: {lines[-1]}")
    return done.stdout
