"""explain: for every state one or two sentences that a person can act on."""

from __future__ import annotations

import time
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_tasks.broker.reads import Trace
from django_tasks.broker.snapshot import Snapshot
from django_tasks.models import TaskRecord
from django_tasks.ops.status import QueueLine, Status, pause_text, status
from django_tasks.ops.words import duration
from django_tasks.states import FINAL, State

USUAL_OF = 50  # the last runs of a task, of which the median is what is usual
ENOUGH = 5  # runs from which on anything can be called usual


def explain_found(
    record: TaskRecord | None, trace: Trace | None, alias: str, away: list[str]
) -> list[str]:
    """``away``: what does not serve: what it would say is not guessed."""
    snapshot = trace.snapshot if trace is not None else None
    state = snapshot.state if snapshot is not None else record.status if record else ""
    if record is not None and (record.status in FINAL or snapshot is None):
        state = record.status
    if state in FINAL:
        return [*_of_final(record, snapshot, state), *away]
    if state == State.PENDING:
        return [*_of_pending(record), *away]
    if trace is None or away:
        said = _("The row says %s; the broker does not know it, and its row is delivered again.")
        return away if away else [said % state, *away]
    seen = status(alias)
    queue = record.queue_name if record is not None else ""
    line = next((one for one in seen.queues if one.queue == queue), None)
    if state == State.RUNNING:
        return _of_running(record, trace, seen)
    if state == State.SCHEDULED:
        return _of_scheduled(record, trace)
    return _of_ready(trace, line)


def _of_pending(record: TaskRecord | None) -> list[str]:
    return [
        _("Committed, and not yet in the broker: a worker's keeper pushes it within a second."),
        *_waited(record),
    ]


def _waited(record: TaskRecord | None) -> list[str]:
    if record is None:
        return []
    seconds = (timezone.now() - record.created_at).total_seconds()
    if seconds < 10:
        return []
    said = _("It has waited for %s: does a worker run, and does it reach both stores?")
    return [said % duration(seconds)]


def _of_ready(trace: Trace, line: QueueLine | None) -> list[str]:
    if line is None:
        return []
    ahead = trace.position or 0
    said = []
    if line.paused:
        said.append(pause_text(line))
    elif not line.consumers:
        text = _("No worker takes %(queue)s: python manage.py runworker %(queue)s")
        said.append(text % {"queue": line.queue})
    text = ngettext(
        "%(ahead)s is ahead of it in %(queue)s", "%(ahead)s are ahead of it in %(queue)s", ahead
    ) % {"ahead": f"{ahead:,}", "queue": line.queue}
    if line.outgoing > 0.05 and line.consumers and not line.paused:
        more = _(", %(rate)s a second leave: about %(time)s.")
        rate = f"{line.outgoing:,.0f}" if line.outgoing >= 1 else f"{line.outgoing:.1f}"
        text += more % {"rate": rate, "time": duration((ahead + 1) / line.outgoing)}
    else:
        text += "."
    return [*said, text]


def _of_scheduled(record: TaskRecord | None, trace: Trace) -> list[str]:
    snapshot = trace.snapshot
    due = snapshot.us("run_after") / 1e6 if snapshot is not None else 0.0
    left = due - time.time()
    when = timezone.localtime(datetime.fromtimestamp(due, tz=timezone.get_default_timezone()))
    attempt = snapshot.attempt if snapshot is not None else 0
    said = []
    if attempt and record is not None:
        text = _("Attempt %(attempt)d of %(most)d failed with %(error)s; the next is in %(time)s.")
        error = snapshot.error_class.rpartition(".")[2] if snapshot is not None else ""
        said.append(
            text
            % {
                "attempt": attempt,
                "most": record.max_attempts,
                "error": error or "an error",
                "time": duration(max(left, 0.0)),
            }
        )
    elif left > 0:
        text = _("Scheduled for %(when)s, in %(time)s.")
        zone = timezone.get_current_timezone_name()
        said.append(text % {"when": f"{when:%Y-%m-%d %H:%M:%S} {zone}", "time": duration(left)})
    if left <= 0:
        text = _("It was due %s ago: a worker of its queue makes it ready, and none does.")
        said.append(text % duration(-left))
    return said


def _of_running(record: TaskRecord | None, trace: Trace, seen: Status) -> list[str]:
    snapshot = trace.snapshot
    holder = snapshot.fields.get("consumer", "") if snapshot is not None else ""
    runs = {run.id: (run, worker) for worker in seen.workers for run in worker.runs}
    record_id = snapshot.id if snapshot is not None else ""
    if record_id in runs:
        run, worker = runs[record_id]
        text = _("Running for %(time)s on %(host)s")
        said = text % {"time": duration(run.seconds), "host": worker.host}
        usual = usual_seconds(record) if record is not None else None
        return [said + (_(" (usual: %s).") % duration(usual) if usual is not None else ".")]
    if trace.lease is None:
        return [_("Held by %s, which the broker does not know: it is taken back soon.") % holder]
    if trace.lease < 0:
        return [_("Held by %s, whose lease ran out: it is taken back now.") % holder]
    return [_("Claimed by %s a moment ago.") % holder]


def usual_seconds(record: TaskRecord) -> float | None:
    """The median of the task's last runs that succeeded; None if there are too few."""
    rows = TaskRecord.objects.using(record._state.db).for_task(record.task_name)
    # Index taskrecord_task: the last fifty of the task, whatever became of them.
    last = rows.order_by("-id").values_list("status", "started_at", "finished_at")[:USUAL_OF]
    took = sorted(
        (finished - started).total_seconds()
        for state, started, finished in last
        if state == State.SUCCESSFUL and started and finished
    )
    return took[len(took) // 2] if len(took) >= ENOUGH else None


def _of_final(record: TaskRecord | None, snapshot: Snapshot | None, state: str) -> list[str]:
    said: list[str] = []
    dead = (record.dead_letter if record else "") or (snapshot.dead_letter if snapshot else "")
    error = (record.error_class if record else "") or (snapshot.error_class if snapshot else "")
    finished = record.finished_at if record else snapshot.finished_at if snapshot else None
    ago = ""
    if finished is not None:
        seconds = (timezone.now() - finished).total_seconds()
        ago = _(" %s ago") % duration(max(seconds, 0.0))
    if dead:
        said.append(_("Dead letter: %s") % dead)
    elif state == State.SUCCESSFUL:
        said.append(_("Succeeded%s.") % ago)
    elif state == State.EXPIRED:
        said.append(_("Expired%s, before a worker began it.") % ago)
    elif state == State.CANCELLED:
        said.append(_("Cancelled%s.") % ago)
    else:
        attempts = record.attempt if record else snapshot.attempt if snapshot else 0
        text = ngettext(
            "Failed%(ago)s with %(error)s, after %(attempts)d attempt.",
            "Failed%(ago)s with %(error)s, after %(attempts)d attempts.",
            attempts,
        )
        named = error.rpartition(".")[2] or _("an error")
        said.append(text % {"ago": ago, "error": named, "attempts": attempts})
    if record is not None and record.status not in FINAL:
        said.append(_("Its row does not say so yet: the mirror is a moment behind."))
    return said
