"""The two commands, as a stranger runs them: own processes, own folder, the embedded broker."""

from __future__ import annotations

import http.cookiejar
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from demo_project.audit.management.commands import demo
from tests.waiting import wait_until

from .conftest import Publish

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 120


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The demonstration project with a folder of its own."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("UNCUT_")}
    own = {"DJANGO_SETTINGS_MODULE": "demo_project.settings", "UNCUT_VAR": str(tmp_path / "var")}
    return {**given, **own}


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_audit_burst_prints_the_report_as_json(environment: dict[str, str]) -> None:
    migrated = manage(environment, "migrate", "--verbosity", "0")

    done = manage(environment, "audit", "--burst", "--format", "json", "packaging", "Redis")

    assert (migrated.returncode, done.returncode) == (0, 0), migrated.stderr + done.stderr
    report = json.loads(done.stdout)
    assert report["distributions"] == 2
    assert report["is_sound"] is True
    assert {row["distribution"] for row in report["biggest"]} == {"packaging", "redis"}
    assert "2/2 inspected" in done.stderr


def test_audit_of_what_is_not_installed_says_so(environment: dict[str, str]) -> None:
    manage(environment, "migrate", "--verbosity", "0")

    done = manage(environment, "audit", "no-such-distribution-here")

    assert done.returncode == 1
    assert "Not installed here: no-such-distribution-here" in done.stderr


def test_audit_without_a_worker_asks_for_one(environment: dict[str, str]) -> None:
    manage(environment, "migrate", "--verbosity", "0")

    done = manage(environment, "audit", "packaging", "--timeout", "1")

    assert done.returncode == 1
    assert "0 of 1 distributions inspected" in done.stderr
    assert "python manage.py runworker" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_audits_everything_and_ends_where_there_is_no_terminal(
    environment: dict[str, str], publish: Publish
) -> None:
    site = publish(
        "made", files={"made.py": b"right = True\n"}, headers=["Requires-Dist: absent>1"]
    )
    (site / "made.py").write_bytes(b"wrong = True\n")
    environment["PYTHONPATH"] = str(site)

    done = manage(environment, "demo")

    # What it finds is no failure of the demo.
    assert done.returncode == 0, done.stdout + done.stderr
    listed = json.loads(
        subprocess.run(
            [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
            env=environment,
            capture_output=True,
            check=True,
        ).stdout
    )
    assert f"{len(listed)}/{len(listed)} inspected" in done.stdout
    assert f"{len(listed)} distributions" in done.stdout
    assert "made: made.py its SHA-256 differs" in done.stdout
    assert "made 1.0 requires absent>1: is not installed" in done.stdout
    assert "Admin" not in done.stdout
    wait_until(lambda: not left_of(environment), message="processes are left behind")


def test_demo_says_why_when_there_is_no_broker(environment: dict[str, str]) -> None:
    environment["UNCUT_BROKER"] = "nonsense://nowhere"

    done = manage(environment, "demo")

    assert done.returncode == 1
    assert "CommandError: DJANGO_TASKS['BROKER'] is 'nonsense://nowhere'" in done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: not left_of(environment), message="processes are left behind")


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`manage.py demo` in a terminal, and the end of it that a person has."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "demo"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Ignored where the tests themselves run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)


def read_until(ours: int, text: str, shown: str = "") -> str:
    """What the terminal shows, up to ``text``."""
    deadline = time.monotonic() + TIMEOUT
    while text not in shown and time.monotonic() < deadline:
        if select.select([ours], [], [], 1.0)[0]:
            try:
                shown += os.read(ours, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                break
    assert text in shown, shown
    return shown


def test_demo_in_a_terminal_serves_site_and_admin_until_ctrl_c(
    terminal: tuple[subprocess.Popen[bytes], int], environment: dict[str, str]
) -> None:
    process, ours = terminal

    shown = read_until(ours, "Quit the server with CONTROL-C")

    found = re.search(r"Site\s+(\S+)\s+Admin\s+(\S+)\s+user (\S+), password (\S+)", shown)
    assert found, shown
    site, admin, user, password = found.groups()
    assert "Biggest packages" in fetch(f"{site}audit/1/")
    assert "Site administration" in log_in(admin, user, password)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends for Ctrl-C
    assert process.wait(timeout=30) == 0
    wait_until(lambda: not left_of(environment), message="processes are left behind")


def test_a_killed_demo_takes_worker_and_broker_along(
    terminal: tuple[subprocess.Popen[bytes], int], environment: dict[str, str]
) -> None:
    process, ours = terminal
    read_until(ours, "Quit the server with CONTROL-C")

    process.kill()
    process.wait()

    wait_until(lambda: not left_of(environment), 30, message="processes are left behind")


def test_ctrl_c_at_the_start_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "get_broker", interrupt)
    before = signal.getsignal(signal.SIGTERM)

    try:
        with pytest.raises(SystemExit) as left:
            call_command("demo")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert left.value.code == 128 + signal.SIGINT


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def log_in(admin: str, user: str, password: str) -> str:
    """The page that the admin shows to who logs in so."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(f"{admin}login/", timeout=10).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    form = {
        "csrfmiddlewaretoken": token.group(1),
        "username": user,
        "password": password,
        "next": "/admin/",
    }
    answer = browser.open(f"{admin}login/", urllib.parse.urlencode(form).encode(), timeout=10)
    return str(answer.read().decode())


def left_of(environment: dict[str, str]) -> list[int]:
    """Processes that still have this test's folder in their environment."""
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"UNCUT_VAR={environment['UNCUT_VAR']}".encode() in variables:
            left.append(int(folder.name))
    return left
