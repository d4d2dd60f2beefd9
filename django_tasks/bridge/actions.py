"""Deeds on records that exist: retry, cancel, run now, reschedule, prioritize, move to the front,
discard. On one, on many, on all of a QuerySet; in batches, oldest first.

A retry is written into the row first, in the caller's transaction, and pushed after its commit.
What waits or runs is the broker's to decide on: it is asked first, and the row is written before
the deed answers, so that no loss of the broker's memory undoes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Count, F, Value, When
from django.utils import timezone

from django_tasks.bridge import edges, outbox
from django_tasks.bridge.deeds import (
    CHANGED,
    ELIGIBLE,
    ENDED,
    MOVED_NOT,
    RUNNING,
    Deed,
    Done,
    Note,
    Preview,
    Records,
    batches,
    by_queue,
    kept,
    querysets,
    why_not,
)
from django_tasks.bridge.translate import alias_of
from django_tasks.broker import get_broker
from django_tasks.errors import BrokerError, InvalidDeed
from django_tasks.framework import to_django, to_utc
from django_tasks.models import TaskRecord
from django_tasks.models.record import TaskRecordQuerySet
from django_tasks.states import FINAL, State

logger = logging.getLogger("django_tasks.actions")

Tell = Callable[[Done], object]  # hears after each batch how far it is


def preview(deed: Deed, records: Records, *, again: bool = False) -> Preview:
    """How many there are, and of how many the deed can be done; changes nothing."""
    found = Preview()
    for _, rows in querysets(records):
        marked = rows.order_by().annotate(plain=_is(dead_letter=""), unreadable=_is(task_name="?"))
        counted = marked.values("status", "plain", "unreadable").annotate(count=Count("id"))
        for one in counted:
            found.add(
                why_not(deed, one["status"], not one["plain"], one["unreadable"], again=again),
                one["count"],
            )
    return found


def _is(**condition: str) -> Case:
    return Case(When(**condition, then=Value(True)), default=Value(False))


def retry(
    records: Records,
    *,
    by: str = "",
    reason: str = "",
    again: bool = False,
    tell: Tell | None = None,
) -> Done:
    """Run again what failed, was cancelled or expired, with all its attempts; and what could not
    run since that had ended so. ``again``: also what succeeded. In a transaction: with it, or not
    at all."""

    def act(batch: list[TaskRecord], note: Note, using: str, done: Done) -> None:
        wanted = ELIGIBLE[Deed.RETRY] | ({State.SUCCESSFUL} if again else set())
        now = timezone.now()
        anew = {
            "status": State.PENDING,
            "round": F("round") + 1,
            "attempt": 0,
            "lost": 0,
            "run_after": None,
            "expires": None,
            "enqueued_at": now,
            "started_at": None,
            "finished_at": None,
            "worker_id": "",
            "return_value": None,
            "error_class": "",
            "error_message": "",
            "traceback": "",
            "dead_letter": "",
        }
        rows = TaskRecord.objects.using(using)
        with transaction.atomic(using=using, savepoint=False):
            for metadata, ids in note.grouped(batch):
                chosen = rows.filter(id__in=ids, status__in=wanted)
                done.changed += chosen.update(**anew, metadata=metadata)
            ids = [record.id for record in batch]
            # What could not run any more since these had ended can run again.
            revived = edges.cancelled_by(ids, using)
            for start in range(0, len(revived), edges.CHUNK):
                part = revived[start : start + edges.CHUNK]
                rows.filter(id__in=part, status=State.CANCELLED).update(**anew)
            transaction.on_commit(partial(_push, ids + revived, using), using=using, robust=True)

    return _carry_out(Deed.RETRY, records, act, by, reason, tell, again=again)


def cancel(
    records: Records,
    *,
    terminate: bool = False,
    only_waiting: bool = False,
    by: str = "",
    reason: str = "",
    tell: Tell | None = None,
    is_newest_first: bool = False,
) -> Done:
    """What waits is cancelled at once; in what runs an exception is raised (``terminate``: its
    process is ended at once; ``only_waiting``: it goes on): ``Done.told`` says of how many. No
    rollback undoes it.

    Raises ``BrokerUnavailable``: then what the broker has not seen is cancelled, no more."""

    how = "leave" if only_waiting else "hard" if terminate else "soft"

    def act(batch: list[TaskRecord], note: Note, using: str, done: Done) -> None:
        unsent = outbox.withdraw({str(one.id) for one in batch})
        done.changed += _set_cancelled(
            [one for one in batch if str(one.id) in unsent], note, using, 0, State.PENDING
        )
        sent = [one for one in batch if str(one.id) not in unsent]
        for alias, queue, group in by_queue(sent):
            calls = [(str(one.id), one.round, using) for one in group]
            try:
                verdicts = get_broker(alias).cancel(queue, calls, how)
            except BrokerError:
                pending = [one for one in group if one.status == State.PENDING]
                done.changed += _set_cancelled(pending, note, using, 0, State.PENDING)
                if len(pending) < len(group):
                    raise
                continue
            pairs = list(zip(group, verdicts, strict=True))
            over = [one for one, verdict in pairs if verdict > 1]
            running = [one for one, verdict in pairs if verdict == 1]
            # CANCELLED too: the mirror may have been faster to copy it, and knows no note.
            may_be = set(State) - FINAL | {State.CANCELLED}
            done.changed += _set_cancelled(over, note, using, max(verdicts), *may_be)
            done.skip(ENDED, len(group) - len(over) - len(running))
            if only_waiting:
                done.skip(RUNNING, len(running))
                continue
            done.told += len(running)
            for metadata, ids in note.grouped(running):
                TaskRecord.objects.using(using).filter(id__in=ids).update(metadata=metadata)

    return _carry_out(Deed.CANCEL, records, act, by, reason, tell, is_newest_first=is_newest_first)


def cancel_call(alias: str, queue: str, record_id: str, database: str, terminate: bool) -> bool:
    """``cancel`` of a call of which there may be no row. False if it has ended."""
    if database:
        done = cancel(TaskRecord.objects.using(database).filter(pk=record_id), terminate=terminate)
        if done.matched:
            return bool(done.changed or done.told)
    if outbox.withdraw({record_id}):
        return True
    [verdict] = get_broker(alias).cancel(
        queue, [(record_id, 1, database)], "hard" if terminate else "soft"
    )
    return verdict > 0


def run_now(records: Records, *, by: str = "", reason: str = "", tell: Tell | None = None) -> Done:
    """Make ready what waits for a time. Raises ``BrokerUnavailable``."""
    act = partial(_move, at=None, is_now=True)
    return _carry_out(Deed.RUN_NOW, records, act, by, reason, tell)


def reschedule(
    records: Records, when: datetime, *, by: str = "", reason: str = "", tell: Tell | None = None
) -> Done:
    """Let what waits run at another time. Raises ``BrokerUnavailable``."""
    act = partial(_move, at=to_utc(when))
    return _carry_out(Deed.RESCHEDULE, records, act, by, reason, tell)


def prioritize(
    records: Records,
    priority: int,
    *,
    by: str = "",
    reason: str = "",
    tell: Tell | None = None,
) -> Done:
    """Give what waits another priority, −100…100. Raises ``BrokerUnavailable``, ``InvalidDeed``."""
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > 100:
        raise InvalidDeed(f"priority is {priority!r}; it must be a whole number from -100 to 100.")
    act = partial(_move, priority=priority)
    return _carry_out(Deed.PRIORITIZE, records, act, by, reason, tell)


def move_to_front(
    records: Records, *, by: str = "", reason: str = "", tell: Tell | None = None
) -> Done:
    """Put what waits before all that are ready, with the priority of the first. Of several the
    oldest comes last, and so is served first. Raises ``BrokerUnavailable``."""
    act = partial(_move, priority="front")
    return _carry_out(Deed.MOVE_TO_FRONT, records, act, by, reason, tell, is_newest_first=True)


def discard(records: Records, *, by: str = "", reason: str = "", tell: Tell | None = None) -> Done:
    """Take dead letters off the list: they stay failed, and keep the reason in their metadata."""

    def act(batch: list[TaskRecord], note: Note, using: str, done: Done) -> None:
        for record in batch:
            said = note.on(record, dead_letter=record.dead_letter)
            rows = TaskRecord.objects.using(using).filter(id=record.id, status=State.FAILED)
            done.changed += rows.exclude(dead_letter="").update(dead_letter="", metadata=said)

    return _carry_out(Deed.DISCARD, records, act, by, reason, tell)


def _carry_out(
    deed: Deed,
    records: Records,
    act: Callable[..., None],
    by: str,
    reason: str,
    tell: Tell | None,
    *,
    again: bool = False,
    is_newest_first: bool = False,
) -> Done:
    done = Done(deed)
    note = Note(deed, by, reason)
    for using, batch in batches(records, is_newest_first=is_newest_first):
        chosen = []
        for one in batch:
            reason_not = why_not(
                deed, one.status, bool(one.dead_letter), one.task_name == "?", again=again
            )
            if reason_not:
                done.skip(reason_not)
            else:
                chosen.append(one)
        done.matched += len(batch)
        if chosen:
            act(chosen, note, using, done)
        if tell is not None:
            tell(done)
    left = done.matched - done.changed - done.told - sum(done.skipped.values())
    done.skip(CHANGED, left)
    # Quoted: a terminal that shows the log must not obey it.
    logger.info("%s by %r: %s (%r)", deed, by, done, kept(reason))
    return done


def _move(
    batch: list[TaskRecord],
    note: Note,
    using: str,
    done: Done,
    *,
    at: datetime | None = None,
    is_now: bool = False,
    priority: int | str = "",
) -> None:
    when = 0.0 if is_now else None if at is None else at.timestamp()
    moment = timezone.now() if is_now or priority == "front" else to_django(at)
    for alias, queue, group in by_queue(batch):
        calls = [(str(one.id), one.round) for one in group]
        answers = get_broker(alias).move(queue, calls, at=when, priority=priority)
        for record, answer in zip(group, answers, strict=True):
            known = answer if isinstance(answer, int) else None
            if known is None and not (answer == "unknown" and record.status == State.PENDING):
                done.skip(MOVED_NOT[str(answer)])
                continue
            changes: dict[str, object] = {"metadata": note.on(record)}
            if priority != "":
                changes["priority"] = known if known is not None else priority
            if moment is not None and (record.status != State.READY or at is not None):
                changes["run_after"] = moment
            # The state comes by the mirror; a row that is final by now is not touched.
            rows = TaskRecord.objects.using(using).filter(id=record.id)
            done.changed += rows.exclude(status__in=FINAL).update(**changes)


def _set_cancelled(
    records: Sequence[TaskRecord], note: Note, using: str, revision: int, *statuses: str
) -> int:
    """By compare-and-set, as the mirror would write it."""
    changed = 0
    for metadata, ids in note.grouped(records):
        rows = TaskRecord.objects.using(using).filter(id__in=ids, status__in=statuses)
        known = {"revision": revision} if revision else {}
        changed += rows.update(
            status=State.CANCELLED, finished_at=timezone.now(), metadata=metadata, **known
        )
    return changed


def _push(ids: Iterable[UUID], using: str) -> None:
    """Rows that were made to run again; if the broker is away, they wait for delivery."""
    rows: TaskRecordQuerySet = TaskRecord.objects.using(using).filter(
        id__in=ids, status=State.PENDING
    )
    aliases: dict[str, list[TaskRecord]] = {}
    for record in rows.order_by("id"):
        aliases.setdefault(alias_of(record), []).append(record)
    for alias, records in aliases.items():
        for messages in outbox.bounded(records, using):
            try:
                outbox.push(alias, messages)
                edges.settle_pushed(get_broker(alias), messages, using)
            except BrokerError:
                return
