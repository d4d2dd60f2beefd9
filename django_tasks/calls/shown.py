"""What tasks supply, made fit to be shown: on one line, bounded, inert; a word for the rest."""

from __future__ import annotations

MASK = "***"  # stands for the value of a sensitive argument wherever a call is shown


def inert(value: object, limit: int = 2000) -> str:
    """On one line, bounded, and with nothing in it that a terminal or a reader's eye obeys: what
    tasks supply is hostile (escape sequences, right-to-left marks, a megabyte)."""
    text = f"{value}"
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown
        )
    return shown if len(text) <= limit else f"{shown} … ({len(text):,} characters)"


def inert_lines(text: str) -> str:
    """A text of several lines, as a traceback is, with nothing else in it that is obeyed."""
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join(inert(line, len(line)) for line in text.split("\n"))
