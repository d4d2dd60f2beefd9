"""explain: for every state one or two sentences that a person can act on."""

from __future__ import annotations

from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_tasks.bridge.deeds import NAMES, Deed
from django_tasks.broker.reads import Trace
from django_tasks.broker.snapshot import Snapshot
from django_tasks.models import TaskRecord
from django_tasks.ops.status import QueueLine, Status, status
from django_tasks.ops.waits import (
    PATIENCE,
    error_name,
    nobody_takes,
    of_deferred,
    of_earlier_attempts,
    of_pending,
    of_ready,
    of_scheduled,
)
from django_tasks.ops.words import duration
from django_tasks.states import FINAL, Recording, State

USUAL_OF = 50  # the last runs of a task, of which the median is what is usual
ENOUGH = 5  # runs from which on anything can be called usual


def explain_found(
    record: TaskRecord | None, trace: Trace | None, alias: str, away: list[str]
) -> list[str]:
    """``away``: what does not serve: what it would say is not guessed."""
    snapshot = trace.snapshot if trace is not None else None
    state = _state(record, snapshot)
    if state in FINAL:
        said = [_of_final(record, snapshot, state), *_disagreement(record, snapshot, state)]
    elif record is not None and (trace is None or snapshot is None):
        said = _of_row_alone(record, alias, away)
    elif trace is None:
        return away
    else:
        said = _of_message(record, trace, state, status(alias))
    if not away:
        said += _without_a_row(record, snapshot)
    return [*said, *_deed(record, state), *away]


def _state(record: TaskRecord | None, snapshot: Snapshot | None) -> str:
    """Final is final within a round; else the broker knows better, unless the row is of a later
    round."""
    if record is None or snapshot is None:
        return snapshot.state if snapshot is not None else record.status if record else ""
    is_later = record.round > snapshot.round
    is_over = record.round == snapshot.round and record.status in FINAL
    return record.status if is_later or is_over else snapshot.state


def _of_row_alone(record: TaskRecord, alias: str, away: list[str]) -> list[str]:
    if away:
        text = _("The row says %(state)s; where it is now only the broker knows.")
        return [text % {"state": record.status}]
    seen = status(alias)
    if record.status == State.PENDING:
        return of_pending(record, seen)
    text = _(
        "The row says %(state)s, and the broker does not know it: a worker's keeper pushes it"
        " again; so does: python manage.py tasks rebuild"
    )
    return [text % {"state": record.status}]


def _of_message(record: TaskRecord | None, trace: Trace, state: str, seen: Status) -> list[str]:
    line = next((one for one in seen.queues if one.queue == trace.queue), None)
    if state == State.RUNNING:
        return _of_running(record, trace, seen, line)
    if state == State.SCHEDULED:
        return of_scheduled(record, trace, line)
    if state == State.READY:
        return of_ready(record, trace, line)
    if state == State.PENDING and record is not None:  # made to run again; its push is to come
        return of_pending(record, seen)
    return of_deferred(record, trace)


def _of_running(
    record: TaskRecord | None, trace: Trace, seen: Status, line: QueueLine | None
) -> list[str]:
    snapshot = trace.snapshot
    holder = snapshot.fields.get("consumer", "") if snapshot is not None else ""
    values = {"consumer": holder}
    if trace.lease is None or trace.lease < 0:
        if trace.lease is None:
            text = _("Held by %(consumer)s, which the broker does not know.")
        else:
            text = _("Held by %(consumer)s, whose lease ran out.")
        if line is not None and line.consumers:
            return [text % values, _("A worker of its queue takes it back now.")]
        return [text % values, nobody_takes(trace.queue)]
    said = []
    for worker in seen.workers:
        for child in worker.children:
            run = child.run
            if child.consumer != holder or run is None or run.id != trace.id:
                continue
            usual = usual_seconds(record) if record is not None else None
            text = _("Running for %(time)s on %(host)s.")
            if usual is not None:
                text = _("Running for %(time)s on %(host)s (usual: %(usual)s).")
            told = {"time": duration(run.seconds), "host": worker.host, "usual": duration(usual)}
            said.append(text % told)
            if worker.is_stopping:
                said.append(
                    _("Its worker was told to stop: if it does not end in time, it is run again.")
                )
    if not said:
        held = trace.now - snapshot.fence / 1e6 if snapshot is not None else 0.0
        text = _("Claimed by %(consumer)s %(time)s ago; its worker has not said yet that it runs.")
        said.append(text % {**values, "time": duration(max(held, 0.0))})
    if snapshot is not None and snapshot.is_stub:
        said.append(_("The broker lost it and knows only who runs it: its row brings the rest."))
    return [*said, *of_earlier_attempts(snapshot)]


