"""Peers: which are measured beside which case of ours, and the ratios at the end."""

from __future__ import annotations

from benchmarks.report import Report

TO_VALUE = "enqueue called to value held"  # of a chain or chord
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
JOINED_PEERS = {
    "chain-celery": ("celery", {"mode": "joined"}),
    "chain-huey": ("huey", {"mode": "joined"}),
    "chord-celery": ("celery", {"mode": "joined"}),
    "chord-huey": ("huey", {"mode": "joined"}),
}


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
    _joined(report, found)


def _joined(report: Report, found: dict[tuple[str, str], float]) -> None:
    for peer in JOINED_PEERS:
        ours = (peer.partition("-")[0], TO_VALUE)
        theirs = found.get((peer, TO_VALUE))
        if theirs and ours in found:
            report.add(
                *ours, found[ours], "ms", ratio=found[ours] / theirs, of=peer, target=("≤", 1.0)
            )
