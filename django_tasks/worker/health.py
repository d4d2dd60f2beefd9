"""What the world sees of a worker: its process titles and its one line at boot."""

from __future__ import annotations

from collections.abc import Sequence


def set_title(title: str) -> None:
    """Show ``title`` in ps and top, if setproctitle is installed (extra "title")."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def boot_line(
    version: str, queues: Sequence[str], processes: int, address: str, server: str
) -> str:
    """The one line at boot."""
    return (
        f"Uncut {version}: {processes} process{'es' if processes != 1 else ''} for"
        f" {', '.join(queues)} on {address} ({server})"
    )
