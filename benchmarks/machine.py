"""What the machine did meanwhile, from /proc (Linux): CPU time, memory, and what others used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")  # microseconds
PROC = Path("/proc")


def require_proc() -> None:
    """Raises ``SystemExit`` where there is no /proc to read."""
    if not (PROC / "self/stat").exists():
        raise SystemExit("The benchmark reads /proc: it runs on Linux only.")


def _stat(pid: int | str) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on: state, parent, …; [] if it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_us(pids: Iterable[int]) -> float:
    """Microseconds of CPU time that the living ones of these processes have used themselves."""
    return sum((int(stat[11]) + int(stat[12])) * TICK for pid in pids if (stat := _stat(pid)))


def children_of(parent: int) -> list[int]:
    """Its living children."""
    return [pid for pid, stat in _processes() if int(stat[1]) == parent and stat[0] != "Z"]


def _processes() -> list[tuple[int, list[str]]]:
    found = ((int(path.name), _stat(path.name)) for path in PROC.glob("[0-9]*"))
    return [(pid, stat) for pid, stat in found if stat]


def memory_kib(pid: int) -> tuple[int, int]:
    """(PSS, RSS) of one process, in KiB. PSS: a shared page counts as its part of it."""
    wanted = {"Pss": 0, "Rss": 0}
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in wanted:
            wanted[name] = int(rest.split()[0])
    return wanted["Pss"], wanted["Rss"]


def resident_kib() -> dict[str, int]:
    """Of this process: RSS (``VmRSS``) and the most that it ever was (``VmHWM``), in KiB."""
    lines = (PROC / "self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) for name in ("VmRSS", "VmHWM")}


def load_average() -> str:
    """Of one, five and fifteen minutes."""
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def description() -> str:
    """Cores and processor."""
    cpu = PROC / "cpuinfo"
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else "unknown processor"
    return f"{len(os.sched_getaffinity(0))} cores, {model}"


@dataclass(frozen=True)
class Moment:
    """The machine's and our own CPU time so far, in ticks."""

    total: int
    busy: int
    ours: int


def now(others: Iterable[int] = ()) -> Moment:
    """``others``: processes that work for us without being our descendants (the database's)."""
    line = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    times = [int(one) for one in line]
    idle = times[3] + times[4]
    return Moment(sum(times), sum(times) - idle, _own_tree() + _ticks(others))


def _ticks(pids: Iterable[int]) -> int:
    return round(cpu_us(pids) / TICK)


def _own_tree() -> int:
    """Ourselves, all living descendants, and the dead ones that they have waited for."""
    by_parent: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for pid, stat in _processes():
        by_parent.setdefault(int(stat[1]), []).append(pid)
        used[pid] = sum(int(one) for one in stat[11:15])
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        total += used.get(pid, 0)
        waiting += by_parent.get(pid, [])
    return total


def foreign(before: Moment, after: Moment) -> float:
    """Share of the machine's CPU time between two moments that others used (0 to 1)."""
    used = (after.busy - before.busy) - (after.ours - before.ours)
    return max(used, 0) / max(after.total - before.total, 1)
