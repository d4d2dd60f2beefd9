"""Workflows: the row of one, the edges of its drafts; and what a person does to all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from django_tasks.bridge import actions, mirror
from django_tasks.bridge.actions import Tell
from django_tasks.bridge.deeds import Done
from django_tasks.bridge.edges import Edge
from django_tasks.bridge.outbox import Draft
from django_tasks.bridge.translate import alias_of
from django_tasks.broker import get_broker
from django_tasks.errors import BrokerError, InvalidWorkflow
from django_tasks.models import TaskDependency, TaskRecord, Workflow
from django_tasks.models.record import TaskRecordQuerySet
from django_tasks.states import FINAL, State


def join(child: Draft, parent: UUID, queue: str, policy: str, position: int | None) -> None:
    """``child`` waits for the record ``parent``, of that queue; ``position``: of its value, None
    for none."""
    record = child.record
    child.edges.append(Edge(parent, queue, record.id, record.queue_name, policy, position))


@contextmanager
def written(workflow: Workflow | None, drafts: Sequence[Draft]) -> Iterator[None]:
    """The row of a new workflow; those of its drafts are written inside of it: all or nothing."""
    database = drafts[0].database
    is_new = workflow is not None and workflow._state.adding
    try:
        with transaction.atomic(using=database):
            if workflow is not None:
                for draft in drafts:
                    draft.record.workflow_id = workflow.id
            if workflow is not None and is_new:
                workflow.save(using=database, force_insert=True)
            yield
    except BaseException:
        if workflow is not None:
            workflow._state.adding = is_new
        raise


def known_ids(ids: Iterable[UUID], using: str) -> set[UUID]:
    """Of these records those that have a row."""
    return set(TaskRecord.objects.using(using).filter(pk__in=ids).values_list("pk", flat=True))


def hand_over(record: TaskRecord, heir: UUID, drafts: Sequence[Draft], using: str) -> None:
    """Whoever waits for the record waits for ``heir``, one of ``drafts``, on the same terms. In the
    transaction that writes these; ``edges.hand_over_in_broker`` follows it.

    Raises ``InvalidWorkflow`` if the row is final: a run that was given up does not count."""
    metadata = {**(record.metadata or {}), "replaced_by": str(heir)}
    rows = TaskRecord.objects.using(using).filter(pk=record.pk, round=record.round)
    if rows.exclude(status__in=FINAL).update(metadata=metadata) != 1:
        raise InvalidWorkflow(f"The call {record.pk} has ended meanwhile: nothing replaces it.")
    waiting = TaskDependency.objects.using(using).filter(parent=record.pk)
    waiting.exclude(child__in=[draft.record.id for draft in drafts]).update(parent=heir)


def cancel(
    workflow_id: UUID,
    using: str,
    *,
    terminate: bool = False,
    by: str = "",
    reason: str = "",
    tell: Tell | None = None,
) -> Done:
    """Cancel all that has not run, callbacks too, and ask what runs to stop; what had ended stays.
    Raises ``BrokerUnavailable``."""
    # Dependents first: the end of a parent would let its callbacks go.
    return actions.cancel(
        _records(workflow_id, using).unfinished(),
        terminate=terminate,
        by=by,
        reason=reason,
        tell=tell,
        is_newest_first=True,
    )


def retry_failed(
    workflow_id: UUID,
    using: str,
    *,
    by: str = "",
    reason: str = "",
    tell: Tell | None = None,
) -> Done:
    """Run again what failed or expired, and then what could not run since; all else stays."""
    catch_up(workflow_id, using)
    failed = _records(workflow_id, using).filter(status__in=(State.FAILED, State.EXPIRED))
    return actions.retry(failed, by=by, reason=reason, tell=tell)


def catch_up(workflow_id: UUID, using: str) -> None:
    """Its rows say what the broker knows by now; where that is away, what they did."""
    groups: dict[tuple[str, str], list[str]] = {}
    for record in _records(workflow_id, using).unfinished().only("id", "queue_name", "metadata"):
        groups.setdefault((alias_of(record), record.queue_name), []).append(str(record.id))
    for (alias, queue), ids in groups.items():
        try:
            mirror.copy(get_broker(alias), queue, using, ids)
        except BrokerError:
            return


def _records(workflow_id: UUID, using: str) -> TaskRecordQuerySet:
    return TaskRecord.objects.using(using).filter(workflow=workflow_id)
