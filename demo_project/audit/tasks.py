"""The audit as a workflow: for each distribution verify → licence → count lines, side by side; and
then the report.

All may run more than once (tasks are at-least-once). So each fills in a row that exists already,
and changes none that is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import Distribution, PackageNotFoundError
from typing import Any

from django.db import transaction
from django.utils import timezone

from demo_project.audit import inspection
from demo_project.audit.models import Audit, DistributionReport
from demo_project.audit.report import compile_report
from django_tasks import chain, django_task, group, workflow

QUEUE = "audit"

Found = dict[str, Any]  # of one distribution: each step adds to it and hands it on


def start_audit(names: Sequence[str] = ()) -> Audit:
    """Start an audit of these distributions (none named: all that are installed).

    Its rows and its tasks are written in one transaction: all or nothing."""
    names = names or inspection.installed_names()
    with transaction.atomic():
        audit = Audit.objects.create()
        with workflow(f"Audit {audit.pk}") as w:
            counted = w.add(
                group(
                    chain(
                        verify.s(audit.pk, name),
                        read_licence.s(audit.pk, name),
                        count_lines.s(audit.pk, name),
                    )
                    for name in names
                )
            )
            report = w.add(write_report.s(audit.pk), after=counted)
        audit.workflow_id, audit.report_task_id = w.id, report.id
        audit.save(update_fields=["workflow_id", "report_task_id"])
        DistributionReport.objects.bulk_create(
            DistributionReport(audit=audit, name=name, task_id=result.id)
            for name, result in zip(names, counted, strict=True)
        )
    return audit


@django_task(queue=QUEUE, retries=2)
def verify(audit_id: int, name: str) -> Found:
    """Hold every file of one distribution against what was published."""
    distribution = _installed(name)
    if distribution is None:
        # Uninstalled since the audit began: worth a line in the report, not a failed task.
        found = inspection.Verification(unverified=["was uninstalled during the audit"])
    else:
        found = inspection.verify(distribution)
    _fill_in(audit_id, name, **asdict(found))
    return {"files": found.files, "verified": found.verified, "problems": len(found.problems)}


@django_task(queue=QUEUE, retries=2)
def read_licence(found: Found, audit_id: int, name: str) -> Found:
    """Read under which licence it is."""
    distribution = _installed(name)
    licence = inspection.licence_in(distribution) if distribution else "not stated"
    _fill_in(audit_id, name, licence=licence)
    return {**found, "licence": licence}


@django_task(queue=QUEUE, retries=2)
def count_lines(found: Found, audit_id: int, name: str) -> Found:
    """Count its lines by language; then it is inspected."""
    distribution = _installed(name)
    lines = inspection.count_lines(distribution) if distribution else {}
    _fill_in(audit_id, name, lines=lines, inspected_at=timezone.now())
    return {**found, "lines": sum(lines.values())}


@django_task(queue=QUEUE, retries=2)
def write_report(found: list[Found], audit_id: int) -> dict[str, Any]:
    """Write the report from the audit's rows, unless an earlier run of this task did."""
    with transaction.atomic():
        audit = Audit.objects.select_for_update().filter(pk=audit_id).first()
        if audit is None:
            return {"dropped": f"audit {audit_id} was deleted"}
        if audit.finished_at is None:
            audit.report = compile_report(audit.distributions.all())
            audit.finished_at = timezone.now()
            audit.save(update_fields=["report", "finished_at"])
    return {"distributions": len(found), "is_sound": audit.report["is_sound"]}


def _installed(name: str) -> Distribution | None:
    try:
        return inspection.locate(name)
    except PackageNotFoundError:
        return None


def _fill_in(audit_id: int, name: str, **columns: Any) -> None:
    """Of an audit that was deleted meanwhile there is no row, and nothing to do."""
    rows = DistributionReport.objects.filter(audit=audit_id, name=name, inspected_at=None)
    rows.update(**columns)
