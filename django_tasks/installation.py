"""Is this package whole?"""

from __future__ import annotations


def require_whole_installation() -> None:
    """Raises ``BrokenInstallation``."""
