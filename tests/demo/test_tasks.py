"""The audit's tasks: safe to run twice, and exactly one of them enqueues the report."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection

from demo_project.audit.models import Audit, DistributionReport
from demo_project.audit.tasks import inspect_distribution, start_audit, write_report
from django_tasks.models import TaskRecord

from .conftest import Publish

ROUNDS = 10


def reports_enqueued(audit: Audit) -> int:
    return TaskRecord.objects.for_task(write_report).filter(args=[audit.pk]).count()


@pytest.mark.django_db
def test_the_last_distribution_enqueues_the_report() -> None:
    audit = start_audit(["packaging", "redis"])

    inspect_distribution(audit.pk, "redis")
    after_the_first = reports_enqueued(audit)
    inspect_distribution(audit.pk, "packaging")

    audit.refresh_from_db()
    assert after_the_first == 0
    assert reports_enqueued(audit) == 1
    assert TaskRecord.objects.for_task(write_report).get().pk == audit.report_task_id
    assert audit.report == {}


@pytest.mark.django_db
def test_tasks_that_run_twice_count_once() -> None:
    audit = start_audit(["packaging", "redis"])

    for _ in range(3):
        inspect_distribution(audit.pk, "redis")
    unfinished = reports_enqueued(audit)
    for _ in range(3):
        inspect_distribution(audit.pk, "packaging")
    write_report(audit.pk)
    first = Audit.objects.get(pk=audit.pk)
    write_report(audit.pk)

    again = Audit.objects.get(pk=audit.pk)
    assert (unfinished, reports_enqueued(audit)) == (0, 1)
    assert audit.distributions.count() == 2
    assert (again.finished_at, again.report) == (first.finished_at, first.report)


@pytest.mark.django_db
def test_a_late_second_run_changes_no_row_that_was_counted(publish: Publish) -> None:
    site = publish("made", files={"made.py": b"x = 1\n"})
    audit = start_audit(["made"])
    inspect_distribution(audit.pk, "made")

    (site / "made.py").unlink()
    inspect_distribution(audit.pk, "made")

    assert audit.distributions.get().problems == []


@pytest.mark.django_db
def test_an_audit_deleted_meanwhile_is_dropped() -> None:
    audit = start_audit(["packaging"])
    pk = audit.pk
    audit.delete()

    assert "dropped" in inspect_distribution(pk, "packaging")
    assert "dropped" in write_report(pk)
    assert not DistributionReport.objects.exists()


@pytest.mark.django_db
def test_a_distribution_uninstalled_meanwhile_is_a_line_of_the_report() -> None:
    audit = start_audit(["no-such-distribution-here"])

    inspect_distribution(audit.pk, "no-such-distribution-here")
    write_report(audit.pk)

    audit.refresh_from_db()
    assert audit.report["verdict"] == "unverified"
    assert audit.report["unverified"] == [
        {
            "distribution": "no-such-distribution-here",
            "reasons": ["was uninstalled during the audit"],
        }
    ]


@pytest.mark.django_db(transaction=True)
def test_tasks_that_end_at_the_same_time_enqueue_one_report() -> None:
    names = ["iniconfig", "packaging", "pluggy", "sqlparse"]
    counts = []
    for _ in range(ROUNDS):
        audit = start_audit(names)
        together([partial(inspect_distribution, audit.pk, name) for name in names])
        counts.append(reports_enqueued(audit))

    assert counts == [1] * ROUNDS


def together(calls: list[Callable[[], object]]) -> None:
    """Make all calls at once, each in a thread with a connection of its own."""
    gate = threading.Barrier(len(calls))
    errors: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            gate.wait(timeout=30)
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
