"""What the world sees of a worker: process titles, memory, the one line at boot."""

from __future__ import annotations

import mmap
import resource
import sys
from collections.abc import Sequence


def set_title(title: str) -> None:
    """Show ``title`` in ps and top, if setproctitle is installed (extra "title")."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def memory_used(pid: int | None = None) -> int:
    """Bytes that a process (default: this one) has in memory now; where nobody tells, the most that
    this one ever had, and 0 for others."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        if pid is not None:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def boot_line(
    version: str, queues: Sequence[str], processes: int, address: str, server: str
) -> str:
    """The one line at boot."""
    return (
        f"Uncut {version}: {processes} process{'es' if processes != 1 else ''} for"
        f" {', '.join(queues)} on {address} ({server})"
    )