def usual_seconds(record: TaskRecord) -> float | None:
    """The median of the task's last runs that succeeded; None if there are too few."""
    rows = TaskRecord.objects.using(record._state.db).for_task(record.task_name)
    # Index taskrecord_task: the last fifty of the task, whatever became of them.
    last = rows.order_by("-id").values_list("status", "started_at", "finished_at")[:USUAL_OF]
    try:
        took = sorted(
            (finished - started).total_seconds()
            for state, started, finished in last
            if state == State.SUCCESSFUL and started and finished
        )
    except DatabaseError:  # it was there a moment ago
        return None
    return took[len(took) // 2] if len(took) >= ENOUGH else None


def _of_final(record: TaskRecord | None, snapshot: Snapshot | None, state: str) -> str:
    """How it ended. A state's own sentence stands here alone; who and why can be added to it."""
    dead = (record.dead_letter if record else "") or (snapshot.dead_letter if snapshot else "")
    error = (record.error_class if record else "") or (snapshot.error_class if snapshot else "")
    attempts = max(record.attempt if record else 0, snapshot.attempt if snapshot else 0)
    values = {"ago": _ago(record, snapshot), "error": error_name(error), "attempts": attempts}
    if dead:
        return _("Dead letter: %(reason)s") % {"reason": dead}
    if state == State.SUCCESSFUL:
        heir = (record.metadata or {}).get("replaced_by") if record else None
        heir = heir or (snapshot.fields.get("replaced_by") if snapshot else None)
        if heir:
            text = _("Succeeded%(ago)s: replaced by %(heir)s, whose value is its own.")
            return text % {**values, "heir": heir}
        return _("Succeeded%(ago)s.") % values
    if state == State.EXPIRED:
        return _("Expired%(ago)s, before a worker began it.") % values
    if state == State.CANCELLED:
        return _("Cancelled%(ago)s.") % values
    text = ngettext(
        "Failed%(ago)s with %(error)s, after %(attempts)d attempt.",
        "Failed%(ago)s with %(error)s, after %(attempts)d attempts.",
        attempts,
    )
    return text % values


def _seconds_since_end(record: TaskRecord | None, snapshot: Snapshot | None) -> float | None:
    moment = record.finished_at if record is not None else None
    if moment is not None:
        return max((timezone.now() - moment).total_seconds(), 0.0)
    ended = snapshot.finished_at if snapshot is not None else None
    return None if ended is None else max(timezone.now().timestamp() - ended.timestamp(), 0.0)


def _ago(record: TaskRecord | None, snapshot: Snapshot | None) -> str:
    seconds = _seconds_since_end(record, snapshot)
    return "" if seconds is None else _(" %(time)s ago") % {"time": duration(seconds)}


def _disagreement(record: TaskRecord | None, snapshot: Snapshot | None, state: str) -> list[str]:
    """What the other of the two says of something that is final for one."""
    if record is None or snapshot is None:
        return []
    if record.status not in FINAL:
        seconds = _seconds_since_end(record, snapshot) or 0.0
        if seconds < PATIENCE:
            return [_("Its row does not say so yet: the mirror is a moment behind.")]
        text = _("Its row has not said so for %(time)s: does a worker's keeper run?")
        return [text % {"time": duration(seconds)}]
    if snapshot.state not in FINAL and record.round == snapshot.round:
        text = _("The broker still says %(state)s: whatever comes of that, this end stands.")
        return [text % {"state": snapshot.state}]
    return []


def _without_a_row(record: TaskRecord | None, snapshot: Snapshot | None) -> list[str]:
    if record is not None or snapshot is None or snapshot.is_stub:
        return []
    recording = snapshot.fields.get("record", "")
    if recording == Recording.NEVER:
        return [_('It has no row (record="never"): the broker alone knows it.')]
    if recording == Recording.AFTER and not snapshot.is_recorded:
        return [_("It has no row yet: the mirror writes it.")]
    if snapshot.state in FINAL:
        return [_("Its row was deleted.")]
    if snapshot.state == State.RUNNING:
        return [_("Its row was deleted: when this run ends, it is forgotten.")]
    return [_("Its row was deleted: it is not run any more, but dropped.")]


def _deed(record: TaskRecord | None, state: str) -> list[str]:
    """Who did something to it by hand last, and why."""
    done = (record.metadata or {}).get("deed") if record is not None else None
    if not isinstance(done, dict) or done.get("deed") not in set(Deed):
        return []
    values = {
        "deed": NAMES[Deed(done["deed"])],
        "by": done.get("by") or _("somebody"),
        "at": str(done.get("at", ""))[:19].replace("T", " "),
        "reason": done.get("reason"),
    }
    if values["reason"]:
        said = [_('%(deed)s, by %(by)s at %(at)s UTC: "%(reason)s".') % values]
    else:
        said = [_("%(deed)s, by %(by)s at %(at)s UTC.") % values]
    if done["deed"] == Deed.CANCEL and state == State.RUNNING:
        said.append(_("Its run is told to end, and then ended."))
    return said
