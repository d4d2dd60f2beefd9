"""The console: what its pages show, to whom, at what cost; and while a store is away."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from model_bakery import baker

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from tests.calls.test_arguments import echo
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)

STATUS = "admin:django_tasks_queue_changelist"
FRAGMENT = "admin:django_tasks_queue_fragment"
RECORD = "admin:django_tasks_taskrecord_change"


def logged_in(*permissions: str, **given: Any) -> Client:
    user = User.objects.create(username="ada", is_staff=True, **given)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    return logged_in(is_superuser=True)


def shown(client: Client, name: str, *arguments: Any) -> str:
    get_broker().settle()
    answer = client.get(reverse(name, args=arguments))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


# -- queue status ------------------------------------------------------------------------------


def test_it_says_how_far_the_rows_are_behind(client: Client, queue: TaskSettings) -> None:
    add.enqueue(1, 2)
    assert re.search(r"rows are [0-9.]+ s behind", shown(client, STATUS))

    mirror(get_broker(), "default", "default")

    assert "all rows are up to date" in shown(client, STATUS)


def test_it_shows_each_queue_and_the_command_that_helps(
    client: Client, queue: TaskSettings
) -> None:
    assert "No queue yet. Enqueue something:" in shown(client, STATUS)

    add.using(queue="mail").enqueue(1, 2)
    page = shown(client, STATUS)

    assert '<tr data-queue="mail">' in page
    assert '<td class="uncut-number" data-name="ready">1</td>' in page
    assert "<code>python manage.py runworker mail</code>" in page
    assert "No worker. Start one:" in page


def test_the_fragment_is_sent_only_when_something_changed(
    client: Client, queue: TaskSettings
) -> None:
    first = client.get(reverse(FRAGMENT))
    tag = first.headers["ETag"]

    again = client.get(reverse(FRAGMENT), headers={"if-none-match": tag})
    add.enqueue(1, 2)
    get_broker().settle()
    then = client.get(reverse(FRAGMENT), headers={"if-none-match": tag})

    assert (again.status_code, again.content) == (304, b"")
    assert then.status_code == 200
    assert 'data-queue="default"' in then.content.decode()
    assert "<html" not in then.content.decode()


def test_with_the_broker_away_it_opens_and_says_so(client: Client, settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}

    assert "The broker does not serve" in shown(client, STATUS)


@pytest.mark.parametrize("name", [STATUS, FRAGMENT])
def test_who_may_not_look_is_refused(queue: TaskSettings, name: str) -> None:
    assert logged_in("view_taskrecord").get(reverse(name)).status_code == 403
    User.objects.all().delete()
    assert logged_in("view_queue").get(reverse(name)).status_code == 200
    assert Client().get(reverse(name)).status_code == 302  # to the log-in


@pytest.mark.parametrize("name", [STATUS, RECORD])
def test_nothing_on_it_runs_or_styles_in_line(
    client: Client, queue: TaskSettings, name: str
) -> None:
    arguments = [add.enqueue(1, 2).id] if name == RECORD else []

    page = shown(client, name, *arguments)
    main = page.partition('id="content"')[2]

    assert "uncut" in main
    assert "<style" not in page
    for forbidden in (" style=", "<style", "onclick=", "javascript:"):
        assert forbidden not in main
    assert "<script>" not in main


def test_the_same_few_queries_whatever_is_queued(client: Client, queue: TaskSettings) -> None:
    def cost() -> int:
        get_broker().settle()
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse(FRAGMENT))
        return len(queries)

    few = cost()
    for number in range(50):
        add.enqueue(number, 1)

    assert cost() == few == 4  # the session, the user, and two of ours


# -- a record's page ---------------------------------------------------------------------------


def test_a_records_page_says_why_and_what_is_where(client: Client, queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)

    page = shown(client, RECORD, result.id)

    assert "No worker takes default: python manage.py runworker default" in page
    assert f"<code>{queue.prefix}:{{default}}:ready</code>" in page
    assert '<span class="uncut-badge">differs</span>' in page  # the row says PENDING still
    assert "<code>[1,2]</code>" in page


def test_what_a_task_supplies_is_inert_and_bounded(client: Client, queue: TaskSettings) -> None:
    hostile = "<script>alert(1)</script>\u202e\x1b[2J" + "x" * 100_000
    result = echo.enqueue(hostile, "b", key="c")

    page = shown(client, RECORD, result.id)

    assert "<script>alert" not in page
    where = page.partition('id="uncut-where"')[2]
    assert "characters)" in where
    assert "\u202e" not in where
    assert len(where) < 20_000


def test_a_records_page_opens_while_the_broker_is_away(client: Client, settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}
    record = baker.make(TaskRecord, status="READY")

    page = shown(client, RECORD, record.pk)

    assert "The broker does not serve" in page
    assert "None: the broker does not know it." in page


def test_a_running_one_shows_its_holders_lease(client: Client, queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)
    get_broker().settle()
    hands = Broker(queue)
    hands.beat(["default"], ["host:1"], register=True)
    hands.claim("default", "host:1")

    page = shown(client, RECORD, result.id)

    assert "Claimed by host:1 " in page
    assert '<th scope="row">holder</th><td></td><td>host:1</td>' in page
    assert '<th scope="row">held since</th>' in page
    assert "holder&#x27;s lease ends in" in page or "holder's lease ends in" in page
    hands.close()
