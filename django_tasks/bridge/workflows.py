"""Records joined to others: the row of their workflow, and the edges of their drafts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from django_tasks.bridge.edges import Edge
from django_tasks.bridge.outbox import Draft
from django_tasks.models import Workflow
from django_tasks.models.record import new_id


def join(child: Draft, parent: UUID, queue: str, policy: str, position: int | None) -> None:
    """``child`` waits for the record ``parent``, of that queue; ``position``: of its value, None
    for none."""
    record = child.record
    child.edges.append(Edge(parent, queue, record.id, record.queue_name, policy, position))


@contextmanager
def written(kind: str, name: str, drafts: Sequence[Draft]) -> Iterator[UUID]:
    """The workflow of these drafts, whose rows are written inside of it: all or nothing. A call
    alone, which only waits for others, makes none."""
    workflow = Workflow(id=new_id(), kind=kind, name=name[:200])
    database = drafts[0].database
    with transaction.atomic(using=database):
        if len(drafts) > 1 or kind != Workflow.Kind.GRAPH:
            for draft in drafts:
                draft.record.workflow_id = workflow.id
            workflow.save(using=database, force_insert=True)
        yield workflow.id
