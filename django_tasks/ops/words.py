"""Durations and sizes as a person says them."""

from __future__ import annotations

import json
from typing import Any

from django_tasks.calls.shown import inert as inert  # what tasks supply, for admin and command

UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def duration(seconds: float | None) -> str:
    """``6 min 40 s``, to two units; "–" for None."""
    if seconds is None:
        return "–"
    for unit, name, below, lower in UNITS:
        if seconds >= unit:
            rest = int(seconds % unit // below)
            return f"{int(seconds // unit)} {name}" + (f" {rest} {lower}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """``12.3 MB``."""
    for unit, name in SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


MOST_SHOWN = 20_000  # characters of one value on a page


def block(value: object, limit: int = MOST_SHOWN, *, is_tail: bool = False) -> str:
    """As ``inert``, over several lines. ``is_tail``: its end is what matters (a traceback)."""
    text = f"{value}"
    kept = text[-limit:] if is_tail else text[:limit]
    shown = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in kept
    )
    if len(text) <= limit:
        return shown
    left_out = f"… ({len(text):,} characters)"
    return f"{left_out}\n{shown}" if is_tail else f"{shown}\n{left_out}"


def pretty(value: Any, limit: int = MOST_SHOWN) -> str:
    """JSON, indented, inert, bounded; a text that is one line stays one."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"{value!r}"
    return block(text, limit)
