"""An audit in a terminal: the progress bar and the report as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import OutputWrapper
from django.template.defaultfilters import filesizeformat

from demo_project.audit.inspection import MISSING, TAMPERED, UNREADABLE
from demo_project.audit.progress import Progress

WIDTH = 32  # characters of the bar
STEPS = 4  # lines printed where there is no terminal
LISTED = 20  # problems of one kind; the page lists more
_WORDS = {TAMPERED: "Changed files", MISSING: "Missing files", UNREADABLE: "Unreadable files"}


class ProgressBar:
    """Drawn in place on a terminal; elsewhere (a log) a line each time a quarter is done."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._shown = -1

    def show(self, progress: Progress) -> None:
        """Draw ``progress``."""
        share = progress.done / progress.tasks if progress.tasks else 1.0
        full = round(share * WIDTH)
        bar = f"[{'#' * full}{'.' * (WIDTH - full)}]"
        line = f"{bar} {progress.inspected}/{progress.total} inspected, {progress.seconds:.1f} s"
        if self._is_terminal:
            self._out.write(f"\r{line} ", ending="")
        elif (step := int(share * STEPS)) != self._shown:
            self._shown = step
            self._out.write(line)
        self._out.flush()

    def close(self) -> None:
        """Leave the bar's line, so that what follows begins on its own."""
        if self._is_terminal:
            self._out.write("")


def report_text(report: dict[str, Any], seconds: float | None) -> str:
    """The report as a person reads it."""
    return "\n".join(_lines(report, seconds))


def _lines(report: dict[str, Any], seconds: float | None) -> Iterator[str]:
    yield (
        f"Python {report['python']} in {report['environment']}: {report['distributions']}"
        f" distributions, {report['files']:,} files, {_size(report['size'])}"
        + ("" if seconds is None else f", audited in {seconds:.1f} s")
    )
    yield ""
    yield f"  Files as published       {report['verified']:,} (SHA-256 and size against RECORD)"
    for kind, words in _WORDS.items():
        yield f"  {words:<24} {report['counts'][kind]:,}"
        for problem in report[kind][:LISTED]:
            yield f"    {problem['distribution']}: {problem['path']} {problem['reason']}"
        if report["counts"][kind] > LISTED:
            yield f"    … and {report['counts'][kind] - LISTED:,} more"
    yield f"  Unsatisfied requirements {len(report['unsatisfied']):,}"
    for lacking in report["unsatisfied"]:
        named = f"{lacking['distribution']} {lacking['version']}".strip()
        yield f"    {named} requires {lacking['requirement']}: {lacking['reason']}"
    yield f"  Unverified distributions {len(report['unverified']):,}"
    for entry in report["unverified"]:
        for reason in entry["reasons"]:
            yield f"    {entry['distribution']}: {reason}"
    for entry in report["remarks"]:
        yield f"  Remark: {entry['distribution']} {entry['remark']}"
    yield ""
    yield "Licences"
    for entry in report["licences"]:
        yield f"  {len(entry['distributions']):>4}  {entry['licence']}"
    yield "Biggest packages"
    for entry in report["biggest"]:
        named = f"{entry['distribution']} {entry['version']}"
        yield f"  {_size(entry['size']):>10}  {named} ({entry['files']:,} files)"
    yield "Lines by language"
    for entry in report["languages"]:
        yield f"  {entry['lines']:>10,}  {entry['language']}"


def _size(size: int) -> str:
    return filesizeformat(size).replace("\xa0", " ")
