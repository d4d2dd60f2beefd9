"""What a running task may do with its own workflow: add to it, or be replaced by another call.

Ids derive from the record, its round and an ordinal: a run that is repeated adds nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID

from django.db import transaction

from django_tasks.calls import registry
from django_tasks.calls.canvas import (
    Element,
    Node,
    backend_of,
    checked_element,
    earlier,
    lay,
)
from django_tasks.calls.handle import WorkflowHandle
from django_tasks.calls.signature import Signature
from django_tasks.calls.workflows import lay_down, write
from django_tasks.errors import InvalidWorkflow
from django_tasks.states import Policy


class OwnWorkflow:
    """Of one run. ``replacement``: what is to take the task's place once it returned."""

    def __init__(self, record_id: str, database: str, *, is_atomic: bool = False) -> None:
        self.record_id = UUID(record_id)
        self.database = database
        self.is_atomic = is_atomic
        self.replacement: Element | None = None
        self._handle: WorkflowHandle | None = None

    @property
    def handle(self) -> WorkflowHandle:
        """Raises ``InvalidWorkflow`` if the task belongs to none."""
        if self._handle is None:
            record = self._record()
            if record.workflow is None:
                raise InvalidWorkflow(
                    f"The call {self.record_id} belongs to no workflow, and nothing can be added."
                    " Enqueue it as a part of one: `with workflow(…) as w: w.add(…)`, or a chain."
                )
            self._handle = WorkflowHandle(record.workflow, self._ids(record.round, "add"))
        return self._handle

    def replace(self, call: Element) -> None:
        """Raises ``InvalidWorkflow``."""
        checked_element(call)
        if self.is_atomic:
            raise InvalidWorkflow(
                "A task with atomic=True is finished in its own transaction and can't be replaced."
                " Add to its workflow instead: context.workflow.add(…)."
            )
        if self.replacement is not None:
            raise InvalidWorkflow("This run is replaced already; one call can take its place.")
        self.replacement = call

    def hand_over(self) -> str:
        """Write what replaces the record, and make it the one that others wait for; it runs once
        the record is acknowledged. Returns the id of the record whose value counts.

        Raises ``BrokerError``, and what an enqueue raises. It may be repeated."""
        from django_tasks.bridge import edges, workflows
        from django_tasks.broker import get_broker

        assert self.replacement is not None
        record = self._record()
        nodes: list[Node] = []
        shape = lay(self.replacement, nodes, None)
        if not isinstance(shape, Node):  # of a group: one that has the list of its values
            shape = lay(Signature(gather(record)), nodes, shape)
        assert isinstance(shape, Node)
        own = earlier(record)
        for node in nodes:
            if not any(isinstance(parent, Node) for parent, _ in node.parents):
                node.parents.append((own, Policy.SUCCESS.value))
        backend = backend_of(nodes)
        drafts = lay_down(backend, nodes, self._ids(record.round, "replace"))
        pairs = [(node.signature.task, draft) for node, draft in zip(nodes, drafts, strict=True)]
        heir: UUID = dict(zip(map(id, nodes), drafts, strict=True))[id(shape)].record.id
        known = workflows.known_ids([draft.record.id for draft in drafts], self.database)
        with transaction.atomic(using=self.database):
            workflows.hand_over(record, heir, drafts, self.database)
            new = [pair for pair in pairs if pair[1].record.id not in known]
            if new:
                made = [draft for _, draft in new]
                with workflows.written(record.workflow, made):
                    write(backend, [task for task, _ in new], made)
        edges.hand_over_in_broker(get_broker(backend.alias), str(record.pk), heir, self.database)
        return str(heir)

    def _ids(self, round_: int, what: str) -> Iterator[UUID]:
        from django_tasks.models.record import derived_id

        return (derived_id(self.record_id, round_, what, ordinal) for ordinal in count())

    def _record(self) -> Any:
        from django_tasks.models import TaskRecord

        rows = TaskRecord.objects.using(self.database) if self.database else TaskRecord.objects
        record = rows.select_related("workflow").filter(pk=self.record_id).first()
        if record is None or not self.database:
            raise InvalidWorkflow(
                f"The call {self.record_id} has no row yet, and a workflow is made of rows: give"
                " its task record='first'."
            )
        return record


def gather(record: Any) -> Any:
    """The task that returns what it is given, the values of a group as one; it runs where the
    record ran, since other queues may have no worker."""
    found = registry.load("django_tasks.tasks").gather
    alias = record.metadata.get("backend", "default")
    return replace(found, queue_name=record.queue_name, backend=alias)
