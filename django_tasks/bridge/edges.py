"""Edges between records → the broker: who waits for whom; and what parents that ended mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_tasks.bridge.translate import to_record
from django_tasks.broker import Broker
from django_tasks.broker.edges import Ended
from django_tasks.broker.message import Message, to_json
from django_tasks.errors import cause_of
from django_tasks.models import TaskDependency, TaskRecord
from django_tasks.models.bulk import insert_edges
from django_tasks.states import FINAL, Policy, State

CHUNK = 500  # edges in one call
HOW = {State.SUCCESSFUL: "success", State.FAILED: "failure", State.EXPIRED: "failure"}
PARENT_FAILED = "django_tasks.errors.ParentFailed"  # of what was cancelled since a parent failed


@dataclass(frozen=True, slots=True)
class Edge:
    """``child`` waits for ``parent``; ``position``: of its value among the child's inputs."""

    parent: UUID
    parent_queue: str
    child: UUID
    child_queue: str
    policy: str = Policy.SUCCESS.value
    position: int | None = None


def insert(edges: Sequence[Edge], using: str) -> None:
    """Their rows: one statement for thousands."""
    insert_edges([(one.parent, one.child, one.policy, one.position) for one in edges], using)


def parents_text(edges: Iterable[Edge]) -> str:
    """As a child's message has it."""
    return " ".join(
        f"{one.parent}:{one.policy}:{'' if one.position is None else one.position}" for one in edges
    )


def dependents_text(edges: Iterable[Edge]) -> str:
    """As a parent's message has it."""
    return " ".join(
        f"{one.child}:{'' if one.child_queue == one.parent_queue else one.child_queue}"
        for one in edges
    )


def of_children(ids: Collection[Any], using: str) -> list[Edge]:
    """The edges to parents."""
    return _edges(using, child_id__in=ids)


def of_parents(ids: Collection[Any], using: str) -> list[Edge]:
    """The edges to children."""
    return _edges(using, parent_id__in=ids)


def around(
    ids: Collection[UUID], using: str
) -> tuple[dict[UUID, list[Edge]], dict[UUID, list[Edge]]]:
    """Record → its edges to parents, and to children; of those that have some."""
    up: dict[UUID, list[Edge]] = {}
    down: dict[UUID, list[Edge]] = {}
    for edge in of_children(ids, using):
        up.setdefault(edge.child, []).append(edge)
    for edge in of_parents(ids, using):
        down.setdefault(edge.parent, []).append(edge)
    return up, down


def _edges(using: str, **condition: Any) -> list[Edge]:
    rows = TaskDependency.objects.using(using).filter(**condition).order_by("id")
    names = "parent_id parent__queue_name child_id child__queue_name policy position".split()
    return [Edge(*row) for row in rows.values_list(*names)]


def settle_pushed(broker: Broker, messages: Iterable[Message], using: str) -> None:
    """What was pushed after the fact may wait for what has ended, or will end soon."""
    waiting = [message.id for message in messages if message.parents]
    if waiting:
        settle(broker, of_children(waiting, using), using)


def settle(broker: Broker, edges: Sequence[Edge], using: str) -> int:
    """Of edges whose children the broker knows: note them at the parents, then look at these; who
    has ended releases his at once. Returns how many were released. Raises ``BrokerError``,
    ``DatabaseError``."""
    ends: dict[str, list[Ended]] = {}
    unheard: list[Edge] = []
    by_queue: dict[str, list[Edge]] = {}
    for edge in edges:
        by_queue.setdefault(edge.parent_queue, []).append(edge)
    for queue, group in by_queue.items():
        for start in range(0, len(group), CHUNK):
            chunk = group[start : start + CHUNK]
            said = broker.depend(
                queue,
                [(str(one.parent), str(one.child), _queue_of_child(one)) for one in chunk],
            )
            for edge, word in zip(chunk, said, strict=True):
                how, _, cause = word.partition(" ")
                if not how:
                    unheard.append(edge)
                elif cause:
                    ends.setdefault(edge.child_queue, []).append(
                        Ended(str(edge.child), str(edge.parent), how, cause)
                    )
    # Looked at after they were noted: what ends from now on releases by itself.
    for end in ends_of_rows(unheard, using):
        ends.setdefault(end[0], []).append(end[1])
    return release(broker, ends)


def release_from_rows(broker: Broker, children: Collection[UUID], using: str) -> int:
    """What the rows of ended parents say, told again to those that are deferred: heard once."""
    if not children:
        return 0
    rows = TaskDependency.objects.using(using).filter(child_id__in=children)
    if not rows.filter(parent__status__in=FINAL).exists():
        return 0
    ends: dict[str, list[Ended]] = {}
    for queue, end in ends_of_rows(of_children(children, using), using):
        ends.setdefault(queue, []).append(end)
    return release(broker, ends)


