"""Our own background tasks: a deed on all that match a filter, the purge of a long queue; and what
workflows need: the values of a group as one, one task called many times."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django_tasks.bridge import actions, workflows
from django_tasks.bridge.deeds import Deed, Done
from django_tasks.calls.context import TaskContext
from django_tasks.calls.registry import find
from django_tasks.calls.task import django_task
from django_tasks.ops import control
from django_tasks.ops.filters import RecordFilter

FIRST = 100  # it may be the backlog of their own queue that they are to take away


@django_task(takes_context=True, retries=3, priority=FIRST)
def carry_out(
    context: TaskContext,
    deed: str,
    wanted: dict[str, str],
    by: str,
    reason: str,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Do a deed to all records that match ``wanted`` (parameters of a ``RecordFilter``), with
    progress. Safe to repeat: what was changed is left as it is."""
    records = RecordFilter.parse(wanted).queryset().exclude(pk=context.result.id)
    total = actions.preview(Deed(deed), records).matched
    done = do(
        Deed(deed),
        records,
        options,
        by=by,
        reason=reason,
        tell=lambda so_far: context.progress(so_far.matched, total, str(so_far)),
    )
    return _told(done)


@django_task(takes_context=True, retries=3, priority=FIRST)
def carry_out_workflow(
    context: TaskContext,
    deed: str,
    workflow: str,
    database: str,
    by: str,
    reason: str,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Cancel a large workflow, or retry what failed of it, with progress. Safe to repeat."""
    done = do_to_workflow(
        Deed(deed),
        UUID(workflow),
        database,
        options,
        by=by,
        reason=reason,
        tell=lambda so_far: context.progress(so_far.matched, None, str(so_far)),
    )
    return _told(done)


@django_task(takes_context=True, retries=3, priority=FIRST)
def purge(context: TaskContext, queue: str, by: str, reason: str, alias: str) -> dict[str, Any]:
    """Cancel all that waits in a queue, with progress."""
    done = control.purge(
        queue,
        by=by,
        reason=reason,
        alias=alias,
        tell=lambda so_far: context.progress(so_far.matched, None, str(so_far)),
    )
    return _told(done)


@django_task
def gather(values: list[Any]) -> list[Any]:
    """What a group that replaced a task returned."""
    return values


@django_task(name="django_tasks.map", takes_context=True)
def call_with_each(context: TaskContext, task: str, items: list[Any]) -> list[Any]:
    """``add.map([…])``: one call after the other, in one run."""
    called = find(task)
    first = [context] if called.takes_context else []
    return [called.call(*first, item) for item in items]


@django_task(name="django_tasks.starmap", takes_context=True)
def call_with_all_of_each(context: TaskContext, task: str, items: list[list[Any]]) -> list[Any]:
    """``add.starmap([(1, 2), …])``: likewise, each item being the arguments of one call."""
    called = find(task)
    first = [context] if called.takes_context else []
    return [called.call(*first, *item) for item in items]


def do(deed: Deed, records: Any, options: dict[str, Any], **given: Any) -> Done:
    """A deed by its word; ``options``: what it takes besides (``terminate``, ``when`` as ISO text,
    ``priority``). Raises as the function of that name in bridge/actions.py."""
    if deed is Deed.RESCHEDULE:
        return actions.reschedule(records, datetime.fromisoformat(options["when"]), **given)
    if deed is Deed.PRIORITIZE:
        return actions.prioritize(records, options["priority"], **given)
    function = getattr(actions, deed.value)
    done: Done = function(records, **options, **given)
    return done


def do_to_workflow(
    deed: Deed, workflow: UUID, database: str, options: dict[str, Any], **given: Any
) -> Done:
    """``CANCEL``: all of it that has not ended; ``RETRY``: what failed of it. Raises as these do in
    bridge/workflows.py, and ``ValueError`` for another deed."""
    if deed is Deed.CANCEL:
        return workflows.cancel(workflow, database, **options, **given)
    if deed is Deed.RETRY:
        return workflows.retry_failed(workflow, database, **options, **given)
    raise ValueError(f"{deed!r} is no deed on a workflow. There are: cancel, retry.")


def _told(done: Done) -> dict[str, Any]:
    return {
        "matched": done.matched,
        "changed": done.changed,
        "told": done.told,
        "skipped": dict(done.skipped),
    }
