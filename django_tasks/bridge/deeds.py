"""The deeds: what a person may do to records, in which states, and what came of it.

actions.py does them; the console, the command and Python share them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_tasks.bridge.translate import alias_of
from django_tasks.errors import InvalidDeed
from django_tasks.models import TaskRecord
from django_tasks.models.record import TaskRecordQuerySet, new_id
from django_tasks.states import FINAL, State

Records = TaskRecordQuerySet | TaskRecord | Iterable[TaskRecord]

BATCH = 500  # records of one step
CHUNK = 100  # of them in one call to the broker
MAX_REASON = 1000  # characters kept
# What a deed has to know of a record: not its arguments and texts, which may be megabytes.
NEEDED = "id status round queue_name task_name dead_letter metadata".split()


class Deed(StrEnum):
    """One word each; its permission is ``django_tasks.<word>_taskrecord``."""

    RETRY = "retry"
    CANCEL = "cancel"
    RUN_NOW = "run_now"
    RESCHEDULE = "reschedule"
    PRIORITIZE = "prioritize"
    MOVE_TO_FRONT = "move_to_front"
    DISCARD = "discard"

    @property
    def permission(self) -> str:
        return f"django_tasks.{self.value}_taskrecord"


NAMES = {
    Deed.RETRY: gettext_lazy("Retry"),
    Deed.CANCEL: gettext_lazy("Cancel"),
    Deed.RUN_NOW: gettext_lazy("Run now"),
    Deed.RESCHEDULE: gettext_lazy("Reschedule"),
    Deed.PRIORITIZE: gettext_lazy("Change priority"),
    Deed.MOVE_TO_FRONT: gettext_lazy("Move to front"),
    Deed.DISCARD: gettext_lazy("Discard"),
}

ELIGIBLE: dict[Deed, frozenset[State]] = {
    Deed.RETRY: FINAL - {State.SUCCESSFUL},
    Deed.CANCEL: frozenset(State) - FINAL,
    Deed.RUN_NOW: frozenset({State.PENDING, State.SCHEDULED}),
    Deed.RESCHEDULE: frozenset({State.PENDING, State.SCHEDULED, State.READY}),
    Deed.PRIORITIZE: frozenset({State.PENDING, State.SCHEDULED, State.READY}),
    Deed.MOVE_TO_FRONT: frozenset({State.SCHEDULED, State.READY}),
    Deed.DISCARD: frozenset({State.FAILED}),
}

# Why not, by state.
ENDED = gettext_lazy("has ended")
RUNNING = gettext_lazy("is running")
WAITING = gettext_lazy("has not ended")
READY = gettext_lazy("is ready already")
PARENTS = gettext_lazy("waits for its parents")
SUCCEEDED = gettext_lazy("succeeded")
UNREADABLE = gettext_lazy("was never readable")
NO_DEAD_LETTER = gettext_lazy("is no dead letter")
UNSEEN = gettext_lazy("is not in the broker yet")
CHANGED = gettext_lazy("changed meanwhile")
MOVED_NOT = {"unknown": UNSEEN, "final": ENDED, "running": RUNNING, "deferred": PARENTS}


def why_not(
    deed: Deed, status: str, is_dead: bool, is_unreadable: bool, *, again: bool = False
) -> str:
    """Why a deed can't be done to a record in this state; "" if it can."""
    state = State(status)
    if deed is Deed.RETRY and is_unreadable:
        return str(UNREADABLE)
    if deed is Deed.DISCARD and not (state is State.FAILED and is_dead):
        return str(NO_DEAD_LETTER)
    if state in ELIGIBLE[deed] or (deed is Deed.RETRY and again and state is State.SUCCESSFUL):
        return ""
    if deed is Deed.RETRY:
        return str(SUCCEEDED if state is State.SUCCESSFUL else WAITING)
    words = {State.RUNNING: RUNNING, State.DEFERRED: PARENTS, State.READY: READY}
    return str(words.get(state, UNSEEN if state is State.PENDING else ENDED))


@dataclass(slots=True)
class Preview:
    """What a deed would come to. ``skipped``: why not → how many."""

    matched: int = 0
    eligible: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, reason_not: str, count: int) -> None:
        self.matched += count
        if reason_not:
            self.skipped[reason_not] += count
        else:
            self.eligible += count


