"""Records in Django's admin: to be looked at by staff, not edited."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from django_tasks.models import TaskAttempt, TaskRecord

pytestmark = pytest.mark.django_db

LIST = "admin:django_tasks_taskrecord_changelist"
PAGE = "admin:django_tasks_taskrecord_change"
DEEDS = ("add", "change", "delete")


@pytest.fixture
def record() -> TaskRecord:
    made = TaskRecord.objects.create(
        task_name="shop.tasks.send",
        description="send(42, 'a\x00b')",
        queue_name="mail",
        status="FAILED",
        args=[42, "a\x00b\ud800"],
        error_message="no such <user> \ud800",
        traceback="Traceback\nValueError \ud800",
    )
    TaskAttempt.objects.create(
        record=made,
        number=1,
        fence=9,
        outcome="failed",
        consumer="host:1",
        error_message="why \ud800\x00",
    )
    return made


def logged_in(**given: Any) -> Client:
    user = User.objects.create(username="ada", is_staff=True, **given)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    """Staff that may do everything."""
    return logged_in(is_superuser=True)


def test_the_list_shows_calls_and_what_came_of_them(client: Client, record: TaskRecord) -> None:
    page = client.get(reverse(LIST))

    assert page.status_code == 200
    shown = page.content.decode()
    for text in ("send(42", "Failed", "mail"):
        assert text in shown


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=FAILED", 1),
        ("state=READY", 0),
        ("queue=mail", 1),
        ("q=shop.tasks.send", 1),
        ("q=nothing", 0),
    ],
)
def test_the_list_is_filtered_and_searched(
    client: Client, record: TaskRecord, query: str, count: int
) -> None:
    page = client.get(f"{reverse(LIST)}?{query}")

    assert page.status_code == 200
    assert len(page.context["cl"].result_list) == count


def test_a_record_is_found_by_its_id(client: Client, record: TaskRecord) -> None:
    TaskRecord.objects.create(task_name="other")

    page = client.get(reverse(LIST), {"q": str(record.id)})

    assert [one.id for one in page.context["cl"].result_list] == [record.id]


def test_a_records_page_shows_all_of_it_and_its_runs(client: Client, record: TaskRecord) -> None:
    page = client.get(reverse(PAGE, args=[record.id]))

    assert page.status_code == 200
    shown = page.content.decode()
    for text in ("shop.tasks.send", "no such &lt;user&gt; \\ud800", "Traceback", "host:1"):
        assert text in shown
    assert "why \\ud800\\x00" in shown  # of its one attempt
    record.refresh_from_db()
    assert record.args == [42, "a\x00b\ud800"]
    assert '<input type="text"' not in shown
    assert "<textarea" not in shown
    assert 'name="_save"' not in shown


def test_nobody_edits_by_hand(client: Client, record: TaskRecord) -> None:
    base = reverse(LIST)

    answers = [
        client.post(reverse(PAGE, args=[record.id]), {"status": "READY"}).status_code,
        client.post(f"{base}add/", {"task_name": "x"}).status_code,
        client.post(f"{base}{record.id}/delete/", {"post": "yes"}).status_code,
    ]
    client.post(base, {"action": "delete_selected", "_selected_action": [str(record.id)]})

    assert answers == [403, 403, 403]
    record.refresh_from_db()
    assert record.status == "FAILED"
    assert TaskRecord.objects.count() == 1


def test_staff_needs_the_permission_to_look(record: TaskRecord) -> None:
    client = logged_in()
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse(PAGE, args=[record.id])).status_code == 403

    User.objects.get().user_permissions.set(
        Permission.objects.filter(codename__in=("view_taskrecord", "view_taskattempt"))
    )

    assert client.get(reverse(LIST)).status_code == 200
    assert client.get(reverse(PAGE, args=[record.id])).status_code == 200


def test_others_are_sent_to_the_login(record: TaskRecord) -> None:
    answer = Client().get(reverse(LIST))

    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]
