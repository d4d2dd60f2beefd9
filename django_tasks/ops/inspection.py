"""All that both stores hold about one task: "what is where"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import DatabaseError

from django_tasks.bridge.databases import read_record
from django_tasks.bridge.translate import alias_of
from django_tasks.broker import get_broker
from django_tasks.broker.reads import KeyHit, Trace
from django_tasks.calls import registry
from django_tasks.calls.lookup import progress_of
from django_tasks.calls.progress import Progress
from django_tasks.calls.sensitive import shown_call, shown_fields
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.errors import BrokerError, ResultNotFound
from django_tasks.models import TaskRecord
from django_tasks.ops.explanations import explain_found

# What the row and the message both say: column → field of the message.
COMPARED = {
    "status": "state",
    "revision": "revision",
    "fence": "fence",
    "round": "round",
    "attempt": "attempt",
    "lost": "lost",
}


@dataclass(frozen=True, slots=True)
class Belief:
    """What the row and the message say of the same; "" where there is none."""

    name: str
    row: str
    broker: str

    @property
    def differs(self) -> bool:
        return self.row != self.broker and "" not in (self.row, self.broker)


@dataclass(slots=True)
class Inspection:
    """``row``: the columns, None without a row; ``broker``: the message's fields as written, None
    where the broker does not know it; of both no sensitive arguments; ``report``: what its run told
    of its progress, of several the last; ``away``: what does not serve, and why; ``database``: the
    alias of its row."""

    id: str
    row: dict[str, Any] | None = None
    broker: dict[str, str] | None = None
    keys: list[KeyHit] = field(default_factory=list)
    compared: list[Belief] = field(default_factory=list)
    differences: list[Belief] = field(default_factory=list)
    explain: list[str] = field(default_factory=list)
    position: int | None = None
    lease: float | None = None
    ttl: float | None = None
    report: Progress | None = None
    away: list[str] = field(default_factory=list)
    database: str = ""


def inspect(record_id: str | UUID, alias: str = DEFAULT_ALIAS) -> Inspection:
    """What is where. Raises ``ResultNotFound`` for an id that neither store knows."""
    try:
        key = UUID(str(record_id))
    except ValueError:
        raise ResultNotFound(f"{record_id!r} is not the id of a record (a UUID).") from None
    found = Inspection(str(key))
    record = _row(key, found)
    alias = alias_of(record) if record is not None else alias
    trace = _trace(found, record, alias)
    if record is None and trace is None and not found.away:
        raise ResultNotFound(f"No record and no message has the id {key}.")
    if record is not None:
        found.row = {one.attname: getattr(record, one.attname) for one in record._meta.fields}
        shown = shown_call(record)
        found.row["args"], found.row["kwargs"], found.row["description"] = shown
        found.row["metadata"] = _without_hidden(record.metadata)
    if trace is not None:
        found.broker, found.keys = shown_fields(trace.raw, record), trace.keys
        found.position, found.lease, found.ttl = trace.position, trace.lease, trace.ttl
    found.compared = _compared(record, trace)
    found.differences = [one for one in found.compared if one.differs]
    found.explain = explain_found(record, trace, alias, found.away)
    found.report = _report(record, trace)
    return found


def description_of(record: TaskRecord) -> str:
    """How a list shows a call, without its sensitive arguments. Of a record without its arguments
    (``defer``) as it was described when it was enqueued."""
    is_whole = not {"args", "kwargs", "metadata"} & record.get_deferred_fields()
    description = shown_call(record)[2] if is_whole else record.description
    return description or f"{record.task_name}(…)"


def arguments_of(record: TaskRecord) -> tuple[Any, Any]:
    """args and kwargs as a page shows them, without the sensitive ones."""
    args, kwargs, _ = shown_call(record)
    return args, kwargs


def _without_hidden(metadata: Any) -> Any:
    """What an unreadable message held stands in its record's metadata, as far as it is known."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("message"), dict):
        return metadata
    held = {str(name): str(value) for name, value in metadata["message"].items()}
    return {**metadata, "message": shown_fields(held)}


def explain(record: TaskRecord | UUID | str) -> list[str]:
    """Where a record is and why, in one or two sentences that a person can act on."""
    return inspect(record.pk if isinstance(record, TaskRecord) else record).explain


def _row(key: UUID, found: Inspection) -> TaskRecord | None:
    for database in registry.databases():
        try:
            record = read_record(key, database)
        except DatabaseError as error:
            found.away.append(f"The database {database!r} does not serve: {_line(error)}")
            continue
        if record is not None:
            found.database = database
            return record
    return None


def _trace(found: Inspection, record: TaskRecord | None, alias: str) -> Trace | None:
    broker = get_broker(alias)
    try:
        queues = [record.queue_name] if record is not None else sorted(broker.queue_names())
        for queue in queues:
            trace = broker.trace(queue, found.id, registry.databases())
            if trace.keys:
                return trace
    except BrokerError as error:
        found.away.append(f"The broker does not serve: {_line(error)}")
    return None


def _report(record: TaskRecord | None, trace: Trace | None) -> Progress | None:
    snapshot = trace.snapshot if trace is not None else None
    if snapshot is not None and (snapshot.is_stub or snapshot.is_settled):
        snapshot = None
    runs: dict[int, Any] = {}
    try:
        runs = {run.fence: run for run in record.attempts.all()} if record is not None else {}
    except DatabaseError:
        pass  # it served a moment ago
    if snapshot is not None:
        runs.update({run.fence: run for run in snapshot.attempts})
    state = snapshot.state if snapshot is not None else str(record.status if record else "")
    return progress_of(state, [runs[fence] for fence in sorted(runs)], snapshot)


def _compared(record: TaskRecord | None, trace: Trace | None) -> list[Belief]:
    snapshot = trace.snapshot if trace is not None else None
    return [
        Belief(
            column,
            "" if record is None else str(getattr(record, column)),
            "" if snapshot is None else str(getattr(snapshot, name)),
        )
        for column, name in COMPARED.items()
    ]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
