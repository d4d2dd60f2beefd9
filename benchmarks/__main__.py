"""``python -m benchmarks``: the cases in turn, one table, var/bench/report.json.

What is measured, and how: docs/benchmarks.md."""

from __future__ import annotations

import argparse
import fnmatch
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import Bench
from benchmarks.counts import FULL, QUICK
from benchmarks.project import ROOT, Project, prepare
from benchmarks.server import Server


def select(names: list[str], patterns: list[str]) -> list[str]:
    """The cases that the patterns name; all without any. Raises ``SystemExit`` for unknown ones."""
    if not patterns:
        return names
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise SystemExit(f"No case is named {pattern!r}. Known cases: {', '.join(names)}.")
    return [one for one in names if any(fnmatch.fnmatch(one, pattern) for pattern in patterns)]


def facts(project: Project) -> dict[str, str]:
    """What a reader must know to judge the figures."""
    import django

    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine.description(),
        "load average before": machine.load_average(),
        "server": project.server.name(),
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "database": "PostgreSQL" if project.postgres else "SQLite",
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names or patterns, like 'never-*'; default: all")
    parser.add_argument("--quick", action="store_true", help="small counts: a smoke test")
    parser.add_argument("--rounds", type=int, help="rounds of the throughput cases (default 3)")
    parser.add_argument("--sqlite", action="store_true", help="leave PostgreSQL alone")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "bench", help="default: var/bench"
    )
    given = parser.parse_args(arguments)
    machine.require_proc()
    # As Ctrl-C: server, workers and databases are not left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict(QUICK if given.quick else FULL)
    if given.rounds:
        counts["rounds"] = given.rounds
    began = time.monotonic()
    with Server() as server, prepare(server, folder, wants_postgres=not given.sqlite) as project:
        bench = Bench(project, folder, counts)
        chosen = select(bench.names(), " ".join(given.cases).split())
        bench.report.facts = facts(project)
        bench.run(chosen)
        bench.report.facts["load average after"] = machine.load_average()
        bench.report.facts["took"] = f"{time.monotonic() - began:.0f} s"
    bench.report.write(folder / "report.json")
    print(f"\n{bench.report.text()}")
    return int(bench.has_failed)


if __name__ == "__main__":
    sys.exit(main())