@dataclass(slots=True)
class Done:
    """What a deed came to. ``told``: runs that were told to end; ``skipped``: why not → how many:
    what is left as it was is no error."""

    deed: Deed
    matched: int = 0
    changed: int = 0
    told: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: Any, count: int = 1) -> None:
        if count > 0:
            self.skipped[str(reason)] += count

    def __iadd__(self, other: Done) -> Done:
        self.matched += other.matched
        self.changed += other.changed
        self.told += other.told
        self.skipped += other.skipped
        return self

    def __str__(self) -> str:
        parts = [
            ngettext("%(count)d record changed", "%(count)d records changed", self.changed)
            % {"count": self.changed}
        ]
        if self.told:
            text = ngettext("%(count)d run told to end", "%(count)d runs told to end", self.told)
            parts.append(text % {"count": self.told})
        left = ", ".join(f"{count} × {reason}" for reason, count in sorted(self.skipped.items()))
        if left:
            parts.append(_("left as they are: %s") % left)
        return "; ".join(parts)


def kept(text: str, limit: int = MAX_REASON) -> str:
    """What a person said, bounded, as every store takes it: PostgreSQL's JSON has no NUL, and a
    lone surrogate (a byte of a command line that is no UTF-8) can't even be sent."""
    return text[:limit].replace("\0", "").encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Note:
    """Who did it and why, as the record's ``metadata["deed"]`` keeps it."""

    deed: Deed
    by: str
    reason: str

    def on(self, record: TaskRecord, **more: str) -> dict[str, Any]:
        """The record's metadata, with this deed in it."""
        said = {
            "deed": self.deed.value,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": kept(self.by, 200),
            "reason": kept(self.reason),
            **more,
        }
        metadata = {**(record.metadata or {}), "deed": said}
        if self.deed is Deed.RETRY:  # what took its place before is not what comes of it now
            metadata.pop("replaced_by", None)
        return metadata

    def grouped(self, records: Iterable[TaskRecord]) -> list[tuple[dict[str, Any], list[Any]]]:
        """(metadata, ids): few have any of their own, so that one statement writes many."""
        groups: dict[str, tuple[dict[str, Any], list[Any]]] = {}
        for record in records:
            metadata = self.on(record)
            key = json.dumps(metadata, sort_keys=True)
            groups.setdefault(key, (metadata, []))[1].append(record.id)
        return list(groups.values())


def querysets(records: Records) -> list[tuple[str, TaskRecordQuerySet]]:
    """(database, records in it). Raises ``InvalidDeed`` for what is no record."""
    if isinstance(records, TaskRecordQuerySet):
        if not records.query.is_sliced:
            return [(records.db, records)]
        records = list(records)
    by_database: dict[str, list[Any]] = {}
    for record in [records] if isinstance(records, TaskRecord) else records:
        if not isinstance(record, TaskRecord) or record._state.db is None:
            raise InvalidDeed(
                f"{record!r} is not a saved TaskRecord. Give records, or a QuerySet of them:"
                " retry(TaskRecord.objects.failed(), reason=…)."
            )
        by_database.setdefault(record._state.db, []).append(record.pk)
    return [
        (using, TaskRecord.objects.using(using).filter(pk__in=ids[start : start + BATCH]))
        for using, ids in by_database.items()
        for start in range(0, len(ids), BATCH)
    ]


def batches(
    records: Records, *, is_newest_first: bool = False
) -> Iterator[tuple[str, list[TaskRecord]]]:
    """(database, the next records in it), by id; of a QuerySet without what is enqueued meanwhile:
    it might never end."""
    # Ids grow with time; ten seconds for hosts whose clock is ahead.
    last = UUID(int=new_id().int + (10_000 << 80))
    for using, rows in querysets(records):
        rows = rows.only(*NEEDED).order_by("-id" if is_newest_first else "id")
        edge = None
        while True:
            bounds = {"id__lte": last}
            if edge is not None:
                bounds["id__lt" if is_newest_first else "id__gt"] = edge
            batch = list(rows.filter(**bounds)[:BATCH])
            if batch:
                yield using, batch
            if len(batch) < BATCH:
                break
            edge = batch[-1].id


def by_queue(records: Sequence[TaskRecord]) -> Iterator[tuple[str, str, list[TaskRecord]]]:
    """(alias of ``TASKS``, queue, some of its records, in order): as many as one call to a broker
    should carry, which has to be answered within a producer's time-out."""
    groups: dict[tuple[str, str], list[TaskRecord]] = {}
    for record in records:
        groups.setdefault((alias_of(record), record.queue_name), []).append(record)
    for (alias, queue), group in groups.items():
        for start in range(0, len(group), CHUNK):
            yield alias, queue, group[start : start + CHUNK]
