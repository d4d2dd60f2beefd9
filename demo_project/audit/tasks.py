"""The audit's tasks: one per distribution, and a last one that writes the report.

All may run more than once (tasks are at-least-once). So each fills in a row that exists already,
and the count that starts the last task is a count of rows, taken under the audit's row lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from typing import Any

from django.db import transaction
from django.utils import timezone

from demo_project.audit.inspection import Inspection, inspect, installed_names
from demo_project.audit.models import Audit, DistributionReport
from demo_project.audit.report import compile_report
from django_tasks import django_task, enqueue_many

QUEUE = "audit"


def start_audit(names: Sequence[str] = ()) -> Audit:
    """Start an audit of these distributions (none named: all that are installed).

    Its rows and its tasks are written in one transaction: all or nothing."""
    names = names or installed_names()
    with transaction.atomic():
        audit = Audit.objects.create()
        results = enqueue_many([inspect_distribution.s(audit.pk, name) for name in names])
        DistributionReport.objects.bulk_create(
            DistributionReport(audit=audit, name=name, task_id=result.id)
            for name, result in zip(names, results, strict=True)
        )
    return audit


@django_task(queue=QUEUE, retries=2)
def inspect_distribution(audit_id: int, name: str) -> dict[str, Any]:
    """Inspect one distribution; who inspects the last one enqueues the report."""
    try:
        found = inspect(name)
    except PackageNotFoundError:
        # Uninstalled since the audit began: worth a line in the report, not a failed task.
        gone = ["was uninstalled during the audit"]
        found = Inspection(name, "", "not stated", unverified=gone)
    columns = asdict(found)
    del columns["name"]  # as the audit was started with
    with transaction.atomic():
        # The lock first: without it two tasks that finish at the same time would each count
        # without the other's row, and neither would enqueue the report.
        audit = Audit.objects.select_for_update().filter(pk=audit_id).first()
        if audit is None:
            return {"dropped": f"audit {audit_id} was deleted"}
        waiting = audit.distributions.filter(inspected_at=None)
        waiting.filter(name=name).update(**columns, inspected_at=timezone.now())
        if audit.report_task_id is None and not waiting.exists():
            audit.report_task_id = write_report.enqueue(audit_id).id
            audit.save(update_fields=["report_task_id"])
    return {"files": found.files, "verified": found.verified, "problems": len(found.problems)}


@django_task(queue=QUEUE, retries=2)
def write_report(audit_id: int) -> dict[str, Any]:
    """Write the report from the audit's rows, unless an earlier run of this task did."""
    with transaction.atomic():
        audit = Audit.objects.select_for_update().filter(pk=audit_id).first()
        if audit is None:
            return {"dropped": f"audit {audit_id} was deleted"}
        if audit.finished_at is None:
            audit.report = compile_report(audit.distributions.all())
            audit.finished_at = timezone.now()
            audit.save(update_fields=["report", "finished_at"])
    return {"distributions": audit.report["distributions"], "is_sound": audit.report["is_sound"]}
