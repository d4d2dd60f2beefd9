"""Workflows in the admin: cancel, retry what failed; who may do it, and who may look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from django_tasks import chain, tasks
from django_tasks.bridge.deeds import Deed
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord, Workflow
from django_tasks.worker.burst import burst
from tests.ops.joined import chord, members, workflow
from tests.tasks import add
from tests.test_console import logged_in
from tests.workflow_pages import (
    LIST,
    LOOKS,
    RECORDS,
    deed_of,
    page_of,
    part_of,
    record_url,
    shown,
    text_of,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


@pytest.fixture
def enqueued(queue: TaskSettings) -> Callable[..., Workflow]:
    """A chain of additions, in the broker and in its rows."""

    def enqueue(count: int = 3) -> Workflow:
        chain(add.s(1, 2), *(add.s(1) for _ in range(count - 1))).enqueue(name="sums")
        get_broker().settle()
        mirror(get_broker(), "default", "default")
        return Workflow.objects.get()

    return enqueue


def test_a_cancel_is_asked_about_done_and_logged(client: Client, enqueued: Any) -> None:
    made = enqueued()
    assert deed_of(made, "cancel") in shown(client, page_of(made))
    assert deed_of(made, "retry") not in shown(client, page_of(made))

    asked = shown(client, deed_of(made, "cancel"))
    assert "What waits is cancelled: 3. What runs is told to end: 0." in asked
    assert "csrfmiddlewaretoken" in asked
    assert not TaskRecord.objects.filter(status="CANCELLED").exists()
    answer = client.post(deed_of(made, "cancel"), {"reason": "wrong file"}, follow=True)

    assert answer.redirect_chain == [(page_of(made), 302)]
    assert "Cancel: 3 records changed." in text_of(answer)
    assert set(TaskRecord.objects.values_list("status", flat=True)) == {"CANCELLED"}
    record = TaskRecord.objects.first()
    assert record is not None
    assert (record.metadata["deed"]["by"], record.metadata["deed"]["reason"]) == (
        "ada",
        "wrong file",
    )
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (str(made.pk), "sums")
    assert entry.get_change_message() == "Cancel. wrong file"


def test_what_failed_is_retried_and_what_could_not_run_since_with_it(
    client: Client, queue: TaskSettings
) -> None:
    chain(add.using(retries=0).s(1, "x"), add.s(1)).enqueue(name="sums")
    get_broker().settle()
    burst(queue, ["default"])
    made = Workflow.objects.get()
    assert "1 record failed or expired: it runs again" in shown(client, deed_of(made, "retry"))

    answer = client.post(deed_of(made, "retry"), {"reason": ""}, follow=True)

    assert "Retry failed: 1 record changed." in text_of(answer)
    assert set(TaskRecord.objects.filter(workflow=made).values_list("round", flat=True)) == {2}
    assert LogEntry.objects.get().get_change_message() == "Retry failed."


@pytest.mark.parametrize("deed", ["cancel", "retry"])
def test_a_large_one_is_handed_to_a_worker(client: Client, queue: TaskSettings, deed: str) -> None:
    states = ["FAILED"] * 600 if deed == "retry" else ["PENDING"] * 600
    made = workflow("large", "group")
    members(made, ["tests.tasks.add"] * 600, states, queue_name="elsewhere")
    assert "A worker does it in the background" in shown(client, deed_of(made, deed))

    answer = client.post(deed_of(made, deed), {"reason": "why"}, follow=True)

    assert "of 600 records goes on in the background" in text_of(answer)
    assert not TaskRecord.objects.filter(workflow=made).exclude(status__in=states).exists()
    get_broker().settle()
    burst(queue, ["default"])
    call = TaskRecord.objects.get(task_name="django_tasks.tasks.carry_out_workflow")
    assert (call.status, call.return_value["changed"]) == ("SUCCESSFUL", 600)
    rows = TaskRecord.objects.filter(workflow=made)
    assert rows.filter(metadata__deed__reason="why").count() == 600
    wanted = {"status": "CANCELLED"} if deed == "cancel" else {"round": 2}
    assert rows.filter(**wanted).count() == 600
    assert LogEntry.objects.count() == 1


def test_another_deed_on_a_workflow_is_none(client: Client, enqueued: Any) -> None:
    made = enqueued()

    assert client.get(deed_of(made, "discard")).status_code == 404
    assert client.get(deed_of(made, "explode")).status_code == 404
    with pytest.raises(ValueError, match="no deed on a workflow"):
        tasks.do_to_workflow(Deed.DISCARD, made.pk, "default", {})


def test_while_the_broker_is_away_a_cancel_says_so(
    client: Client, enqueued: Any, settings: Any
) -> None:
    made = enqueued()
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": "redis://127.0.0.1:1/0"}

    answer = client.post(deed_of(made, "cancel"), {"reason": ""}, follow=True)

    assert "does not serve" in text_of(answer)
    assert not LogEntry.objects.exists()
    assert not TaskRecord.objects.filter(status="CANCELLED").exists()


# -- who may ---------------------------------------------------------------------------------------


def test_who_may_look_sees_all_and_can_do_nothing(queue: TaskSettings) -> None:
    reader = logged_in(*LOOKS)
    made, _ = chord(1, ["FAILED", "PENDING"])

    for address in (LIST, page_of(made), part_of(made)):
        assert "/deed/" not in shown(reader, address)
    for deed in ("cancel", "retry"):
        assert reader.post(deed_of(made, deed), {"reason": ""}).status_code == 403
    for name in ("add", "delete"):
        address = f"{LIST}add/" if name == "add" else f"{LIST}{made.pk}/delete/"
        assert reader.get(address).status_code == 403
    assert reader.post(page_of(made)).status_code == 403
    assert TaskRecord.objects.filter(status="FAILED").count() == 1


@pytest.mark.parametrize("permissions", [(), ("view_workflow",), ("view_taskrecord",)])
def test_who_may_not_look_at_both_sees_none(queue: TaskSettings, permissions: Any) -> None:
    stranger = logged_in(*permissions)
    made, (record, _) = chord(1)

    for address in (LIST, page_of(made), part_of(made)):
        assert stranger.get(address).status_code == 403
    if "view_taskrecord" in permissions:
        page = shown(stranger, record_url(record))
        assert page_of(made) not in page
        assert "thumbnails" in page
        assert "in a workflow" not in shown(stranger, RECORDS)


@pytest.mark.parametrize("deed", ["cancel", "retry"])
def test_each_deed_needs_the_records_permission(queue: TaskSettings, deed: str) -> None:
    person = logged_in(*LOOKS, f"{deed}_taskrecord")
    made, _ = chord(1, ["FAILED", "PENDING"])

    page = shown(person, page_of(made))

    assert [one for one in ("cancel", "retry") if deed_of(made, one) in page] == [deed]
    for other in ("cancel", "retry"):
        status = person.get(deed_of(made, other)).status_code
        assert status == (200 if other == deed else 403)


def test_only_a_person_of_the_staff_may_open_anything(queue: TaskSettings) -> None:
    made, _ = chord(1)

    for address in (LIST, page_of(made), part_of(made), deed_of(made, "cancel")):
        assert Client().get(address).status_code == 302
