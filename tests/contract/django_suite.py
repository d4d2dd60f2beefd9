"""Django's own tests of tasks, with our backend and a real worker in place of the immediate one.

``python -m tests.contract.django_suite`` (``make django-suite``), on Django 6.0 or later. The sdist
of the installed Django comes through pip and is kept in ``var/django-suite``; its ``tests/tasks``
are unpacked into a temporary folder, and all of them run. Where they name ``ImmediateBackend`` they
get ``WorkedBackend`` (worked.py): our backend, whose ``enqueue`` returns when a ``runworker``, in
processes of its own, has run the call. They run twice: their tasks are of our class, as a project's
are that has our backend; then of Django's, as are those made for another one. What else differs:

- their cases may ask the database ``default``: our backend writes a row;
- a call is tried once, as Django's are; ours is by default tried again;
- what the worker logs of a call is logged again here, on the logger that those tests listen to,
  ``django.tasks``; in the worker it is ``django_tasks.worker``.

What can't hold is in the table ``LISTED`` of worked.py. A listed test must fail, with the words
given there: if it passes, fails by something else or is no more, the run fails."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from unittest import mock

import django
from django.test import override_settings

from tests.servers import Server
from tests.wheels import ROOT

CACHE = ROOT / "var" / "django-suite"
IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
DUMMY = "django.tasks.backends.dummy.DummyBackend"


def fetch_sdist() -> Path:
    """The sdist of the Django that runs this, from ``CACHE`` or through pip."""
    version = django.get_version()
    if not (found := _kept(version)):
        CACHE.mkdir(parents=True, exist_ok=True)
        options = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--quiet"]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        subprocess.run([*command, *options, "--dest", CACHE, f"Django=={version}"], check=True)
        found = _kept(version)
    return found[0]


def _kept(version: str) -> list[Path]:
    return [*CACHE.glob(f"[dD]jango-{version}.tar.gz")]


def unpack_tests(sdist: Path, folder: Path) -> None:
    """Puts the package ``tasks`` of Django's tests into ``folder``, and nothing else."""
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            below = member.name.split("/", 2)[1:]
            if len(below) == 2 and below[0] == "tests" and below[1].startswith("tasks/"):
                member.name = below[1]
                archive.extract(member, folder, filter="data")


def run(folder: Path, server: Server, default: str) -> int:
    """Runs all with tasks of the class that the backend ``default`` makes; the number of tests
    that are not as they ought to be."""
    from tests.contract.worked import Runner, WorkedBackend
    from tests.worker.running import Site

    for name in [name for name in sys.modules if name.split(".")[0] == "tasks"]:
        del sys.modules[name]
    WorkedBackend.runs = 0
    site = Site(
        folder,
        server.url,
        tasks={"MODULES": ["tasks.tasks"]},
        settings={
            "TASKS": {"default": {"BACKEND": "django_tasks.RedisBackend"}},
            "LOGGING": WorkedBackend.log.settings(),
        },
        path=str(folder),
    )
    with override_settings(DJANGO_TASKS=site.tasks):
        with override_settings(TASKS={"default": {"BACKEND": default}}):
            made = type(importlib.import_module("tasks.tasks").noop_task).__module__
        return int(Runner(site, made, interactive=False).run_tests(["tasks"]))


def main() -> int:
    """The exit code: 1 if any test is not as it ought to be."""
    if django.VERSION < (6, 0):
        print(f"Django {django.get_version()} has no tests of tasks: nothing to run.")
        return 0
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.tasks.backends import immediate

    from tests.contract.worked import WorkedBackend, WorkerLog

    sdist = fetch_sdist()
    with tempfile.TemporaryDirectory(prefix="uncut-") as name, Server() as server:
        folder = Path(name)
        unpack_tests(sdist, folder)
        sys.path.insert(0, name)
        with (
            contextlib.closing(WorkerLog(folder)) as WorkedBackend.log,
            mock.patch.object(immediate, "ImmediateBackend", WorkedBackend),
        ):
            failures = [run(folder, server, default) for default in (IMMEDIATE, DUMMY)]
    return int(any(failures))


if __name__ == "__main__":
    sys.exit(main())