def ends_of_rows(edges: Sequence[Edge], using: str) -> list[tuple[str, Ended]]:
    """Of those whose parents are final, or gone, by their rows: the child's queue, and the end."""
    found: dict[UUID, tuple[str, str, str]] = {}
    ids = list({edge.parent for edge in edges})
    for start in range(0, len(ids), CHUNK):
        rows = TaskRecord.objects.using(using).filter(id__in=ids[start : start + CHUNK])
        for pk, *told in rows.values_list("id", "status", "error_class", "error_message"):
            found[pk] = (told[0], told[1], told[2])
    ends: list[tuple[str, Ended]] = []
    for edge in edges:
        state, kind, text = found.get(edge.parent, (State.CANCELLED, "", ""))
        if state in FINAL:
            how, cause = how_of(state, kind, text, edge.parent)
            ends.append((edge.child_queue, Ended(str(edge.child), str(edge.parent), how, cause)))
    return ends


def how_of(state: str, error_class: str, error_message: str, record_id: Any) -> tuple[str, str]:
    """How a final record ended, as a parent, and the record that was the cause."""
    if state != State.CANCELLED:
        return HOW[State(state)], str(record_id)
    cause = cause_of(error_class, error_message)
    if cause is None:
        return "cancelled", str(record_id)
    return ("failure" if error_class == PARENT_FAILED else "cancelled"), cause


def release(broker: Broker, ends: dict[str, list[Ended]]) -> int:
    """Tell children, queue by queue, and go on with what that ends in turn."""
    done = 0
    for queue, group in ends.items():
        for start in range(0, len(group), CHUNK):
            released = broker.release(queue, group[start : start + CHUNK])
            done += released.done
            if released.ends or released.crossings:
                broker.carry(queue)
    return done


def hand_over_in_broker(broker: Broker, record_id: str, heir: UUID, using: str) -> None:
    """Who waits for the record there waits for ``heir``, as the rows have it already. Before the
    record's ack, which lets ``heir`` run. It may be repeated. Raises ``BrokerError``."""
    moved = of_parents([heir], using)
    by_queue: dict[str, list[Ended]] = {}
    for edge in moved:
        told = Ended(str(edge.child), record_id, "replaced", str(heir))
        by_queue.setdefault(edge.child_queue, []).append(told)
    release(broker, by_queue)
    settle(broker, moved, using)


def cancelled_by(ids: Collection[UUID], using: str) -> list[UUID]:
    """The records that were cancelled since one of these ended as it did, through any number of
    others."""
    causes = {str(one) for one in ids}
    found: list[UUID] = []
    seen = set(ids)
    frontier = list(ids)
    while frontier:
        following: list[UUID] = []
        for start in range(0, len(frontier), CHUNK):
            children = (
                TaskRecord.objects.using(using)
                .filter(parents__in=frontier[start : start + CHUNK], status=State.CANCELLED)
                .filter(error_class__startswith="django_tasks.errors.")
            )
            told = children.values_list("id", "status", "error_class", "error_message").distinct()
            for pk, status, kind, text in told:
                if pk not in seen and how_of(status, kind, text, pk)[1] in causes:
                    seen.add(pk)
                    following.append(pk)
        found += following
        frontier = following
    return found


def inputs_of(record_id: str, broker: Broker, using: str, given: dict[int, str]) -> dict[int, str]:
    """The child's inputs, position → JSON: what its message was ``given``, else from the parents'
    messages while they are fresh, else from their rows."""
    inputs = dict(given)
    missing = [
        edge
        for edge in of_children([record_id], using)
        if edge.position is not None and edge.position not in inputs
    ]
    rows = TaskRecord.objects.using(using).in_bulk([edge.parent for edge in missing])
    for edge in missing:
        assert edge.position is not None
        inputs[edge.position] = _input_of(edge, rows.get(edge.parent), broker, using)
    return inputs


def _input_of(edge: Edge, row: TaskRecord | None, broker: Broker, using: str) -> str:
    row = _newest(row, broker)
    if row is None or row.status == State.SUCCESSFUL:
        return "null" if row is None else to_json(row.return_value)
    # Perhaps it was not even waited for, since another parent let the child go early.
    if edge.policy not in (Policy.FAILURE, Policy.CANCELLED) or row.status not in FINAL:
        return "null"
    how, cause = how_of(row.status, row.error_class, row.error_message, row.id)
    first: TaskRecord | None = row
    if cause != str(row.id):
        first = _newest(TaskRecord.objects.using(using).filter(id=cause).first(), broker)
    if how != "failure" or first is None:
        return to_json([cause, "", ""])
    return to_json([cause, first.error_class, first.error_message or first.dead_letter])


def _newest(row: TaskRecord | None, broker: Broker) -> TaskRecord | None:
    """As the broker knows it where the mirror is behind; None where there is no row."""
    if row is None or row.status in FINAL:
        return row
    snapshot = broker.snapshots(row.queue_name, [str(row.id)]).get(str(row.id))
    return row if snapshot is None else to_record(snapshot, row.queue_name)


def _queue_of_child(edge: Edge) -> str:
    return "" if edge.child_queue == edge.parent_queue else edge.child_queue
