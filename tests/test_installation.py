"""The unrelated distribution `django-tasks` brings the same package: found in every order.

Its wheel is made here with the files that matter (`__init__.py`, `apps.py`, a module of its own),
so that the test needs no network; pip installs and uninstalls both for real."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.test_packaging import wheel  # noqa: F401 (a fixture)

BACKPORT = {
    "django_tasks/__init__.py": "from importlib import metadata\nVERSION = 'theirs'\n",
    "django_tasks/apps.py": (
        "from django.apps import AppConfig\n\n\n"
        "class TasksAppConfig(AppConfig):\n    name = 'django_tasks'\n"
    ),
    "django_tasks/task.py": "def task(function):\n    return function\n",
    "django_tasks-0.9.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: django-tasks\nVersion: 0.9.0\n"
    ),
    "django_tasks-0.9.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}
SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django_tasks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0"}
SILENCED_SYSTEM_CHECKS = ["django_tasks.W002"]
"""


class Environment:
    """A virtual environment that sees this one's packages, save ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        # Not --system-site-packages: an editable install of ours would be seen too.
        for path in Path(os.path.dirname(os.path.dirname(pytest.__file__))).iterdir():
            if "uncut" not in path.name and not (self.site / path.name).exists():
                (self.site / path.name).symlink_to(path)
        (self.folder / "plain_settings.py").write_text(SETTINGS)

    def pip(self, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DJANGO_SETTINGS_MODULE": "plain_settings",
            "PYTHONPATH": str(self.folder),
        }
        command = [str(self.python), "-m", "django", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.folder
        )


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.fixture
def backport(tmp_path: Path) -> Path:
    made = tmp_path / "django_tasks-0.9.0-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in BACKPORT.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in BACKPORT)
        archive.writestr(
            "django_tasks-0.9.0.dist-info/RECORD",
            record + "django_tasks-0.9.0.dist-info/RECORD,,\n",
        )
    return made


def install(environment: Environment, made: Path) -> None:
    environment.pip("install", "--quiet", "--no-deps", "--no-index", str(made))


def test_alone_nothing_is_wrong(environment: Environment, wheel: Path) -> None:  # noqa: F811
    install(environment, wheel)

    checked = environment.manage("check")

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("order", ["backport last", "backport first"])
def test_both_installed_is_said_with_the_cure(
    environment: Environment,
    wheel: Path,  # noqa: F811
    backport: Path,
    order: str,
) -> None:
    both = [wheel, backport] if order == "backport last" else [backport, wheel]
    for made in both:
        install(environment, made)

    checked = environment.manage("check")
    started = environment.manage("runworker")

    assert checked.returncode == 1
    assert "django_tasks.E001" in checked.stderr
    assert "pip uninstall django-tasks" in checked.stderr
    assert started.returncode == 2
    assert "pip uninstall django-tasks" in started.stderr
    assert "Traceback" not in started.stderr


def test_what_its_uninstallation_deleted_is_said(
    environment: Environment,
    wheel: Path,  # noqa: F811
    backport: Path,
) -> None:
    install(environment, wheel)
    install(environment, backport)
    environment.pip("uninstall", "--quiet", "--yes", "django-tasks")

    checked = environment.manage("check")
    started = environment.manage("runworker")

    assert "__init__.py is gone" in checked.stderr + checked.stdout
    assert checked.returncode == 1
    assert started.returncode == 2
    assert "force-reinstall" in started.stderr
