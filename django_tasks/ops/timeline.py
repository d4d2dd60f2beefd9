"""A record's times and runs as steps and spans: what a page lists, and what it draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.broker.message import from_us
from django_tasks.framework import to_django
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.states import FINAL, WAITING, Result, State


@dataclass(frozen=True, slots=True)
class Step:
    """``seconds``: since the step before it; None for the first."""

    at: datetime
    text: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """``kind``: waiting, running, or a run's outcome as one word. ``start``, ``end``: seconds since
    the record was made."""

    start: float
    end: float
    kind: str
    text: str


_LABELS: dict[str, object] = {
    Result.SUCCEEDED.value: gettext_lazy("succeeded"),
    Result.FAILED.value: gettext_lazy("failed"),
    Result.RETRIED.value: gettext_lazy("retried"),
    Result.SNOOZED.value: gettext_lazy("snoozed"),
    Result.TIMED_OUT.value: gettext_lazy("timed out"),
    Result.CANCELLED.value: gettext_lazy("cancelled"),
    Result.LOST.value: gettext_lazy("lost"),
    Result.STOPPED.value: gettext_lazy("stopped"),
}


def outcome_label(outcome: str) -> str:
    """A run's outcome in the reader's language."""
    return str(_LABELS.get(outcome, outcome or "?"))


def claimed_at(record: TaskRecord) -> datetime | None:
    """When it was last claimed: a fence is that time. None before the first."""
    return to_django(from_us(record.fence)) if 0 < record.fence < 2**53 else None


def due_at(record: TaskRecord) -> datetime:
    """Since when it could run."""
    return record.run_after or record.enqueued_at or record.created_at


def waited(record: TaskRecord, now: datetime) -> float | None:
    """Seconds between when it could run and when it did, so far; negative: it is due in that
    time. None where that is not known."""
    if record.status in WAITING:
        until: datetime | None = now
    elif record.status == State.RUNNING:
        until = claimed_at(record)
    else:
        until = record.started_at or record.finished_at
    if until is None:
        return None
    seconds = (until - due_at(record)).total_seconds()
    return seconds if record.status in WAITING else max(seconds, 0.0)


def took(record: TaskRecord, now: datetime) -> float | None:
    """Seconds of its last run, so far; None if it is not running and never ran."""
    if record.status == State.RUNNING:
        begun, ended = claimed_at(record), now
    else:
        begun, ended = record.started_at, record.finished_at  # type: ignore[assignment]
    if begun is None or ended is None or record.status in WAITING:
        return None
    return max((ended - begun).total_seconds(), 0.0)


def steps(record: TaskRecord, attempts: Sequence[TaskAttempt]) -> list[Step]:
    """All that is known to have happened, in order of time."""
    found: list[tuple[datetime, str]] = [(record.created_at, _("Created"))]
    if record.enqueued_at is not None and record.enqueued_at != record.created_at:
        found.append((record.enqueued_at, _("Enqueued")))
    for one in attempts:
        run = _("Run %d") % one.number
        if one.claimed_at is not None:
            found.append((one.claimed_at, _("%s: claimed") % run))
        if one.started_at is not None:
            found.append((one.started_at, _("%s: started") % run))
        if one.finished_at is not None:
            found.append((one.finished_at, f"{run}: {outcome_label(one.outcome)}"))
    if record.run_after is not None:
        found.append((record.run_after, _("Due")))
    claimed = claimed_at(record)
    if record.status == State.RUNNING and claimed is not None:
        found.append((claimed, _("Claimed, running")))
    if record.expires is not None and record.status not in FINAL:
        found.append((record.expires, _("Expires")))
    if record.status in FINAL and record.finished_at is not None:
        found.append((record.finished_at, str(State(record.status).label)))
    found.sort(key=lambda step: step[0])  # stable: what is told first stays first
    return [
        Step(at, text, (at - found[i - 1][0]).total_seconds() if i else None)
        for i, (at, text) in enumerate(found)
    ]


def spans(record: TaskRecord, attempts: Sequence[TaskAttempt], now: datetime) -> list[Span]:
    """From its creation until its end, or now: waiting and runs."""
    zero = record.created_at

    def since(at: datetime) -> float:
        return max((at - zero).total_seconds(), 0.0)

    runs = [
        (since(one.started_at or one.claimed_at or one.finished_at), since(one.finished_at), one)
        for one in attempts
        if one.finished_at is not None
    ]
    found: list[Span] = []
    at = 0.0
    for begun, ended, one in sorted(runs, key=lambda run: run[0]):
        if begun > at:
            found.append(Span(at, begun, "waiting", _("Waiting")))
        kind = one.outcome.replace(" ", "-") if one.outcome in _LABELS else "stopped"
        found.append(
            Span(
                max(begun, at), max(ended, at), kind, f"{one.number}: {outcome_label(one.outcome)}"
            )
        )
        at = max(ended, at)
    end = record.finished_at if record.status in FINAL else now
    claimed = claimed_at(record)
    if record.status == State.RUNNING and claimed is not None:
        found.append(Span(at, max(since(claimed), at), "waiting", _("Waiting")))
        found.append(Span(max(since(claimed), at), max(since(now), at), "running", _("Running")))
    elif end is not None and since(end) > at:
        found.append(Span(at, since(end), "waiting", _("Waiting")))
    return [span for span in found if span.end > span.start] or found[-1:]
