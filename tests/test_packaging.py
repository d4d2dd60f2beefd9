"""What a release holds: sdist and wheel are built as for a release, looked into and installed."""

from __future__ import annotations

import json
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import django_tasks
from tests.wheels import ROOT, Environment

# All that a user's project needs at once; each public name, and each script by its loader.
PROGRAM = """
import json, pathlib
import django_tasks
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django_tasks"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
print(json.dumps({
    "file": django_tasks.__file__,
    "names": [name for name in django_tasks.__all__ if getattr(django_tasks, name)],
    "rows": django_tasks.models.TaskRecord.objects.count(),
}))
"""


def tree() -> dict[str, bytes]:
    """Every file of the package as it lies in the repository: path → bytes."""
    return {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in (ROOT / "django_tasks").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".po"
    }


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> zipfile.ZipFile:
    [path] = distributions.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_the_wheel_holds_every_file_of_the_package_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}

    assert {path.suffix for path in map(Path, packed)} >= {".py", ".lua", ".typed"}
    assert packed == tree()


def test_the_sdist_holds_what_the_wheel_is_built_from(distributions: Path) -> None:
    [path] = distributions.glob("*.tar.gz")

    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert names >= {*tree(), "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}


def test_the_metadata_says_what_is_needed(metadata: Message) -> None:
    needed = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    names = sorted(one.partition("<")[0].partition(">")[0] for one in needed)

    assert metadata["Name"] == django_tasks.__distribution__ == "django-tasks-uncut"
    assert metadata["Version"] == django_tasks.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert names == ["Django", "django-redis", "redis[hiredis]"]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"embedded", "postgres", "dev"}


def test_all_metadata_is_in_setup_cfg() -> None:
    tables = [
        line.strip("[]\n")
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("[")
    ]

    assert [name for name in tables if not name.startswith("tool.")] == ["build-system"]


def test_the_installed_wheel_works_without_the_repository(
    distributions: Path, tmp_path: Path
) -> None:
    [path] = distributions.glob("*.whl")
    environment = Environment(tmp_path / "venv")
    environment.install(path)

    shown = environment.run("-c", PROGRAM)

    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert Path(told["file"]).is_relative_to(environment.site_packages)
    assert told["names"] == django_tasks.__all__
    assert told["rows"] == 0
