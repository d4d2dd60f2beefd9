"""Sensitive arguments are shown by no page of the admin, nor by what a run tells of itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from model_bakery import baker

from django_tasks import django_task, group
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord, Workflow
from django_tasks.worker.burst import burst
from tests.test_console import logged_in

pytestmark = pytest.mark.django_db(transaction=True)

CARD = "4111-1111-1111"
LIST = reverse("admin:django_tasks_taskrecord_changelist")


@django_task(sensitive=("card",), retries=0, takes_context=True)
def charge(context: Any, order: int, card: str) -> None:
    context.progress(1, 2, f"charging {card}")
    context.log("asked the bank for %s", card)
    raise ValueError(f"refused {card}")


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


def pages(client: Client, record_id: Any) -> str:
    addresses = [LIST, reverse("admin:django_tasks_taskrecord_change", args=[record_id])]
    shown = [client.get(address) for address in addresses]
    assert {answer.status_code for answer in shown} == {200}
    return "".join(answer.content.decode() for answer in shown)


def test_pages_progress_and_log_do_not_show_it(
    client: Client, queue: TaskSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    result = charge.enqueue(7, card=CARD)
    get_broker().settle()
    assert CARD not in pages(client, result.id)

    burst(queue, ["default"])

    page = pages(client, result.id)
    assert CARD not in page
    assert CARD not in caplog.text
    assert "asked the bank for ***" in page
    assert "charging ***" in page
    assert "refused ***" in page
    assert TaskRecord.objects.get().kwargs == {"card": CARD}  # the worker needs it


def test_a_description_that_is_older_than_the_option_is_not_shown(client: Client) -> None:
    record = baker.make(
        TaskRecord,
        task_name=charge.task_name,
        description=f"charge(7, '{CARD}')",
        args=[7, CARD],
        status="SUCCESSFUL",
    )

    page = pages(client, record.pk)

    assert CARD not in page
    assert "charge(7, ***)" in page or "charge(7, card=***)" in page


def test_the_admins_own_log_does_not_show_it(client: Client) -> None:
    record = baker.make(
        TaskRecord,
        task_name=charge.task_name,
        description=f"charge(7, '{CARD}')",
        args=[7, CARD],
        status="FAILED",
    )

    address = reverse("admin:django_tasks_taskrecord_deed", args=["retry"])
    client.post(address, {"confirm": "1", "ids": str(record.pk)})

    entry = LogEntry.objects.get()
    assert entry.object_id == str(record.pk)
    assert entry.object_repr == f"{charge.task_name} {record.pk}"


def test_what_an_unreadable_message_held_is_not_shown(client: Client) -> None:
    held = {"task": charge.task_name, "args": f'[7,"{CARD}"]', "kwargs": "{}"}
    record = baker.make(
        TaskRecord, task_name="?", status="FAILED", metadata={"message": held}, dead_letter="why"
    )

    assert CARD not in pages(client, record.pk)


def test_a_workflows_page_does_not_show_it(client: Client, queue: TaskSettings) -> None:
    group(charge.s(7, card=CARD), charge.s(8, card=CARD)).enqueue(name="orders")
    get_broker().settle()
    burst(queue, ["default"])
    made = Workflow.objects.get()
    TaskRecord.objects.update(description=f"charge(7, card='{CARD}')")  # older than the mark

    answer = client.get(reverse("admin:django_tasks_workflow_change", args=[made.pk]))

    page = answer.content.decode()
    assert CARD not in page
    assert "refused ***" in page
    assert "charge(7, card=***)" in page
