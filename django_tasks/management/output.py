"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what they hold; numbers to the right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    lines = ["  ".join(name.ljust(width) for name, width in zip(head, widths, strict=True))]
    for row, shown in zip(rows, texts, strict=True):
        cells = [
            text.rjust(width) if isinstance(value, int | float) else text.ljust(width)
            for value, text, width in zip(row, shown, widths, strict=True)
        ]
        lines.append("  ".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.1f}" if isinstance(value, float) else printable(value)


def printable(value: object) -> str:
    """On one line, and nothing in it that a terminal obeys: what tasks supply is hostile."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in f"{value}"
    )


def duration(seconds: float | None) -> str:
    """``4 min 10 s``; "-" for None."""
    if seconds is None:
        return "-"
    for size, (unit, name) in enumerate(UNITS):
        if seconds >= unit and unit > 1:
            rest, below = UNITS[size + 1]
            more = int(seconds % unit // rest)
            return f"{int(seconds // unit)} {name}" + (f" {more} {below}" if more else "")
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def to_json(value: Any) -> str:
    """Indented; dataclasses as objects, times as ISO 8601."""
    return json.dumps(value, indent=2, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
