"""What is to be seen of one workflow: how far it is, what failed first, its members and its graph.

Everything is read from its records by the index (workflow, status, id), and bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

from django.db import DatabaseError
from django.db.models import F, Max, TextField
from django.db.models.functions import Cast

from django_tasks.calls import registry
from django_tasks.models import TaskDependency, TaskRecord, Workflow
from django_tasks.models.workflow import Counts, counts_of
from django_tasks.ops.filters import RecordFilter
from django_tasks.ops.folding import Link, Node
from django_tasks.ops.records import LARGE, Page, described, search
from django_tasks.states import State

FAILED = (State.FAILED, State.EXPIRED)
MOST_NODES, MOST_EDGES = 20_000, 40_000  # of a graph that is read at all
MOST_OUTSIDE = 200  # records of no or of another workflow that members wait for
MEMBERS = 50  # rows of the table


@dataclass(slots=True)
class Overview:
    """``finished_at``: None while one is not final; ``first_error``: the record that failed or
    expired first, None if none did."""

    workflow: Workflow
    database: str
    counts: Counts
    finished_at: datetime | None = None
    first_error: TaskRecord | None = None

    @property
    def is_live(self) -> bool:
        """Whether anything can still change by itself."""
        return self.counts.done < self.counts.total


@dataclass
class Graph:
    """``nodes``: its members by id, then those outside of it that they wait for. ``is_whole``:
    False if there are too many to be read; then there are none."""

    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    is_whole: bool = True

    @cached_property
    def places(self) -> dict[str, int]:
        return {node.key: place for place, node in enumerate(self.nodes)}

    def waits(self, *members: UUID) -> dict[UUID, list[tuple[Node, str]]]:
        """Member → what it waits or waited for, in their order, and after which end."""
        wanted = {self.places[one.hex]: one for one in members if one.hex in self.places}
        found: dict[UUID, list[tuple[Node, str]]] = {one: [] for one in members}
        for parent, child, policies in sorted(one for one in self.links if one.child in wanted):
            found[wanted[child]].append((self.nodes[parent], policies[0]))
        return found


def _text(name: str) -> Cast:
    """An id as the database writes it: thirty thousand UUIDs take longer to make than to read."""
    return Cast(name, TextField())


def find(workflow_id: UUID | str) -> Workflow | None:
    """In whichever database it is; one that is away does not have it."""
    try:
        key = UUID(str(workflow_id))
    except ValueError:
        return None
    for database in registry.databases():
        try:
            found = Workflow.objects.using(database).filter(pk=key).first()
        except DatabaseError:
            continue
        if found is not None:
            return found
    return None


def overview(workflow: Workflow) -> Overview:
    """How far it is: two to four statements."""
    using = workflow._state.db or "default"
    found = Overview(workflow, using, counts_of([workflow.pk], using)[workflow.pk])
    rows = TaskRecord.objects.using(using).filter(workflow=workflow.pk)
    if found.counts.total and not found.is_live:
        found.finished_at = rows.aggregate(last=Max("finished_at"))["last"]
    if any(found.counts.by_state.get(state) for state in FAILED):
        failed = rows.filter(status__in=FAILED).defer(*set(LARGE) - {"error_message"})
        first = failed.order_by(F("finished_at").asc(nulls_last=True), "id")[:1]
        found.first_error = next(iter(described(rows, list(first))), None)
    return found


def graph(seen: Overview) -> Graph:
    """Who waits for whom: two statements, a third where members wait for others' records."""
    if seen.counts.total > MOST_NODES:
        return Graph(is_whole=False)
    using, key = seen.database, seen.workflow.pk
    rows = TaskRecord.objects.using(using)
    members = rows.filter(workflow=key).values_list(_text("pk"), "task_name", "status")
    edges = TaskDependency.objects.using(using).filter(child__workflow=key).order_by()
    joined = list(
        edges.values_list(_text("parent_id"), _text("child_id"), "policy")[: MOST_EDGES + 1]
    )
    if len(joined) > MOST_EDGES:
        return Graph(is_whole=False)
    by_id = enumerate(members.order_by("id")[:MOST_NODES], 1)
    found = Graph(
        [Node(one.replace("-", ""), task, state, number) for number, (one, task, state) in by_id]
    )
    joined = [(one.replace("-", ""), two.replace("-", ""), policy) for one, two, policy in joined]
    known = {node.key for node in found.nodes}
    others = list(dict.fromkeys(parent for parent, _, _ in joined if parent not in known))
    if others:
        chosen = rows.filter(pk__in=[UUID(one) for one in others[:MOST_OUTSIDE]])
        told = chosen.order_by("id").values_list("pk", "task_name", "status")
        found.nodes += [Node(one.hex, task, state) for one, task, state in told]
    places = found.places
    policies = {policy: (policy,) for _, _, policy in joined}
    found.links = [
        Link(places[parent], places[child], policies[policy])
        for parent, child, policy in joined
        if parent in places and child in places
    ]
    return found


def members(seen: Overview, *, state: str = "", task: str = "", after: UUID | None = None) -> Page:
    """Some of its records, the first ones first: those of a state (or several, with commas) and a
    task. Raises ``InvalidFilter``."""
    # Without a state: those that there are, so that the index is not asked for others.
    wanted = {
        "workflow": str(seen.workflow.pk),
        "state": state or ",".join(sorted(seen.counts.by_state)),
        "task": task,
        "database": seen.database,
        "order": "oldest",
    }
    given = RecordFilter.parse({name: value for name, value in wanted.items() if value})
    return search(given, after=after, limit=MEMBERS) if seen.counts.total else Page()
