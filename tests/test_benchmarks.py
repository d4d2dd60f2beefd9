"""The benchmark's code runs: a bare loop, workers, what is joined, a count of bytes, all tiny."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cases
from benchmarks.__main__ import select
from benchmarks.comparing import JOINED_PEERS, PEERS, TO_VALUE, compare
from benchmarks.counts import FULL, QUICK
from benchmarks.environments import REQUIREMENTS, PeerFailed
from benchmarks.report import Figure, Report
from benchmarks.waiting import drain_rate, percentile, shortest
from tests.wheels import ROOT

CASES = ["never-1", "chain", "chord", "chord-10000", "enqueue-many", "bytes"]


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


def test_a_chain_and_a_chord_are_compared_with_each_peer_of_theirs() -> None:
    report = Report()
    for form, value in (("chain", 100.0), ("chord", 300.0)):
        report.add_least(form, TO_VALUE, value, "ms")
    for peer in JOINED_PEERS:
        report.add_least(peer, TO_VALUE, 200.0, "ms")

    compare(report)

    told = {one.of: (one.ratio, one.is_reached) for one in report.figures if one.ratio is not None}
    assert told == {
        "chain-celery": (0.5, True),
        "chain-huey": (0.5, True),
        "chord-celery": (1.5, False),
        "chord-huey": (1.5, False),
    }


def test_without_a_peer_there_is_nothing_to_compare_with() -> None:
    report = Report()
    report.add_least("chain", TO_VALUE, 100.0, "ms")
    before = list(report.figures)

    compare(report)

    assert report.figures == before


def test_a_peer_that_can_not_be_installed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(peer: str, folder: Path) -> Path:
        raise PeerFailed(f"no network for {peer}")

    monkeypatch.setattr(cases, "install", install)
    bench = cases.Bench(None, tmp_path, dict(QUICK))  # type: ignore[arg-type]

    bench._install(["chain", "chain-celery", "chord-huey"])

    assert bench.report.skipped == {
        "chain-celery": "no network for celery",
        "chord-huey": "no network for huey",
    }
    assert not bench.has_failed


def test_every_peer_has_requirements_and_every_count_its_small_one() -> None:
    peers = {peer for table in (PEERS, JOINED_PEERS) for peer, _ in table.values()}

    assert peers == REQUIREMENTS.keys()
    assert FULL.keys() == QUICK.keys()
    assert all(QUICK[name] < FULL[name] for name in FULL)


def test_the_least_of_several_measurements_counts() -> None:
    assert shortest(lambda: 5, 5) > 0

    with pytest.raises(AssertionError, match="4 is not 5"):
        shortest(lambda: 4, 5)


def test_of_rounds_the_least_counts_against_the_target() -> None:
    report = Report()

    for value in (1.5, 0.5, 2.0):
        report.add_least("a", "b", value, "s", target=("≤", 1.0))

    [found] = report.figures
    assert (found.value, found.is_reached) == (0.5, True)


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
