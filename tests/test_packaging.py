"""What a stranger installs: the built wheel holds every file and imports."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_tasks"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the tree; no network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [made] = target.glob("*.whl")
    return made


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = set(zipfile.ZipFile(wheel).namelist())

    assert wanted - packed == set()
    assert {"django_tasks/py.typed", "django_tasks/broker/lua/_claim.lua"} <= packed


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()

    others = [name for name in packed if not name.startswith(("django_tasks/", "django_tasks_unc"))]

    assert others == []


def test_the_installed_wheel_finds_its_scripts(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import django_tasks.broker.scripts as scripts;"
        "print(scripts.__file__, len(scripts.load('ack').text) > 1000)"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd="/"
    )

    assert shown.stdout.split() == [
        str(tmp_path / "django_tasks" / "broker" / "scripts.py"),
        "True",
    ], shown.stderr


def test_the_metadata_is_that_of_setup_cfg(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]

    metadata = archive.read(name).decode()

    assert "Name: django-tasks-uncut\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    for required in ("Django<6.2,>=5.2", "redis[hiredis]", "django-redis"):
        assert f"Requires-Dist: {required}" in metadata
