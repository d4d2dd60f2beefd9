"""The benchmark's code runs: a bare loop, workers, an enqueue and a count of bytes, all tiny."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import select
from benchmarks.report import Figure, Report
from benchmarks.waiting import drain_rate, percentile
from tests.wheels import ROOT

CASES = ["never-1", "enqueue-many", "bytes"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a quick run writes: its own server, real workers, SQLite, no peers."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("the benchmark reads /proc")
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--sqlite", "--folder", str(folder)]

    done = subprocess.run([*command, *CASES], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} == {"report.json", "worker.log"}, (
        "nothing else is left"
    )
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return {**report, "shown": done.stdout}


@pytest.mark.parametrize("case", ["bare", *CASES])
def test_a_case_gives_figures(told: dict[str, Any], case: str) -> None:
    found = [one for one in told["figures"] if one["case"] == case]

    assert found
    assert all(one["value"] > 0 for one in found)
    assert f"| {case} " in told["shown"]


def test_ratios_are_to_the_bare_loop_of_the_same_run(told: dict[str, Any]) -> None:
    rates = {one["case"]: one for one in told["figures"] if one["name"] == "tasks per second"}

    assert rates["bare"]["ratio"] == 1.0
    assert rates["never-1"]["ratio"] == pytest.approx(
        rates["never-1"]["value"] / rates["bare"]["value"]
    )


def test_a_run_says_what_others_used_of_the_machine(told: dict[str, Any]) -> None:
    assert {"load average before", "load average after", "server"} <= told["facts"].keys()
    assert all(0 <= share <= 1 for shares in told["foreign"].values() for share in shares)
    assert {"bare", *CASES} <= told["foreign"].keys()


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure("a", "b", 5.0, "/s"), None),
        (Figure("a", "b", 5.0, "/s", target=("≥", 4.0)), True),
        (Figure("a", "b", 5.0, "/s", target=("≤", 4.0)), False),
        (Figure("a", "b", 5.0, "/s", ratio=1.2, of="c", target=("≤", 1.3)), True),
        (Figure("a", "b", 5.0, "/s", ratio=1.2, of="c", target=("≥", 1.3)), False),
    ],
)
def test_a_target_is_of_the_ratio_if_there_is_one(figure: Figure, reached: bool | None) -> None:
    assert figure.is_reached is reached


def test_the_table_says_what_was_skipped() -> None:
    report = Report()

    report.skip("huey", "no network")

    assert "skipped huey: no network" in report.text()


def test_cases_are_chosen_by_patterns() -> None:
    names = ["never-1", "never-2", "idle"]

    assert select(names, []) == names
    assert select(names, ["never-*"]) == ["never-1", "never-2"]
    with pytest.raises(SystemExit, match="No case is named 'nver'"):
        select(names, ["nver"])


def test_a_rate_is_that_of_the_middle_of_a_queue() -> None:
    lengths = iter([100, 95, 80, 50, 10])

    assert drain_rate(lambda: next(lengths), count=100, timeout=1) > 0


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(one) for one in range(100, 0, -1)]

    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51.0, 100.0)
    assert percentile([7.0], 0.95) == 7.0
