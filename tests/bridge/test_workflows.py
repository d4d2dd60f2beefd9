"""What became of a workflow is read from its records; it is cancelled, and retried, as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from model_bakery import baker

from django_tasks import chain, chord, django_task, group
from django_tasks.bridge import workflows
from django_tasks.bridge.mirror import mirror
from django_tasks.conf import TaskSettings
from django_tasks.errors import TaskFailed
from django_tasks.models import TaskDependency, TaskRecord, Workflow
from django_tasks.models.workflow import NOT_NEEDED, Counts
from django_tasks.states import FINAL
from tests.calls.conftest import work as work
from tests.calls.test_workflows import add, shown, states, total

pytestmark = pytest.mark.django_db(transaction=True)

is_broken = True


@django_task(name="flow.mended", retries=0)
def mended(value: int) -> int:
    if is_broken:
        raise ValueError("broken")
    return value


def made(*statuses: str) -> Workflow:
    workflow = baker.make(Workflow)
    for status in statuses:
        at = timezone.now() if status in FINAL else None
        baker.make(TaskRecord, workflow=workflow, status=status, finished_at=at)
    return workflow


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["SUCCESSFUL", "READY"], "RUNNING"),
        (["FAILED", "DEFERRED"], "RUNNING"),
        (["SUCCESSFUL", "SUCCESSFUL"], "SUCCESSFUL"),
        (["SUCCESSFUL", "FAILED", "CANCELLED"], "FAILED"),
        (["SUCCESSFUL", "EXPIRED"], "FAILED"),
        (["SUCCESSFUL", "CANCELLED"], "CANCELLED"),
    ],
)
def test_a_workflows_status_is_read_from_its_records(statuses: list[str], said: str) -> None:
    workflow = made(*statuses)
    made("FAILED"), made("RUNNING")  # others

    assert workflow.status == said
    assert (workflow.finished_at is None) == (said == "RUNNING")
    scopes = {
        "RUNNING": Workflow.objects.running(),
        "SUCCESSFUL": Workflow.objects.successful(),
        "FAILED": Workflow.objects.failed(),
        "CANCELLED": Workflow.objects.cancelled(),
    }
    assert [word for word, found in scopes.items() if workflow in found] == [said]


def test_a_callback_that_nothing_called_for_spoils_nothing() -> None:
    workflow = made("SUCCESSFUL")
    baker.make(TaskRecord, workflow=workflow, status="CANCELLED", error_class=NOT_NEEDED)

    assert workflow.counts == Counts({"SUCCESSFUL": 1, "CANCELLED": 1}, not_needed=1)
    assert workflow.status == "SUCCESSFUL"
    assert Workflow.objects.successful().get() == workflow


def test_many_workflows_are_counted_by_two_statements(django_assert_num_queries: Any) -> None:
    all_of_them = [made("SUCCESSFUL", "CANCELLED") for _ in range(20)]

    with django_assert_num_queries(3):  # their ids, and two
        counts = Workflow.objects.counts()

    assert {one.pk for one in all_of_them} == set(counts)
    assert {one.total for one in counts.values()} == {2}


def test_what_a_live_workflow_needs_is_not_unneeded() -> None:
    finished, live = made("SUCCESSFUL", "FAILED"), made("SUCCESSFUL", "READY")
    alone, waited_for = baker.make(TaskRecord, _quantity=2, status="SUCCESSFUL")
    child = baker.make(TaskRecord, status="DEFERRED")
    baker.make(TaskDependency, parent=waited_for, child=child)

    assert set(TaskRecord.objects.unneeded()) == {*finished.records.all(), alone}

    live.records.update(status="SUCCESSFUL")
    TaskRecord.objects.filter(pk=child.pk).update(status="CANCELLED")
    assert TaskRecord.objects.unneeded().count() == TaskRecord.objects.count() == 7


def test_cancel_takes_all_that_has_not_run_and_no_callback_runs(
    work: Callable[..., None], queue: TaskSettings
) -> None:
    first = add.using(on_cancelled=shown.s()).s(1, 2)
    chord([first, add.s(3, 4)], total.using(on_failure=shown.s()).s()).enqueue(name="doomed")
    workflow = Workflow.objects.get(name="doomed")

    done = workflows.cancel(workflow.pk, "default", by="me", reason="no more")

    assert (done.changed, done.told) == (5, 0)
    work("default")
    assert set(states()) == {"CANCELLED"}
    assert workflow.status == "CANCELLED"
    assert {one.metadata["deed"]["reason"] for one in workflow.records.all()} == {"no more"}


def test_what_has_ended_is_left_by_a_cancel(work: Callable[..., None], queue: TaskSettings) -> None:
    chain(add.s(1, 2), add.s(3)).enqueue()
    work("default", max_tasks=1)

    workflows.cancel(Workflow.objects.get().pk, "default")

    assert states() == ["SUCCESSFUL", "CANCELLED"]


def test_retry_failed_runs_only_the_failed_branches_again_and_what_could_not_run_since(
    work: Callable[..., None], queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = group(add.s(1, 2), *(chain(mended.s(n), add.s(1)) for n in (10, 20)))
    result = chord(header, total.s()).enqueue()
    work("default")
    with pytest.raises(TaskFailed):
        result.get(0)
    workflow = Workflow.objects.get()
    assert workflow.status == "FAILED"

    monkeypatch.setattr("tests.bridge.test_workflows.is_broken", False)
    done = workflows.retry_failed(workflow.pk, "default")
    work("default")

    assert done.matched == 2
    assert result.get(0) == 3 + 11 + 21
    assert workflow.status == "SUCCESSFUL"
    rounds = workflow.records.order_by("id").values_list("round", flat=True)
    assert list(rounds) == [1, 2, 2, 2, 2, 2]


def test_retry_failed_knows_what_the_mirror_has_not_copied_yet(
    work: Callable[..., None], queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = chain(mended.s(1), add.s(1)).enqueue()
    monkeypatch.setattr("django_tasks.worker.keeper.mirror", lambda *_, **__: 0)
    work("default")
    assert "FAILED" not in states()

    monkeypatch.setattr("tests.bridge.test_workflows.is_broken", False)
    done = workflows.retry_failed(Workflow.objects.get().pk, "default")

    assert done.changed == 1
    monkeypatch.setattr("django_tasks.worker.keeper.mirror", mirror)
    work("default")
    assert result.get(0) == 2
