"""The audit's tasks: one workflow, and each safe to run twice."""

from __future__ import annotations

import pytest

from demo_project.audit.models import Audit, DistributionReport
from demo_project.audit.tasks import count_lines, start_audit, write_report
from django_tasks.models import TaskRecord, Workflow

from .conftest import Publish, inspect_distribution

pytestmark = pytest.mark.django_db


def test_an_audit_is_a_workflow_of_chains_and_a_last_task_that_waits_for_all() -> None:
    audit = start_audit(["packaging", "redis"])

    workflow = Workflow.objects.get(pk=audit.workflow_id)
    report = workflow.records.get(pk=audit.report_task_id)
    last = list(report.parents.order_by("id"))
    assert workflow.name == f"Audit {audit.pk}"
    assert workflow.records.count() == 3 * 2 + 1
    assert [one.pk for one in last] == [row.task_id for row in audit.distributions.all()]
    for one, name in zip(last, ("packaging", "redis"), strict=True):
        names = []
        while one is not None:
            names.append(one.task_name.rpartition(".")[2])
            assert one.args == [audit.pk, name]
            one = one.parents.first()
        assert names == ["count_lines", "read_licence", "verify"]


def test_tasks_that_run_twice_count_once() -> None:
    audit = start_audit(["packaging", "redis"])

    found = [inspect_distribution(audit.pk, name) for name in ("redis", "packaging", "redis")]
    write_report(found[:2], audit.pk)
    first = Audit.objects.get(pk=audit.pk)
    write_report(found[:2], audit.pk)

    again = Audit.objects.get(pk=audit.pk)
    assert audit.distributions.count() == 2
    assert (again.finished_at, again.report) == (first.finished_at, first.report)
    assert TaskRecord.objects.count() == 7


def test_each_step_hands_on_what_the_earlier_ones_found(publish: Publish) -> None:
    publish("made", files={"made.py": b"x = 1\n"}, headers=["License-Expression: MIT"])
    audit = start_audit(["made"])

    found = inspect_distribution(audit.pk, "made")

    assert found == {"files": 3, "verified": 2, "problems": 0, "licence": "MIT", "lines": 1}
    row = audit.distributions.get()
    assert (row.licence, row.lines, row.version) == ("MIT", {"Python": 1}, "1.0")


def test_a_late_second_run_changes_no_row_that_was_counted(publish: Publish) -> None:
    site = publish("made", files={"made.py": b"x = 1\n"})
    audit = start_audit(["made"])
    inspect_distribution(audit.pk, "made")

    (site / "made.py").unlink()
    inspect_distribution(audit.pk, "made")

    assert audit.distributions.get().problems == []


def test_an_audit_deleted_meanwhile_is_dropped() -> None:
    audit = start_audit(["packaging"])
    pk = audit.pk
    audit.delete()

    found = inspect_distribution(pk, "packaging")
    assert "dropped" in write_report([found], pk)
    assert not DistributionReport.objects.exists()


def test_a_distribution_uninstalled_meanwhile_is_a_line_of_the_report() -> None:
    audit = start_audit(["no-such-distribution-here"])

    found = inspect_distribution(audit.pk, "no-such-distribution-here")
    write_report([found], audit.pk)

    audit.refresh_from_db()
    assert found["licence"] == "not stated"
    assert audit.report["verdict"] == "unverified"
    assert audit.report["unverified"] == [
        {
            "distribution": "no-such-distribution-here",
            "reasons": ["was uninstalled during the audit"],
        }
    ]


def test_lines_alone_can_be_counted_without_a_worker() -> None:
    audit = start_audit(["packaging"])

    assert count_lines({}, audit.pk, "packaging")["lines"] > 1000
