"""Is this package whole? The unrelated distribution ``django-tasks`` has the same import name.

Installed after us, it replaces our ``__init__.py`` and ``apps.py`` without a word; uninstalled, it
deletes them. So this file is imported by ``models/__init__.py`` and ``runworker``, which it leaves
alone, and needs nothing that it may have replaced.

An app's ``models.py`` may import our names before any check can run. So, if the package is not
ours, those that it lacks raise the error with the cure: from the import of this file on, which is
why ``django_tasks`` should come first in ``INSTALLED_APPS``."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from django.core import checks

OURS, BACKPORT = "django-tasks-uncut", "django-tasks"
# What our ``__init__.py`` has, which may be replaced: a test compares them.
PUBLIC_NAMES = {
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_QUEUE_NAME",
    "Dependency",
    "GroupResult",
    "LanguageAndTimeZone",
    "Provenance",
    "RedisBackend",
    "Retry",
    "RunCancelled",
    "Snooze",
    "Task",
    "TaskContext",
    "TaskResult",
    "TaskResultStatus",
    "chain",
    "chord",
    "default_task_backend",
    "django_task",
    "enqueue_many",
    "get_workflow",
    "group",
    "request_middleware",
    "task",
    "task_backends",
    "workflow",
}


def problems() -> list[str]:
    """What is wrong with the installed files, a sentence each; nothing if they are whole."""
    found = []
    folder = Path(__file__).resolve().parent
    if not (folder / "__init__.py").exists():
        found.append(f"{folder / '__init__.py'} is gone: uninstalling {BACKPORT} deletes it.")
    elif not _is_ours():
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
    typed = f"pip uninstall {BACKPORT}; {install}" if _has_backport() else install
    return f"{typed} (or, in place of the name, what you installed: a wheel, or -e and a clone)"


def check_installation(**_: Any) -> list[checks.CheckMessage]:
    """``django_tasks.E001``: files of this package were replaced or deleted."""
    return [checks.Error(problem, hint=cure(), id="django_tasks.E001") for problem in problems()]


def require_whole_installation() -> None:
    """Raises ``BrokenInstallation``, with the cure."""
    found = problems()
    if found:
        from django_tasks.errors import BrokenInstallation

        raise BrokenInstallation(f"{' '.join(found)} Cure: {cure()}")


def _is_ours() -> bool:
    return getattr(sys.modules.get("django_tasks"), "__distribution__", "") == OURS


def _has_backport() -> bool:
    # By its name, in any spelling: what another distribution's files hold is never read, so that
    # none that is damaged ends a check.
    try:
        metadata.distribution(BACKPORT)
    except metadata.PackageNotFoundError:
        return False
    return True


def _missing(name: str) -> Any:
    """``__getattr__`` of a package that is not ours."""
    if name in PUBLIC_NAMES:
        require_whole_installation()
    raise AttributeError(f"module 'django_tasks' has no attribute {name!r}")


checks.register(check_installation, "django_tasks")
if not _is_ours():
    vars(sys.modules["django_tasks"])["__getattr__"] = _missing
