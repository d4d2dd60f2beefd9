"""What a record's page shows, made harmless: everything a task supplied is bounded and inert."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.forms import Media
from django.utils import timezone
from django.utils.translation import gettext as _

from django_tasks.admin.charts import badge, bar
from django_tasks.broker.message import from_us
from django_tasks.calls import registry
from django_tasks.calls.progress import Progress, read_report
from django_tasks.framework import to_django
from django_tasks.models import TaskAttempt, TaskRecord, Workflow
from django_tasks.ops import timeline
from django_tasks.ops.inspection import Inspection, arguments_of, description_of
from django_tasks.ops.records import children, joined
from django_tasks.ops.words import block, duration, inert, pretty
from django_tasks.states import FINAL, State

MOST_ATTEMPTS, MOST_CHILDREN = 100, 50
# What the timeline, the badge and the parts below do not show already.
FACTS = (
    *("task_name", "queue_name", "priority", "round", "attempt", "lost", "max_attempts"),
    *("run_after", "expires", "worker_id", "dead_letter"),
)


@dataclass(slots=True)
class Report:
    """What a task said of itself. ``share``: of 100, None where it is not known."""

    share: int | None = None
    amount: str = ""
    text: str = ""
    at: datetime | None = None
    lines: list[tuple[datetime | None, str]] = field(default_factory=list)


def media() -> Media:
    """The scripts: what renews the progress, and the buttons that copy."""
    return Media(js=("django_tasks/status.js", "django_tasks/copy.js"))


def shown(inspection: Inspection) -> dict[str, Any]:
    """The page's context."""
    record = _record_of(inspection)
    found: dict[str, Any] = {
        "inspection": inspection,
        "record": record,
        "description": "",
        "held_since": _held_since(inspection),
    }
    if record is None:  # record="never", or its row was deleted
        return found
    now = timezone.now()
    attempts = _attempts(record, inspection.database)
    args, kwargs = arguments_of(record)
    enqueued = _children(record.pk)
    workflow = _workflow(record)
    parents, dependents = joined(record, MOST_CHILDREN + 1)
    return {
        **found,
        **progress(inspection, record),
        "description": inert(description_of(record), 200),
        "facts": _facts(record),
        "steps": timeline.steps(record, attempts),
        "bar": bar(timeline.spans(record, attempts, now)),
        "attempts": [_attempt(one) for one in attempts],
        "most_attempts": MOST_ATTEMPTS if len(attempts) == MOST_ATTEMPTS else 0,
        "args": pretty(args),
        "kwargs": pretty(kwargs),
        "is_called_plain": not args and not kwargs,
        "is_final": record.status in FINAL,
        "is_successful": record.status == State.SUCCESSFUL,
        "result": pretty(record.return_value),
        "error": inert(record.error_class, 300),
        "message": block(record.error_message, 4000),
        "traceback": block(record.traceback, is_tail=True),
        "provenance": _provenance(record),
        "metadata": pretty(record.metadata) if record.metadata else "",
        "joined": [
            ("parents", _("What it waits for"), *_links(parents)),
            ("dependents", _("What waits for it"), *_links(dependents)),
        ],
        "workflow": workflow,
        "workflow_name": inert(workflow, 200),
        "children": enqueued[:MOST_CHILDREN],
        "has_more_children": len(enqueued) > MOST_CHILDREN,
    }


def progress(inspection: Inspection, record: TaskRecord | None = None) -> dict[str, Any]:
    """What changes while it waits and runs. ``is_live``: whether to look again."""
    record = record or _record_of(inspection)
    if record is None:
        return {"record": None, "is_live": False}
    status = record.status
    if inspection.broker and status not in FINAL:  # it knows before the row does
        status = inspection.broker.get("state", status)
    now = timezone.now()
    is_live = record.status not in FINAL
    report = inspection.report if is_live else None
    waited = timeline.waited(record, now)
    return {
        "record": record,
        "badge": badge(status),
        "explain": inspection.explain,
        "is_live": is_live,
        "report": report_of(report),  # what ended runs reported stands with each of them
        "waited": waited if waited is None or waited >= 0 else None,
        "due_in": -waited if waited is not None and waited < 0 else None,
        "took": timeline.took(record, now),
    }


