"""The development server."""

from __future__ import annotations

from pathlib import Path


def serve(directory: Path) -> str:
    """Start."""
    raise RuntimeError("not yet")
