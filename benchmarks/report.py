"""Figures → a table (Markdown, as docs/benchmarks.md has it) and var/bench/report.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line. ``ratio`` to what ``of`` names; ``target``: what the ratio (else the value) should
    be: ("≥", 2.5)."""

    case: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    of: str = ""
    target: tuple[str, float] | None = None
    note: str = ""

    @property
    def is_reached(self) -> bool | None:
        """None without a target."""
        if self.target is None:
            return None
        sign, bound = self.target
        judged = self.value if self.ratio is None else self.ratio
        return judged >= bound if sign == "≥" else judged <= bound


@dataclass
class Report:
    """All figures of one run, and what it ran on."""

    facts: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # case → why
    foreign: dict[str, list[float]] = field(default_factory=dict)  # case → share of CPU, per round
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, case: str, name: str, value: float, unit: str, **more: Any) -> None:
        self.figures.append(Figure(case, name, value, unit, **more))

    def add_least(self, case: str, name: str, value: float, unit: str, **more: Any) -> None:
        """``add`` of what is measured in rounds: the least counts, all are shown."""
        known = [one for one in self.figures if (one.case, one.name) == (case, name)]
        if not known:
            self.add(case, name, value, unit, note=f"of {shown(value)}", **more)
            return
        note = f"{known[0].note}, {shown(value)}"
        least = replace(known[0], value=min(known[0].value, value), note=note)
        self.figures[self.figures.index(known[0])] = least

    def skip(self, case: str, why: str) -> None:
        self.skipped[case] = why
        print(f"skipped {case}: {why}", flush=True)

    def text(self) -> str:
        """The facts, the table, what was skipped."""
        facts = [f"{name}: {value}" for name, value in self.facts.items()]
        skipped = [f"skipped {case}: {why}" for case, why in self.skipped.items()]
        return "\n".join([*facts, "", *_table(self._rows()), "", *skipped])

    def _rows(self) -> Iterable[list[str]]:
        yield ["case", "figure", "value", "ratio", "target", "reached", "foreign CPU"]
        for one in self.figures:
            shares = self.foreign.get(one.case, [])
            yield [
                one.case,
                one.name + (f" ({one.note})" if one.note else ""),
                f"{shown(one.value)} {one.unit}",
                "" if one.ratio is None else f"{one.ratio:.2f} × {one.of}",
                "" if one.target is None else f"{one.target[0]} {one.target[1]:g}",
                {None: "", True: "yes", False: "no"}[one.is_reached],
                f"{max(shares):.0%}" if shares else "",
            ]

    def write(self, path: Path) -> None:
        path.write_text(
            json.dumps(
                {
                    "facts": self.facts,
                    "figures": [{**asdict(one), "reached": one.is_reached} for one in self.figures],
                    "skipped": self.skipped,
                    "foreign": self.foreign,
                    "details": self.details,
                },
                indent=1,
                ensure_ascii=False,
            )
            + "\n"
        )


def shown(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(rows: Iterable[list[str]]) -> list[str]:
    lines = list(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    made = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return [made[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *made[1:]]
