"""to_message(record) and to_row(snapshot): the only file that knows both shapes.

Times in messages are aware; in rows they are what Django has there, naive if ``USE_TZ`` is off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import DateTimeField, UUIDField
from django.utils import timezone

from django_tasks.broker.message import Message, from_us, to_json
from django_tasks.broker.snapshot import Snapshot
from django_tasks.conf import DEFAULT_ALIAS, TaskSettings
from django_tasks.framework import to_django, to_utc
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import MIRRORED
from django_tasks.models.bulk_postgresql import JsonText
from django_tasks.models.record import new_values
from django_tasks.states import Recording

# What is JSON for certain, and need not be read for it.
_CERTAIN = re.compile(r'true|false|-?[1-9]\d{0,14}|0|\[\]|\{\}|"[\x20\x21\x23-\x5b\x5d-\x7e]*"')

MAX_LOST = 3  # the default of the option `max_lost`: what a record without a note of it has


def to_message(
    record: TaskRecord,
    settings: TaskSettings,
    *,
    recording: str = Recording.FIRST,
    database: str = "default",
    parents: str = "",
    dependents: str = "",
) -> Message:
    """A record as the broker will hold it. ``database``: alias of its row; "" if it has none;
    ``parents``, ``dependents``: as edges.py words them."""
    metadata = record.metadata or {}
    return Message(
        id=str(record.id),
        task=record.task_name,
        queue=record.queue_name,
        args=to_json(record.args) if record.args else "[]",
        kwargs=to_json(record.kwargs) if record.kwargs else "{}",
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
        headers=_headers_of(record) if record.headers or record.parent_id else "",
        parents=parents,
        dependents=dependents,
        inputs=metadata.get("inputs", ""),
        release=record.release or settings.release,
        ttl=settings.result_ttl,
    )


def _headers_of(record: TaskRecord) -> str:
    """The row's headers and its parent as they travel."""
    if not record.parent_id:
        return to_json(record.headers)
    return to_json({**(record.headers or {}), "parent": str(record.parent_id)})


def _headers_and_parent(text: str | None) -> tuple[JsonText | str | None, str | None]:
    """The other way round; what foreign hands made no object stays as it is."""
    if not text or '"parent"' not in text:
        return (_as_json(text) if text else None), None
    try:
        headers = json.loads(text)
        parent = str(UUID(headers.pop("parent")))
        return (JsonText(to_json(headers)) if headers else None), parent
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return _as_json(text), None


def alias_of(record: TaskRecord) -> str:
    """The alias of ``TASKS`` that a record was enqueued by."""
    return str((record.metadata or {}).get("backend", DEFAULT_ALIAS))


def to_row(snapshot: Snapshot) -> list[Any]:
    """What the mirror writes: the values of ``MIRRORED``, in that order."""
    return [
        snapshot.id,
        snapshot.state,
        snapshot.revision,
        snapshot.fence,
        snapshot.round,
        snapshot.attempt,
        snapshot.lost,
        _time(snapshot.us("run_after")),
        _time(snapshot.us("started_at")),
        _time(snapshot.us("finished_at")),
        snapshot.worker_id,
        _as_json(snapshot.return_value),
        snapshot.error_class,
        snapshot.error_message,
        snapshot.traceback,
        snapshot.dead_letter,
    ]


def to_new_row(snapshot: Snapshot, queue: str) -> list[Any]:
    """A whole row, the values of all columns, for a message that has none: ``record="after"``, and
    what nobody can read, whose fields go into ``metadata`` (bounded)."""
    fields = snapshot.fields
    known = dict(zip(MIRRORED, to_row(snapshot), strict=True))
    if fields.get("record") == "unreadable":
        shown = {name: text[:1000] for name, text in list(fields.items())[:50]}
        return new_values(
            task_name="?",
            queue_name=queue,
            args=[],
            kwargs={},
            created_at=timezone.now(),
            metadata={"message": shown},
            **known,
        )
    enqueued_at = _time(snapshot.us("enqueued_at"))
    headers, parent_id = _headers_and_parent(fields.get("headers"))
    return new_values(
        task_name=(fields.get("task") or "?")[:200],
        description=fields.get("description", ""),
        queue_name=queue,
        priority=int(fields.get("priority") or 0),
        args=_as_json(fields.get("args")) or [],
        kwargs=_as_json(fields.get("kwargs")) or {},
        max_attempts=int(fields.get("max_attempts") or 1),
        expires=_time(snapshot.us("expires")),
        created_at=enqueued_at or timezone.now(),
        enqueued_at=enqueued_at,
        metadata=_as_json(fields.get("metadata")) or {},
        headers=headers,
        parent_id=parent_id,
        release=fields.get("release", "")[:100],
        **known,
    )


def to_record(snapshot: Snapshot, queue: str) -> TaskRecord:
    """The same as an unsaved record."""
    values: Any = to_new_row(snapshot, queue)
    record = TaskRecord(*values)
    for field in TaskRecord._meta.concrete_fields:
        value = getattr(record, field.attname)
        if isinstance(value, JsonText):
            setattr(record, field.attname, json.loads(value))
        elif isinstance(field, DateTimeField | UUIDField):
            setattr(record, field.attname, field.to_python(value))
    return record


def to_attempts(snapshot: Snapshot) -> Iterator[tuple[Any, ...]]:
    """The rows of the runs that a message notes: the values of ``TOLD``, in that order."""
    for attempt in snapshot.attempts:
        yield (
            snapshot.id,
            attempt.fence,
            attempt.number,
            attempt.consumer[:200],
            _time(attempt.claimed),
            _time(attempt.started),
            _time(attempt.finished),
            attempt.outcome[:20],
            attempt.error_class,
            attempt.error_message,
            attempt.traceback,
            _as_json(attempt.report),
        )


def with_note(snapshot: Snapshot, note: str) -> Snapshot:
    """The same without the values that a database refused; ``note`` says so instead."""
    instead = {"return_value": to_json(note), "error_message": note, "traceback": note}
    return replace(
        snapshot,
        fields={
            name: instead[name] if text and name in instead else text
            for name, text in snapshot.fields.items()
            if name != "report"
        },
        notes={name: _without_texts(text) for name, text in snapshot.notes.items()},
    )


def _without_texts(noted: str) -> str:
    try:
        run = json.loads(noted)
        return to_json({**run, "error_message": "", "traceback": "", "report": None})
    except (ValueError, TypeError):
        return '{"outcome":"?"}'


def _time(us: int) -> str | None:
    """The text of a time, as its column takes it; None for 0. Of a batch most are of few seconds,
    and a ``datetime`` made only to be written out costs three times as much."""
    if not us:
        return None
    if not settings.USE_TZ:
        moment: Any = to_django(from_us(us))
        return str(moment.isoformat())
    second, rest = divmod(us, 1_000_000)
    return f"{_second(second)}.{rest:06d}+00:00"


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _as_json(text: str | None) -> JsonText | str | None:
    """A JSON text for its column; what foreign hands made none of is a text itself."""
    if text is None or text == "null":
        return None
    if _CERTAIN.fullmatch(text):
        return JsonText(text)
    try:
        json.loads(text)
    except ValueError:
        return text
    return JsonText(text)