def report_of(told: Progress | None) -> Report | None:
    """Progress and log lines as a page shows them; None if nothing was told."""
    if told is None:
        return None
    found = Report(text=inert(told.text, 300), at=told.at)
    if told.fraction is not None:
        found.share = round(100 * told.fraction)
    if told.done is not None:
        found.amount = f"{told.done:,g}" + ("" if told.total is None else f" / {told.total:,g}")
    found.lines = [(line.at, inert(line.text, 500)) for line in told.log]
    return found


def _held_since(inspection: Inspection) -> datetime | None:
    """When its holder claimed it: the fence of what is held is that time."""
    fields = inspection.broker or {}
    fence = fields.get("fence", "")
    if not fields.get("consumer") or not fence.isdecimal():
        return None
    return to_django(from_us(fence)) if int(fence) < 2**53 else None


def _record_of(inspection: Inspection) -> TaskRecord | None:
    if inspection.row is None:
        return None
    record = TaskRecord(**inspection.row)
    record._state.db, record._state.adding = inspection.database, False
    return record


def _attempts(record: TaskRecord, database: str) -> list[TaskAttempt]:
    """The last ones, oldest first. Index taskattempt_run."""
    rows = TaskAttempt.objects.using(database).filter(record_id=record.pk)
    try:
        return list(rows.order_by("-fence")[:MOST_ATTEMPTS])[::-1]
    except DatabaseError:
        return []


def _attempt(one: TaskAttempt) -> dict[str, Any]:
    ended, begun = one.finished_at, one.started_at or one.claimed_at
    return {
        "number": one.number,
        "outcome": timeline.outcome_label(one.outcome),
        "consumer": inert(one.consumer, 100),
        "begun": begun,
        "ended": ended,
        "took": duration((ended - begun).total_seconds() if ended and begun else None),
        "error": inert(one.error_class, 300),
        "message": block(one.error_message, 4000),
        "traceback": block(one.traceback, is_tail=True),
        "report": report_of(read_report(one.report)),
        "fence": one.fence,
    }


def _facts(record: TaskRecord) -> list[tuple[str, Any]]:
    """Columns with something in them; times stay times."""
    found = []
    for name in FACTS:
        value = getattr(record, name)
        if value not in (None, ""):
            label = TaskRecord._meta.get_field(name).verbose_name  # type: ignore[union-attr]
            found.append((str(label), value if isinstance(value, datetime) else inert(value)))
    return found


def _provenance(record: TaskRecord) -> list[tuple[str, str]]:
    """Who and what enqueued it: whatever its headers say."""
    headers = record.headers if isinstance(record.headers, dict) else {}
    return [(inert(name, 100), inert(value, 500)) for name, value in list(headers.items())[:50]]


def _workflow(record: TaskRecord) -> Workflow | None:
    if record.workflow_id is None:
        return None
    try:
        rows = Workflow.objects.using(record._state.db).filter(pk=record.workflow_id)
        return rows.only("name", "kind").first()
    except DatabaseError:  # it was there a moment ago
        return None


def _children(parent: UUID) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for database in registry.databases():
        try:
            rows = children(parent, database, MOST_CHILDREN + 1)
        except DatabaseError:
            continue  # the explanation says so
        found += [_link(one) for one in rows]
    return found


def _link(record: TaskRecord) -> dict[str, Any]:
    call = inert(description_of(record), 200)
    return {"id": record.pk, "badge": badge(record.status), "call": call}


def _links(records: list[TaskRecord]) -> tuple[list[dict[str, Any]], bool]:
    """And whether there are more."""
    return [_link(one) for one in records[:MOST_CHILDREN]], len(records) > MOST_CHILDREN
