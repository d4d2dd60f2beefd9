"""The backport ``django-tasks`` brings the same import name: each order of the two is found.

Its wheel is written here with the files that the real one (0.12) shares with ours, so that the
test needs no network; pip installs and uninstalls both for real."""

from __future__ import annotations

from pathlib import Path

import pytest

import django_tasks
from django_tasks import installation
from django_tasks.errors import BrokenInstallation
from tests.wheels import Environment, write_wheel

BACKPORT = {
    "django_tasks/__init__.py": (
        "def task(function):\n    return function\n\n\n__all__ = ['task']\n"
    ),
    "django_tasks/apps.py": (
        "from django.apps import AppConfig\n\n\n"
        "class TasksAppConfig(AppConfig):\n"
        "    name = 'django_tasks'\n\n"
        "    def ready(self):\n"
        "        from . import signals  # noqa: F401\n"
    ),
    "django_tasks/py.typed": "",
    "django_tasks/signals.py": "task_enqueued = object()\n",
}
SETTINGS = """
import os
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["django_tasks", *os.environ.get("APPS", "").split()]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {
    "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}}}
USE_TZ = True
DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0"}
"""


class Site(Environment):
    """A user's environment and project."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "shop.py").write_text(SETTINGS)
        # An app whose models import its tasks, as many do.
        (folder / "store").mkdir()
        (folder / "store" / "__init__.py").touch()
        (folder / "store" / "models.py").write_text("from store.tasks import sell\n")
        (folder / "store" / "tasks.py").write_text(
            "from django_tasks import django_task\n\n\n@django_task\ndef sell():\n    pass\n"
        )

    def check(self) -> str:
        """What ``manage.py check`` says; "" if nothing."""
        shown = self.run("-m", "django", "check", settings="shop")
        assert (shown.returncode == 0) == ("no issues" in shown.stdout), shown
        return shown.stderr

    def runworker(self) -> tuple[int, str]:
        """Exit code and what was said."""
        shown = self.run("-m", "django", "runworker", "--burst", settings="shop")
        return shown.returncode, shown.stderr

    def damage_another(self) -> None:
        """A byte that is no UTF-8 in all that another installed distribution says of itself."""
        other = self.site_packages / "other-1.0.dist-info"
        other.mkdir()
        for name in ("METADATA", "RECORD", "top_level.txt"):
            (other / name).write_bytes(b"Name: other\xff\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def ours(distributions: Path) -> Path:
    [wheel] = distributions.glob("*.whl")
    return wheel


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return write_wheel(tmp_path, "django-tasks", "0.12.0", BACKPORT)


def test_the_backport_installed_after_us_is_found_and_so_are_the_files_it_takes_along(
    site: Site, ours: Path, theirs: Path
) -> None:
    site.install(ours)
    whole = site.check()
    site.install(theirs)
    replaced, refused = site.check(), site.runworker()
    site.pip("uninstall", "--yes", "django-tasks")
    deleted, refused_again = site.check(), site.runworker()
    site.pip("install", "--no-index", "--force-reinstall", "--no-deps", str(ours))
    mended = site.check()

    assert whole == mended == ""
    assert "django_tasks.E001" in replaced
    assert "__init__.py is not ours: django-tasks replaced it" in replaced
    assert "HINT: pip uninstall" in replaced
    assert "The distribution django-tasks is installed too" in replaced
    assert refused[0] == refused_again[0] == 2
    assert "not ours" in refused[1]
    assert "--force-reinstall --no-deps django-tasks-uncut" in refused[1]
    assert "Traceback" not in refused[1] + refused_again[1]
    assert "__init__.py is gone" in deleted
    assert "apps.py is gone" in deleted
    assert "is installed too" not in deleted
    assert "pip uninstall" not in deleted


def test_the_backport_installed_before_us_is_found_before_it_takes_our_files_along(
    site: Site, ours: Path, theirs: Path
) -> None:
    site.install(theirs)
    site.install(ours)
    together, refused = site.check(), site.runworker()
    site.pip("uninstall", "--yes", "django-tasks")
    deleted = site.check()

    assert "The distribution django-tasks is installed too" in together
    assert "replaced" not in together
    assert refused[0] == 2
    assert "__init__.py is gone" in deleted


def test_an_app_whose_models_import_its_tasks_gets_the_cure(
    site: Site, ours: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPS", "store")
    site.install(ours)
    whole = site.check()
    site.install(theirs)
    replaced, (_, refused) = site.check(), site.runworker()
    site.pip("uninstall", "--yes", "django-tasks")
    deleted = site.check()

    assert whole == ""
    for said in (replaced, refused):
        last = said.strip().splitlines()[-1]
        assert last.startswith("django_tasks.errors.BrokenInstallation: ")
        assert "__init__.py is not ours: django-tasks replaced it" in last
        assert "Cure: pip uninstall django-tasks; pip install --force-reinstall" in last
    assert "__init__.py is gone" in deleted.strip().splitlines()[-1]


def test_a_damaged_distribution_ends_no_check(site: Site, ours: Path, theirs: Path) -> None:
    site.install(theirs)
    site.install(ours)
    site.damage_another()
    together = site.check()

    assert "The distribution django-tasks is installed too" in together


def test_the_names_that_may_be_missing_are_the_packages() -> None:
    assert {*django_tasks._OURS, *django_tasks._FRAMEWORK} == installation.PUBLIC_NAMES


def test_what_the_tests_run_on_is_whole() -> None:
    installation.require_whole_installation()

    assert installation.problems() == []
    assert installation.check_installation() == []
    assert issubclass(BrokenInstallation, Exception)
