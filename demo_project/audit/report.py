"""The report of an audit: from what was found in each distribution to what a person reads.

A plain JSON object, the same for the page, ``manage.py audit --format json`` and the admin."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from demo_project.audit.inspection import MISSING, TAMPERED, UNREADABLE
from demo_project.audit.models import DistributionReport, Verdict

BIGGEST = 10  # rows of the list of biggest packages
LISTED = 200  # problems listed of each kind; all are counted


def compile_report(distributions: Iterable[DistributionReport]) -> dict[str, Any]:
    """Sum up ``distributions``, all of one audit and all inspected."""
    rows = list(distributions)
    kinds = {kind: _problems(rows, kind) for kind in (TAMPERED, MISSING, UNREADABLE)}
    counts = {kind: len(found) for kind, found in kinds.items()}
    unsatisfied = [
        {"distribution": row.name, "version": row.version, **lacking}
        for row in rows
        for lacking in row.unsatisfied
    ]
    unverified = [
        {"distribution": row.name, "reasons": row.unverified} for row in rows if row.unverified
    ]
    verdicts = {row.verdict for row in rows}
    verdict = next(
        (one for one in (Verdict.UNSOUND, Verdict.UNVERIFIED) if one in verdicts), Verdict.SOUND
    )
    return {
        "python": platform.python_version(),
        "environment": sys.prefix,
        "distributions": len(rows),
        "files": sum(row.files for row in rows),
        "verified": sum(row.verified for row in rows),
        "size": sum(row.size for row in rows),
        "verdict": verdict.value,
        "is_sound": verdict == Verdict.SOUND,
        "counts": counts,
        **{kind: found[:LISTED] for kind, found in kinds.items()},
        "unsatisfied": unsatisfied,
        "unverified": unverified,
        "remarks": [
            {"distribution": row.name, "remark": remark} for row in rows for remark in row.remarks
        ],
        "licences": _licences(rows),
        "biggest": [
            {"distribution": row.name, "version": row.version, "size": row.size, "files": row.files}
            for row in sorted(rows, key=lambda row: (-row.size, row.name))[:BIGGEST]
        ],
        "languages": _languages(rows),
    }


def _problems(rows: list[DistributionReport], kind: str) -> list[dict[str, str]]:
    return [
        {"distribution": row.name, "path": problem["path"], "reason": problem["reason"]}
        for row in rows
        for problem in row.problems
        if problem["kind"] == kind
    ]


def _licences(rows: list[DistributionReport]) -> list[dict[str, Any]]:
    named: dict[str, list[str]] = {}
    for row in rows:
        named.setdefault(row.licence, []).append(row.name)
    most_used_first = sorted(named.items(), key=lambda item: (-len(item[1]), item[0]))
    return [{"licence": licence, "distributions": names} for licence, names in most_used_first]


def _languages(rows: list[DistributionReport]) -> list[dict[str, Any]]:
    lines: Counter[str] = Counter()
    for row in rows:
        lines.update(row.lines)
    return [{"language": language, "lines": count} for language, count in lines.most_common()]
