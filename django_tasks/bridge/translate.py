"""to_message(record) and to_row(snapshot): the only file that knows both shapes.

Times in messages are aware; in rows they are what Django has there, naive if ``USE_TZ`` is off."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.utils import timezone

from django_tasks.broker.message import Message, from_us, to_json
from django_tasks.broker.snapshot import Snapshot
from django_tasks.conf import DEFAULT_ALIAS, TaskSettings
from django_tasks.framework import to_django, to_utc
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import MIRRORED
from django_tasks.models.bulk_postgresql import JsonText
from django_tasks.models.record import new_record
from django_tasks.states import Recording

MAX_LOST = 3  # the default of the option `max_lost`: what a record without a note of it has


def to_message(
    record: TaskRecord,
    settings: TaskSettings,
    *,
    recording: str = Recording.FIRST,
    database: str = "default",
) -> Message:
    """A record as the broker will hold it. ``database``: alias of its row; "" if it has none."""
    metadata = record.metadata or {}
    return Message(
        id=str(record.id),
        task=record.task_name,
        queue=record.queue_name,
        args=to_json(record.args),
        kwargs=to_json(record.kwargs),
        priority=record.priority,
        run_after=to_utc(record.run_after),
        expires=to_utc(record.expires),
        max_attempts=record.max_attempts,
        max_lost=metadata.get("max_lost", MAX_LOST),
        backoff=to_json(metadata["backoff"]) if "backoff" in metadata else "",
        record=str(recording),
        database="" if recording == Recording.NEVER else database,
        round=record.round,
        fence=record.fence,
        revision=record.revision,
        attempt=record.attempt,
        lost=record.lost,
        enqueued_at=to_utc(record.enqueued_at),
        # The row has them already, unless the mirror is to write it.
        description=record.description if recording != Recording.FIRST else "",
        metadata=to_json(metadata) if recording != Recording.FIRST and metadata else "{}",
        release=settings.release,
        ttl=settings.result_ttl,
    )


def alias_of(record: TaskRecord) -> str:
    """The alias of ``TASKS`` that a record was enqueued by."""
    return str((record.metadata or {}).get("backend", DEFAULT_ALIAS))


def to_row(snapshot: Snapshot) -> list[Any]:
    """What the mirror writes: the values of ``MIRRORED``, in that order."""
    values = {
        "id": snapshot.id,
        "status": snapshot.state,
        # Who runs it now; else who ran it last.
        "worker_id": snapshot.fields.get("consumer") or snapshot.worker_id,
        "return_value": _as_json(snapshot.return_value),
        "run_after": to_django(snapshot.run_after),
        "started_at": to_django(snapshot.started_at),
        "finished_at": to_django(snapshot.finished_at),
    }
    return [values[name] if name in values else getattr(snapshot, name) for name in MIRRORED]


def to_record(snapshot: Snapshot, queue: str) -> TaskRecord:
    """A new row for a message that has none: ``record="after"``, and what nobody can read, whose
    fields go into ``metadata`` (bounded)."""
    fields = snapshot.fields
    enqueued_at = to_django(from_us(fields.get("enqueued_at")))
    return new_record(
        task_name=(fields.get("task") or "?")[:200],
        description=fields.get("description", ""),
        queue_name=queue,
        priority=int(fields.get("priority") or 0),
        args=_decoded(fields.get("args")) or [],
        kwargs=_decoded(fields.get("kwargs")) or {},
        max_attempts=int(fields.get("max_attempts") or 1),
        expires=to_django(from_us(fields.get("expires"))),
        created_at=enqueued_at or timezone.now(),
        enqueued_at=enqueued_at,
        metadata=_decoded(fields.get("metadata")) or {},
        **_outcome_of(snapshot),
    )


def to_unreadable_record(snapshot: Snapshot, queue: str) -> TaskRecord:
    """A row for fields that make no message of ours: task ``?``, the fields in ``metadata``."""
    shown = {name: text[:1000] for name, text in list(snapshot.fields.items())[:50]}
    return new_record(
        task_name="?",
        queue_name=queue,
        args=[],
        kwargs={},
        created_at=timezone.now(),
        metadata={"message": shown},
        **_outcome_of(snapshot),
    )


def _outcome_of(snapshot: Snapshot) -> dict[str, Any]:
    values = dict(zip(MIRRORED, to_row(snapshot), strict=True))
    return {
        **values,
        "id": uuid.UUID(snapshot.id),
        "return_value": _decoded(snapshot.return_value),
    }


def to_attempts(snapshot: Snapshot) -> Iterator[tuple[Any, ...]]:
    """The rows of the runs that a message notes: the values of ``TOLD``, in that order."""
    for attempt in snapshot.attempts:
        yield (
            snapshot.id,
            attempt.fence,
            attempt.number,
            attempt.consumer[:200],
            to_django(attempt.claimed_at),
            to_django(attempt.started_at),
            to_django(attempt.finished_at),
            attempt.outcome[:20],
            attempt.error_class,
            attempt.error_message,
            attempt.traceback,
        )


def with_note(snapshot: Snapshot, note: str) -> Snapshot:
    """The same without the values that a database refused; ``note`` says so instead."""
    return replace(
        snapshot,
        return_value=None if snapshot.return_value is None else to_json(note),
        error_message=note if snapshot.error_message else "",
        traceback=note if snapshot.traceback else "",
        attempts=tuple(
            replace(attempt, error_message="", traceback="") for attempt in snapshot.attempts
        ),
    )


def _as_json(text: str | None) -> JsonText | str | None:
    """A JSON text for its column; what foreign hands made none of is a text itself."""
    if text is None or text == "null":
        return None
    try:
        json.loads(text)
    except ValueError:
        return text
    return JsonText(text)


def _decoded(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
