"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_tasks.bridge.deeds import Done
from django_tasks.ops.words import inert

if TYPE_CHECKING:
    from rich.progress import Progress


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
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.1f}" if isinstance(value, float) else inert(value)


def to_json(value: Any, *, is_one_line: bool = False) -> str:
    """Indented; dataclasses as objects, times as ISO 8601."""
    return json.dumps(value, indent=None if is_one_line else 2, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        # Not asdict(): it makes another Counter of a Counter, which counts its pairs.
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


@contextmanager
def progress(total: int) -> Iterator[Callable[[Done], object]]:
    """Tells a person how far a deed is: a bar where rich is installed (the extra ``rich``), lines
    where it is not; nothing to what is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    bar = _bar()
    if bar is None:
        yield lambda done: print(f"{done.matched:,} of {total:,}", file=sys.stderr)
        return
    with bar:
        step = bar.add_task("", total=total or None)
        yield lambda done: bar.update(step, completed=done.matched)


def _bar() -> Progress | None:
    try:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError:
        return None
    columns = (*Progress.get_default_columns()[1:3], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
