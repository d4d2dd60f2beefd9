"""Why a task is not running: what it waits for, and what a person can do about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_tasks.broker.reads import Trace
from django_tasks.broker.snapshot import Attempt, Snapshot
from django_tasks.calls import registry
from django_tasks.calls.sensitive import shown_call
from django_tasks.errors import UnknownTask
from django_tasks.models import TaskRecord
from django_tasks.ops.status import QueueLine, Status, pause_text
from django_tasks.ops.words import duration, inert
from django_tasks.states import FINAL, Result

NAMED = 3  # parents that are named
PATIENCE = 10.0  # seconds after which it is said that something waits longer than it should


def of_pending(record: TaskRecord, seen: Status) -> list[str]:
    said = [
        _("Committed, and not yet in the broker: a worker's relay pushes it within a second.")
        if seen.workers
        else _(
            "Committed, and not yet in the broker: no worker runs that would push it. Start one:"
            " python manage.py runworker"
        )
    ]
    seconds = (timezone.now() - record.created_at).total_seconds()
    if seen.workers and seconds >= PATIENCE:
        text = _("It has waited for %(time)s: does the worker reach the database?")
        said.append(text % {"time": duration(seconds)})
    return said


def of_deferred(record: TaskRecord | None, trace: Trace) -> list[str]:
    parents = record.parents.all() if record is not None else TaskRecord.objects.none()
    unfinished = list(parents.exclude(status__in=FINAL).order_by("id")[:NAMED])
    if record is None or (not unfinished and not trace.waits):
        return [_("Deferred: it waits for the tasks that it depends on.")]
    if not unfinished:
        text = _("Deferred, though what it waits for has ended: a worker's keeper sees it soon.")
        return [text]
    names = ", ".join(
        f"{inert(shown_call(one)[2])} {one.pk} ({one.get_status_display()})" for one in unfinished
    )
    text = ngettext(
        "Deferred: it waits for %(count)d task: %(names)s.",
        "Deferred: it waits for %(count)d tasks, among them %(names)s.",
        max(trace.waits, len(unfinished)),
    )
    return [text % {"count": max(trace.waits, len(unfinished)), "names": names}]


def of_ready(record: TaskRecord | None, trace: Trace, line: QueueLine | None) -> list[str]:
    said = _hindrances(line)
    if line is not None and trace.position is not None:
        said.append(_in_line(trace.position, line))
    snapshot = trace.snapshot
    if snapshot is not None and snapshot.lost:
        lost = [one for one in snapshot.attempts if one.outcome == Result.LOST]
        last: Any = lost[-1] if lost else None
        if last is None and record is not None:  # the mirror took it out of the message
            last = record.attempts.filter(outcome=Result.LOST).order_by("fence").last()
        text = ngettext(
            "%(lost)d run of at most %(most)s was lost with its process%(how)s.",
            "%(lost)d runs of at most %(most)s were lost with their process%(how)s.",
            snapshot.lost,
        )
        how = f" ({last.error_message})" if last is not None and last.error_message else ""
        most = snapshot.fields.get("max_lost", "3")
        said.append(text % {"lost": snapshot.lost, "most": most, "how": how})
    if snapshot is not None and snapshot.is_suspect:
        said.append(
            _("It ran beside others when their process died: it runs alone next time, to tell.")
        )
    if snapshot is not None and snapshot.fields.get("doubt") == "1":
        said.append(_("In doubt: whoever claims it looks at its row first."))
    return [*said, *of_earlier_attempts(snapshot), *_expiry(trace)]


def of_earlier_attempts(snapshot: Snapshot | None) -> list[str]:
    """Of what waits for its next attempt, or runs it."""
    if snapshot is None or not snapshot.attempt or not snapshot.error_class:
        return []
    text = _("This is attempt %(attempt)d of %(most)s: the last one failed with %(error)s.")
    most = snapshot.fields.get("max_attempts", "1")
    error = error_name(snapshot.error_class)
    return [text % {"attempt": snapshot.attempt + 1, "most": most, "error": error}]


def _in_line(ahead: int, line: QueueLine) -> str:
    text = ngettext(
        "%(ahead)s is ahead of it in %(queue)s", "%(ahead)s are ahead of it in %(queue)s", ahead
    ) % {"ahead": f"{ahead:,}", "queue": line.queue}
    if line.paused or not line.consumers:
        return f"{text}."
    if line.outgoing <= 0.05:
        return text + _(", and in the last minute none left.")
    rate = f"{line.outgoing:,.0f}" if line.outgoing >= 1 else f"{line.outgoing:.1f}"
    time = duration((ahead + 1) / line.outgoing)
    return text + _(", %(rate)s a second leave: about %(time)s.") % {"rate": rate, "time": time}


def _hindrances(line: QueueLine | None) -> list[str]:
    """Why nothing of its queue is taken."""
    said = []
    if line is not None and line.paused:
        said.append(pause_text(line))
    if line is not None and not line.consumers:
        said.append(nobody_takes(line.queue))
    return said


def nobody_takes(queue: str) -> str:
    text = _("No worker takes %(queue)s: python manage.py runworker %(queue)s")
    return text % {"queue": queue}


def _expiry(trace: Trace) -> list[str]:
    expires = trace.snapshot.us("expires") / 1e6 if trace.snapshot is not None else 0.0
    if not expires:
        return []
    left = expires - trace.now
    if left > 0:
        text = _("It expires in %(time)s, unless a worker begins it before.")
    else:
        text = _("It expired %(time)s ago, and is not begun any more.")
    return [text % {"time": duration(abs(left))}]


def of_scheduled(record: TaskRecord | None, trace: Trace, line: QueueLine | None) -> list[str]:
    snapshot = trace.snapshot
    if snapshot is None:
        return []
    due = snapshot.us("run_after") / 1e6
    left = due - trace.now
    said = _why_again(record, trace, left)
    if not said and left > 0:
        said = [
            _("Scheduled for %(when)s, in %(time)s.") % {"when": _when(due), "time": duration(left)}
        ]
    if left <= 0:
        said.append(_("It was due %(time)s ago.") % {"time": duration(-left)})
        if line is not None and line.consumers:
            said.append(_("A worker of its queue makes it ready within a second."))
        else:
            said += _hindrances(line)
    return [*said, *_expiry(trace)]


def _when(due: float) -> str:
    """``2026-11-27 03:00 Europe/Berlin``."""
    moment = timezone.localtime(datetime.fromtimestamp(due, tz=UTC))
    form = "%Y-%m-%d %H:%M:%S" if moment.second else "%Y-%m-%d %H:%M"
    return f"{moment.strftime(form)} {timezone.get_current_timezone_name()}"


def _why_again(record: TaskRecord | None, trace: Trace, left: float) -> list[str]:
    """Of what ran before: how that ended, and when it runs next."""
    snapshot = trace.snapshot
    acked = snapshot.us("acked") if snapshot is not None else 0
    if snapshot is None or not acked:
        return []
    last = _last_run(record, trace, acked)
    values: dict[str, Any] = {"time": duration(max(left, 0.0))}
    if last is None:
        return [_given_back(snapshot) % {**values, "release": snapshot.fields.get("release", "?")}]
    if last.outcome == Result.SNOOZED:
        return [_("It asked to be run later (snooze): again in %(time)s.") % values]
    most = snapshot.fields.get("max_attempts", "1")
    text = _("Attempt %(attempt)d of %(most)s failed with %(error)s; the next is in %(time)s.")
    error = last.error_class or snapshot.error_class
    values.update(attempt=snapshot.attempt, most=most, error=error_name(error))
    return [text % values]


def _given_back(snapshot: Snapshot) -> str:
    """Of what was claimed and came back without a run to tell of (worker/execute.py)."""
    try:
        is_atomic = registry.find(snapshot.fields.get("task", "")).options.atomic
    except (UnknownTask, AttributeError):  # no task of ours here
        is_atomic = False
    if is_atomic:
        return _("Its commit was cut off: in %(time)s a worker sees what became of it.")
    return _(
        "Given back for a worker of release %(release)s: the one that claimed it is of another and"
        " does not know the task. The next look is in %(time)s."
    )


def _last_run(record: TaskRecord | None, trace: Trace, fence: int) -> Attempt | None:
    """The run of this fence: in its message, or copied to a row already."""
    snapshot = trace.snapshot
    for run in snapshot.attempts if snapshot is not None else ():
        if run.fence == fence:
            return run
    row = record.attempts.filter(fence=fence).first() if record is not None else None
    if row is None:
        return None
    return Attempt(fence, row.number, row.consumer, fence, 0, 0, row.outcome, row.error_class)


def error_name(dotted: str) -> str:
    """The class alone; it need not exist any more."""
    return dotted.rpartition(".")[2] or _("an error")
