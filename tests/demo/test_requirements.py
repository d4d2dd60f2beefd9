"""Unsatisfied requirements are those that `pip check` reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo_project.audit.inspection import installed_names
from demo_project.audit.requirements import Unsatisfied, unsatisfied

from .conftest import Publish, inspect

INSTALLED = {"beta": "1.5", "gamma": "2.0rc1", "odd": "one.two"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("beta", None),
        ("beta>=1,<2", None),
        ("beta>=2", Unsatisfied("beta>=2", "1.5", "1.5 is installed")),
        ("absent>=1", Unsatisfied("absent>=1", "", "is not installed")),
        # Markers: of another system, of this one, and of an extra that nobody asked for.
        ("absent; sys_platform == 'no-such-system'", None),
        ("absent; python_version >= '3'", Unsatisfied("absent", "", "is not installed")),
        ("absent; extra == 'dev'", None),
        ("beta>=2; python_version >= '3' and extra == 'dev'", None),
        # The extras that are asked for are not followed, as in pip check.
        ("beta[fast]>=1", None),
        # A pre-release that is there counts.
        ("gamma>=1", None),
        ("gamma>=2.0", Unsatisfied("gamma>=2.0", "2.0rc1", "2.0rc1 is installed")),
        (
            "odd>=1",
            Unsatisfied("odd>=1", "one.two", "one.two is installed"),
        ),
    ],
)
def test_a_requirement_is_judged(line: str, expected: Unsatisfied | None) -> None:
    found = unsatisfied([line], INSTALLED.get)

    assert found == ([] if expected is None else [expected])


def test_an_unreadable_requirement_is_reported() -> None:
    [lacking] = unsatisfied(["beta >> 1"], INSTALLED.get)

    assert lacking.requirement == "beta >> 1"
    assert lacking.reason.startswith("can't be read")


def pip_check(site: Path | None = None) -> set[tuple[str, str, str]]:
    """(distribution, version, name that it lacks) as the real pip reports them."""
    environment = {**os.environ, "PYTHONPATH": str(site or "")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        env=environment,
    )
    found = set()
    for line in done.stdout.splitlines():
        if match := re.match(r"(\S+) (\S+) (?:requires|has requirement) ([\w.-]+)", line):
            found.add(match.groups())
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found  # type: ignore[return-value]


def ours() -> set[tuple[str, str, str]]:
    """The same as we find them."""
    found = set()
    for inspection in map(inspect, installed_names()):
        for lacking in inspection.unsatisfied:
            name = re.match(r"[\w.-]+", lacking.requirement)
            found.add((inspection.name, inspection.version, name.group() if name else ""))
    return found


def test_this_environment_is_judged_as_pip_check_judges_it() -> None:
    assert ours() == pip_check()


def test_a_broken_environment_is_judged_as_pip_check_judges_it(publish: Publish) -> None:
    publish("beta", "1.5")
    publish("gamma", "2.0rc1", headers=["Provides-Extra: dev", "Requires-Dist: beta[fast]<1"])
    site = publish(
        "alpha",
        headers=[
            "Provides-Extra: dev",
            "Requires-Dist: beta>=2",
            "Requires-Dist: gamma>=1",
            "Requires-Dist: absent-one",
            "Requires-Dist: absent-two; python_version < '3'",
            "Requires-Dist: absent-three; extra == 'dev'",
        ],
    )

    found = ours()

    assert {row for row in found if row[0] in ("alpha", "gamma")} == {
        ("alpha", "1.0", "beta"),
        ("alpha", "1.0", "absent-one"),
        ("gamma", "2.0rc1", "beta"),
    }
    assert found == pip_check(site)
