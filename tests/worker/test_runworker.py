"""runworker: what it says at boot, what it refuses, what it never shows, and --reload."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

import django_tasks
from django_tasks.models import TaskRecord
from tests.servers import Server
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import ROOT, WAIT, Site, Worker, processes

SECRET = "s3cr3t@pa/ss:word"


def test_one_line_at_boot_says_what_runs_where(site: Site) -> None:
    worker = site.start("--processes", "2", "--queues", "mail,bulk")

    [line] = worker.lines("Uncut ")
    assert re.fullmatch(
        rf"Uncut {django_tasks.__version__}: 2 processes for mail, bulk on "
        rf"{re.escape(site.broker_url)} \((Valkey|Redis) [\d.]+\)",
        line,
    )
    assert worker.log == f"{line}\n"


def test_without_a_name_default_and_every_named_queue_are_served(site: Site) -> None:
    worker = site.start()
    tasks.mail.enqueue("mail")
    tasks.bulk.enqueue("bulk")

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    word = "process" if cores == 1 else "processes"
    # The demo's app is installed here too, and its tasks are found.
    assert worker.lines(f": {cores} {word} for default, audit, bulk, mail on ")
    site.wait_for("ran mail")
    site.wait_for("ran bulk")


REFUSED: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "unreachable server": ([], {"BROKER": "redis://127.0.0.1:1/0"}, "redis://127.0.0.1:1/0 does"),
    "no socket": ([], {"BROKER": "unix:///nowhere/s.sock"}, "unix:///nowhere/s.sock does not"),
    "no URL": ([], {"BROKER": "localhost:6379"}, "neither an alias of CACHES"),
    "wrong scheme": ([], {"BROKER": "http://localhost"}, "neither an alias of CACHES"),
    "unreadable URL": ([], {"BROKER": "redis://localhost:port/0"}, "can't be read"),
    "unknown setting": ([], {"LEESE": 3}, "Did you mean 'LEASE'?"),
    "wrong setting": ([], {"LEASE": "long"}, "it must be a float"),
    "lost module": ([], {"MODULES": ["nowhere.tasks"]}, "names 'nowhere.tasks'"),
    "queue": (["a:b"], {}, "may not hold braces, colons, spaces"),
    "no processes": (["--processes", "0"], {}, "--processes is 0; it must be at least 1"),
    "negative grace": (["--grace", "-1"], {}, "--grace is -1.0; it must be at least 0"),
    "no grace": (["--grace", "nan"], {}, "--grace is nan; it must be at least 0"),
    "endless grace": (["--grace", "inf"], {}, "--grace is inf; it must be at least 0"),
    "alias": (["--backend", "zz"], {}, "--backend is 'zz', and TASKS has no such alias. It has: "),
    "password": (
        [],
        {"BROKER": f"redis://:{quote(SECRET, safe='')}@127.0.0.1:1/0"},
        "redis://***@127",
    ),
    "raw password": ([], {"BROKER": "redis://:s3cr3t@word@127.0.0.1:1/0"}, "redis://***@127.0"),
}


def test_what_can_not_start_says_why_in_one_line_and_exits_with_2(make_site: MakeSite) -> None:
    launched: dict[str, Worker] = {}
    for name, (options, settings, _) in REFUSED.items():
        launched[name] = make_site(tasks=settings).launch(*options)

    for name, worker in launched.items():
        assert worker.ended(40) == 2, f"{name}: {worker.log}"
        [line] = worker.log.splitlines()
        assert line.startswith("CommandError: "), name
        assert REFUSED[name][2] in line, name
        assert "s3cr3t" not in line, name
        assert "word" not in line, name


BROKEN = {
    "this is no Python": "SyntaxError: invalid syntax",
    "\nimport a_library_that_is_missing": "ModuleNotFoundError: No module named 'a_library",
    "\nraise ValueError('one\\ntwo')": "ValueError: one two",
    "from django_tasks import django_task\n@django_task(retrys=1)\ndef f(): ...": (
        "InvalidTaskOptions: Unknown option 'retrys'. Did you mean 'retries'?"
    ),
}


def test_a_module_that_can_not_be_imported_is_named_with_its_place(
    make_site: MakeSite, tmp_path: Path
) -> None:
    launched = []
    for number, source in enumerate(BROKEN):
        module = tmp_path / f"broken_{number}.py"
        module.write_text(source)
        site = make_site(tasks={"MODULES": [module.stem]})
        site.path = str(tmp_path)
        launched.append((module, site.launch("--burst", "--processes", "1")))

    for (module, worker), (source, said) in zip(launched, BROKEN.items(), strict=True):
        assert worker.ended(40) == 2, worker.log
        [line] = worker.log.splitlines()
        start = f"CommandError: The tasks in '{module.stem}' can't be imported: {said}"
        assert line.startswith(start)
        where = 1 if source.startswith("this") else 2
        assert line.endswith(f"({module}, line {where})")


def test_with_traceback_what_can_not_start_exits_with_2_too(site: Site) -> None:
    worker = site.launch("--traceback", "--processes", "0")

    assert worker.ended() == 2
    assert worker.lines("Traceback (most recent call last)")
    assert "--processes is 0; it must be at least 1" in worker.log.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--burst",)])
def test_a_database_that_is_not_migrated_is_told_the_cure(
    make_site: MakeSite, tmp_path: Path, options: tuple[str, ...]
) -> None:
    empty = {"postgresql": "postgres", "mysql": "mysql"}.get(
        connection.vendor, str(tmp_path / "empty.sqlite3")
    )
    site = make_site(database={"NAME": empty})

    worker = site.launch("--processes", "1", *options)

    assert worker.ended() == 2
    [line] = worker.log.splitlines()
    assert "has no table 'django_tasks_taskrecord'" in line
    assert "python manage.py migrate --database default" in line


def test_call_command_takes_queues_as_a_list(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNCUT_LIVE_FOLDER", str(site.folder))
    mail, bulk = tasks.mail.enqueue("m"), tasks.bulk.enqueue("b")

    call_command("runworker", queues=["mail"], burst=True)

    assert site.told("ran m")
    assert TaskRecord.objects.get(id=mail.id).status == "SUCCESSFUL"
    assert TaskRecord.objects.get(id=bulk.id).status != "SUCCESSFUL"


def test_call_command_raises_what_can_not_start(site: Site, settings: Any) -> None:
    settings.TASKS = {"main": {"BACKEND": "django_tasks.RedisBackend"}}

    with pytest.raises(CommandError, match=r"no such alias\. It has: 'main'") as caught:
        call_command("runworker", burst=True)

    assert caught.value.returncode == 2


def test_processes_must_be_a_number(site: Site) -> None:
    worker = site.launch("--processes", "many")

    assert worker.ended() == 2
    assert "invalid int value: 'many'" in worker.log.splitlines()[-1]


def test_a_password_is_never_shown(make_site: MakeSite) -> None:
    with Server() as guarded:
        admin = guarded.client()
        admin.config_set("requirepass", SECRET)
        site = make_site(f"unix://:{quote(SECRET, safe='')}@{guarded.socket}?db=0")
        worker = site.start("--processes", "1", "-v3")
        tasks.tell.enqueue("guarded")
        site.wait_for("ran guarded")

        admin.config_set("requirepass", "another")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        worker.wait_for_line("Waiting for the broker")
        worker.wait_for_line("The broker is away")
        late = site.launch()

        assert late.ended() == 2
        for log in (worker.log, late.log):
            assert "unix://***@" in log
            assert "s3cr3t" not in log
            assert quote(SECRET, safe="") not in log
        if Path("/proc/self/cmdline").exists():
            for pid in worker.group():
                assert "s3cr3t" not in Path(f"/proc/{pid}/cmdline").read_text()
        site.stop()
        admin.close()


@pytest.fixture
def project(make_site: MakeSite, tmp_path: Path) -> tuple[Site, Path]:
    """A project with a module of its own, that may be edited."""
    module = tmp_path / "edited" / "edited_tasks.py"
    module.parent.mkdir()
    shutil.copy(ROOT / "tests" / "worker" / "live_tasks.py", module)
    site = make_site(tasks={"MODULES": ["edited_tasks"]})
    site.path = str(module.parent)
    return site, module


def require_nothing_left(reloader: Worker) -> None:
    reloader.ended()
    wait_until(lambda: reloader.group() == set(), WAIT, "nothing is left behind")


def test_reload_starts_another_supervisor_when_a_file_changes(project: tuple[Site, Path]) -> None:
    site, module = project
    reloader = site.start("--processes", "1", "--reload")
    before = reloader.group()
    [child] = site.consumers().values()

    with module.open("a") as edited:
        edited.write("\n# touched\n")

    wait_until(lambda: set(site.consumers().values()) - {child}, WAIT, reloader.log)
    wait_until(lambda: child not in processes(), WAIT, "the old child is gone")
    assert len(reloader.lines("Uncut ")) == 2
    assert len(reloader.group()) == len(before)
    reloader.terminate()
    require_nothing_left(reloader)
    assert reloader.lines("Traceback") == []


def test_a_killed_reloader_leaves_nothing_behind(project: tuple[Site, Path]) -> None:
    site, _ = project
    reloader = site.start("--processes", "1", "--reload")

    reloader.send(signal.SIGKILL)

    require_nothing_left(reloader)


def test_reload_waits_for_the_cure_of_a_module_that_can_not_be_imported(
    project: tuple[Site, Path],
) -> None:
    site, module = project
    text = module.read_text()
    module.write_text("this is no Python")
    reloader = site.launch("--processes", "1", "--reload")
    line = "The worker starts again when a file changes."
    wait_until(lambda: line in reloader.log.splitlines(), WAIT, reloader.log)

    module.write_text(text)

    wait_until(site.consumers, WAIT, reloader.log)
    reloader.kill_group(signal.SIGINT)  # as a terminal does
    require_nothing_left(reloader)
