"""Wheels: ours, built as a release is, and environments to install them into; no network."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APPENDED = "UNCUT_TEST_APPENDED"  # folders that an Environment's Python sees after its own
RELEASED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "django_tasks")


def build_distributions(folder: Path) -> None:
    """Puts our sdist, and the wheel built from that sdist, into ``folder``."""
    # In a copy: a build leaves `build/` behind, and what once lay there gets into later wheels.
    copy = folder / "tree"
    copy.mkdir()
    for name in RELEASED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)])


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel of pure Python: path in site-packages → text."""
    escaped = name.replace("-", "_")
    described = f"{escaped}-{version}.dist-info"
    contents = {
        **files,
        f"{described}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in contents.items()
    )
    contents[f"{described}/RECORD"] = f"{record}{described}/RECORD,,\n"
    wheel = folder / f"{escaped}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


class Environment:
    """A virtual environment that sees, after its own packages, those that run the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site_packages = folder / "lib" / version / "site-packages"
        # Not by PYTHONPATH, which comes first: what is installed here hides what is installed
        # there. And not for pip, which so sees this environment alone.
        (self.site_packages / "appended.pth").write_text(
            f"import os, sys; sys.path.extend(filter(None, os.environ.get({APPENDED!r}, '')"
            ".split(os.pathsep)))\n"
        )

    def pip(self, *arguments: str) -> None:
        """pip, which sees nothing but this environment: it can remove nothing else."""
        quiet = ["--disable-pip-version-check", "--quiet"]
        _run([sys.executable, "-m", "pip", "--python", str(self.python), *quiet, *arguments])

    def install(self, wheel: Path) -> None:
        """What is there already stays: another distribution's files are overwritten."""
        self.pip("install", "--no-index", "--no-deps", str(wheel))

    def run(self, *arguments: str, settings: str = "") -> subprocess.CompletedProcess[str]:
        """This environment's Python, in its own folder, with a settings module or none."""
        environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
        }
        environment[APPENDED] = os.pathsep.join([str(self.folder), sysconfig.get_path("purelib")])
        if settings:
            environment["DJANGO_SETTINGS_MODULE"] = settings
        return subprocess.run(
            [str(self.python), "-W", "ignore", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _run(command: list[str]) -> None:
    # With a PYTHONPATH pip would find a clone's own metadata there, and install nothing.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd="/", env=environment
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
