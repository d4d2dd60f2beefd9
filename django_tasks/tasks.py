"""Our own background tasks: a deed on all that match a filter, and the purge of a long queue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_tasks.bridge import actions
from django_tasks.bridge.deeds import Deed, Done
from django_tasks.calls.context import TaskContext
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


def _told(done: Done) -> dict[str, Any]:
    return {
        "matched": done.matched,
        "changed": done.changed,
        "told": done.told,
        "skipped": dict(done.skipped),
    }
