"""All cases: how many tasks each takes, how they run, what is compared at the end.

Cases of throughput run in rounds, the bare loop first in each, and so do those of an idle worker;
of each the best round counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bare_loop, machine
from benchmarks.environments import PeerFailed, install, measure
from benchmarks.project import Project
from benchmarks.report import Report

FULL = {
    "rounds": 3,
    "bare": 20_000,
    "never": 60_000,
    "recorded": 40_000,
    "peer": 15_000,
    "idle": 400,
    "deep": 300_000,
    "memory": 300_000,
    "inserts": 3_000,
    "many": 20_000,
    "bytes": 20_000,
    "options": 2_000,
    "runs": 10_000,
    "long": 10,
    "short": 200,
    "long_ms": 2_000,
}
# Each is tried, nothing is measured.
QUICK = {
    "rounds": 1,
    "bare": 500,
    "never": 300,
    "recorded": 200,
    "peer": 500,
    "idle": 10,
    "deep": 3_000,
    "memory": 5_000,
    "inserts": 100,
    "many": 200,
    "bytes": 200,
    "options": 100,
    "runs": 100,
    "long": 2,
    "short": 10,
    "long_ms": 100,
}
# Case → peer, what its file is told by the environment.
PEERS = {
    "huey": ("huey", {"mode": "results"}),
    "huey-no-results": ("huey", {"mode": "no-results"}),
    "taskiq-list": ("taskiq", {"mode": "results", "kind": "list"}),
    "taskiq-list-no-results": ("taskiq", {"mode": "no-results", "kind": "list"}),
    "taskiq-stream": ("taskiq", {"mode": "results", "kind": "stream"}),
    "taskiq-stream-no-results": ("taskiq", {"mode": "no-results", "kind": "stream"}),
}
IDLE_PEERS = {
    "idle-huey": ("huey", {"mode": "idle"}),
    "idle-taskiq": ("taskiq", {"mode": "results", "kind": "list"}),
}
NEED_POSTGRES = ("first-2", "after-2")


class Bench:
    """One run of the chosen cases."""

    def __init__(self, project: Project, folder: Path, counts: dict[str, int]) -> None:
        self.project = project
        self.folder = folder
        self.counts = counts
        self.report = Report()
        self.has_failed = False  # a case of ours

    def run(self, chosen: Iterable[str]) -> None:
        names = list(chosen)
        self._install(names)
        rounds = self._rounds()
        bare = self._run_rounds({name: rounds[name] for name in names if name in rounds})
        singles = self._singles(bare)
        # Those that are compared with each other take turns; the best round of each counts.
        compared = [name for name in names if name == "idle" or name in IDLE_PEERS]
        turns = compared * self.counts["rounds"]
        for name in [*turns, *(name for name in names if name not in compared)]:
            if name in singles and name not in self.report.skipped:
                self._watched(name, singles[name])
        compare(self.report)

    def _install(self, names: list[str]) -> None:
        """Before anything is timed."""
        for name in names:
            peer, _ = {**PEERS, **IDLE_PEERS}.get(name, ("", {}))
            try:
                if peer:
                    install(peer, self.folder)
            except PeerFailed as error:
                self.report.skip(name, str(error))

    def _watched(self, name: str, work: Callable[[], Any]) -> Any:
        """What ``work`` returns; notes what others used of the machine meanwhile."""
        print(f"{name} ...", flush=True)
        pids = self.project.database_pids()
        before = machine.now(pids)
        try:
            return work()
        except PeerFailed as error:
            self.report.skip(name, str(error))
            return None
        except (AssertionError, TimeoutError) as error:
            self.has_failed = True
            self.report.skip(name, f"failed: {error}")
            return None
        finally:
            share = machine.foreign(before, machine.now(pids))
            self.report.foreign.setdefault(name, []).append(round(share, 3))

    # -- throughput, in rounds --------------------------------------------------------------------

    def _rounds(self) -> dict[str, Callable[[], Any]]:
        from benchmarks import ours

        cases: dict[str, Callable[[], Any]] = {
            name: partial(case, self.project) for name, case in ours.cases(self.counts).items()
        }
        for name, (peer, told) in PEERS.items():
            cases[name] = partial(self._peer, peer, told)
        return cases

    def _bare(self) -> Any:
        from benchmarks.ours import Run

        self.project.server.flush()
        return Run(bare_loop.rate(self.project.server.client, self.counts["bare"]))

    def _peer(self, peer: str, told: dict[str, str]) -> Any:
        from benchmarks.ours import Run

        self.project.server.flush()
        answer = self._measure(peer, "throughput", self.counts["peer"], told)
        return Run(answer["rate"])

    def _measure(self, peer: str, what: str, count: int, told: dict[str, str]) -> dict[str, Any]:
        url = self.project.server.url
        answer = measure(peer, self.folder, url, what, count, **told)
        self.report.facts[peer] = answer["version"]
        return answer

    def _run_rounds(self, cases: dict[str, Callable[[], Any]]) -> float:
        """The best rate of the bare loop; everything else is in the report."""
        from benchmarks.ours import TARGETS

        for name in NEED_POSTGRES:
            if name in cases and not self.project.postgres:
                self.report.skip(name, "no PostgreSQL")
                del cases[name]
        runs: dict[str, list[Any]] = {"bare": []}
        for number in range(self.counts["rounds"]):
            print(f"round {number + 1}", flush=True)
            for name, case in {"bare": self._bare, **cases}.items():
                if name in self.report.skipped:
                    continue
                run = self._watched(name, case)
                if run is not None:
                    runs.setdefault(name, []).append(run)
        bare = max(run.rate for run in runs["bare"])
        for name, found in runs.items():
            best = max(found, key=lambda run: run.rate)
            target = ("≥", TARGETS[name]) if name in TARGETS else None
            note = "of " + ", ".join(f"{run.rate:,.0f}" for run in found)
            self.report.add(
                name,
                "tasks per second",
                best.rate,
                "/s",
                ratio=best.rate / bare,
                of="bare loop",
                target=target,
                note=note,
            )
            for role, spent in best.cpu.items():
                if spent:
                    self.report.add(name, f"CPU of {role}", spent, "µs/task")
            if best.scripts:
                self.report.details[f"{name}: commands"] = best.scripts
        return bare

    # -- the others, once -------------------------------------------------------------------------

    def _singles(self, bare: float) -> dict[str, Callable[[], Any]]:
        from benchmarks import depth, enqueueing, latency

        counts, given = self.counts, (self.project, self.report)
        return {
            "idle": partial(latency.idle, *given, counts["idle"]),
            **{
                name: partial(self._idle_peer, name, peer, told)
                for name, (peer, told) in IDLE_PEERS.items()
            },
            "behind-long": partial(
                latency.behind_long,
                *given,
                long=counts["long"],
                short=counts["short"],
                seconds=counts["long_ms"] / 1000,
            ),
            "depth": partial(depth.claims, *given, deep=counts["deep"], rounds=10),
            "memory": partial(depth.memory, *given, counts["memory"]),
            "pss": partial(depth.idle_memory, *given),
            "bytes": partial(depth.bytes_per_message, *given, counts["bytes"]),
            "enqueue": partial(enqueueing.one_call, *given, counts["inserts"]),
            "enqueue-many": partial(enqueueing.many, *given, counts["many"], bare),
            "options": partial(
                enqueueing.options, *given, calls=counts["options"], runs=counts["runs"]
            ),
        }

    def _idle_peer(self, name: str, peer: str, told: dict[str, str]) -> None:
        from benchmarks import latency

        self.project.server.flush()
        answer = self._measure(peer, "idle", self.counts["idle"], told)
        latency.of_peer(self.report, name, answer)

    def names(self) -> list[str]:
        """Every case, in the order in which they run."""
        return [*self._rounds(), *self._singles(1.0)]


def compare(report: Report) -> None:
    """Ours against the peers, where both were measured in this run."""
    found = {(one.case, one.name): one.value for one in report.figures}
    rates = {case: value for (case, name), value in found.items() if name == "tasks per second"}
    for peers, label in (
        ([name for name, (_, told) in PEERS.items() if told["mode"] == "results"], "results kept"),
        ([name for name, (_, told) in PEERS.items() if told["mode"] != "results"], "no results"),
    ):
        measured = {name: rates[name] for name in peers if name in rates}
        if not measured:
            continue
        fastest = max(measured, key=lambda name: measured[name])
        for ours in ("never-2", "first-2", "after-2"):
            if ours in rates:
                report.add(
                    ours,
                    f"against the fastest peer, {label}",
                    rates[ours],
                    "/s",
                    ratio=rates[ours] / rates[fastest],
                    of=fastest,
                    target=("≥", 1.0),
                )
    for peer in IDLE_PEERS:
        for name in [name for case, name in found if case == "idle"]:
            # A body that began before its enqueue returned has no ratio to anything.
            if found.get((peer, name), 0) > 0:
                report.add(
                    "idle",
                    name,
                    found["idle", name],
                    "µs",
                    ratio=found["idle", name] / found[peer, name],
                    of=peer,
                    target=None if "called to first" in name else ("≤", 1.0),
                )
