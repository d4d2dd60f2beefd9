"""All cases, and how they run.

Cases of throughput run in rounds, the bare loop first in each, and so do those of an idle worker
and of what is joined; of each the best round counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bare_loop, machine
from benchmarks.comparing import IDLE_PEERS, JOINED_PEERS, PEERS, compare
from benchmarks.environments import PeerFailed, install, measure
from benchmarks.project import Project
from benchmarks.report import Report

NEED_POSTGRES = ("first-2", "after-2")
# Those that take turns, besides the cases of throughput.
IN_ROUNDS = {"idle", *IDLE_PEERS, "chain", "chord", "chord-10000", *JOINED_PEERS}


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
        turns = [name for name in names if name in IN_ROUNDS] * self.counts["rounds"]
        for name in [*turns, *(name for name in names if name not in IN_ROUNDS)]:
            if name in singles and name not in self.report.skipped:
                self._watched(name, singles[name])
        compare(self.report)

    def _install(self, names: list[str]) -> None:
        """Before anything is timed."""
        for name in names:
            peer, _ = {**PEERS, **IDLE_PEERS, **JOINED_PEERS}.get(name, ("", {}))
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
        from benchmarks import depth, enqueueing, joined, large_chord, latency

        counts, given = self.counts, (self.project, self.report)
        return {
            "idle": partial(latency.idle, *given, counts["idle"]),
            **{
                name: partial(self._idle_peer, name, peer, told)
                for name, (peer, told) in IDLE_PEERS.items()
            },
            **{
                form: partial(joined.until_value, *given, form, counts[form])
                for form in joined.FORMS
            },
            **{
                name: partial(self._joined_peer, name, peer, told)
                for name, (peer, told) in JOINED_PEERS.items()
            },
            "chord-10000": partial(large_chord.enqueued, *given, counts["chord-10000"]),
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

    def _joined_peer(self, name: str, peer: str, told: dict[str, str]) -> None:
        from benchmarks import joined

        self.project.server.flush()
        form = name.partition("-")[0]
        answer = self._measure(peer, form, self.counts[form], told)
        joined.of_peer(self.report, name, answer)

    def names(self) -> list[str]:
        """Every case, in the order in which they run."""
        return [*self._rounds(), *self._singles(1.0)]
