"""Is this package whole? The unrelated distribution ``django-tasks`` has the same import name.

Installed after us, it replaces our ``__init__.py`` and ``apps.py`` without a word; uninstalled, it
deletes them. So this file is imported by ``models/__init__.py`` and ``runworker``, which it leaves
alone, and needs nothing that it may have replaced."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from django.core import checks

OURS, BACKPORT = "django-tasks-uncut", "django-tasks"


def problems() -> list[str]:
    """What is wrong with the installed files, a sentence each; nothing if they are whole."""
    found = []
    package = sys.modules.get("django_tasks")
    folder = Path(__file__).resolve().parent
    if not (folder / "__init__.py").exists():
        found.append(f"{folder / '__init__.py'} is gone: uninstalling {BACKPORT} deletes it.")
    elif getattr(package, "__distribution__", "") != OURS:
        found.append(f"{folder / '__init__.py'} is not ours: {BACKPORT} replaced it.")
    if not (folder / "apps.py").exists():
        found.append(f"{folder / 'apps.py'} is gone: uninstalling {BACKPORT} deletes it.")
    if _has_backport():
        # Also where our files came last: its uninstallation would take them along.
        found.append(
            f"The distribution {BACKPORT} is installed too: both bring the package django_tasks."
        )
    return found


def cure() -> str:
    """What to type."""
    install = f"pip install --force-reinstall --no-deps {OURS}"
    return f"pip uninstall {BACKPORT}; {install}" if _has_backport() else install


def check_installation(**_: Any) -> list[checks.CheckMessage]:
    """``django_tasks.E001``: files of this package were replaced or deleted."""
    return [checks.Error(problem, hint=cure(), id="django_tasks.E001") for problem in problems()]


def require_whole_installation() -> None:
    """Raises ``BrokenInstallation``, with the cure."""
    found = problems()
    if found:
        from django_tasks.errors import BrokenInstallation

        raise BrokenInstallation(f"{' '.join(found)} Cure: {cure()}")


def _has_backport() -> bool:
    owners = metadata.packages_distributions().get("django_tasks", [])
    # Installers write a distribution's name as its author did: with dashes, dots or underscores.
    return BACKPORT in {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}


checks.register(check_installation, "django_tasks")
