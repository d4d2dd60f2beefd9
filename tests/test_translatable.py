"""Every word that the console says can be translated: under a language that marks each one, none
is left unmarked."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from django_tasks.bridge.deeds import Deed
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.models.workflow import NOT_NEEDED
from django_tasks.ops.control import pause
from django_tasks.states import State
from tests.ops.joined import join, members, workflow
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)
# What is the same in every language: names, units, what a task or a server supplied.
SAME = set("mail imports tests tasks add s min h d MB kB GB bytes Valkey noeviction anna".split())
# What the two stores call their own things, on a record's page.
STORED = set("PENDING READY FAILED status revision fence round attempt lost default".split())
STORED |= set("hash sorted set fields".split())
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MARKED = re.compile(r"⟦[^⟦⟧]*⟧")


@pytest.fixture
def marking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language in which each text is the English one, in brackets."""
    functions: Any = translation._trans  # type: ignore[attr-defined]
    for name, pick in {
        "gettext": lambda text: text,
        "pgettext": lambda context, text: text,
        "ngettext": lambda one, many, count: one if count == 1 else many,
        "npgettext": lambda context, one, many, count: one if count == 1 else many,
    }.items():

        def marked(*given: Any, pick: Any = pick) -> str:
            return f"⟦{pick(*given)}⟧"

        monkeypatch.setattr(functions, name, marked)


def unmarked(html: str) -> set[str]:
    """The words that no translation brought; commands and values as they are written apart."""
    text = re.sub(r"(?s)<(code|script|style)\b.*?</\1>|<[^>]*>", " ", html)
    text = unescape(text)
    while MARKED.search(text):
        text = MARKED.sub(" ", text)
    return set(re.findall(r"[A-Za-z]+", text)) - SAME


def test_every_word_of_queue_status_can_be_translated(queue: TaskSettings, marking: None) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    empty = client.get(reverse("admin:django_tasks_queue_fragment")).content.decode()

    add.using(queue="mail").enqueue(1, 2)
    add.using(queue="imports").enqueue(1, 2)
    pause("imports", by="anna", reason="")
    get_broker().settle()
    page = client.get(reverse("admin:django_tasks_queue_changelist")).content.decode()
    main = page.partition('<div id="content-main">')[2].partition("</main>")[0]

    assert "⟦Ready⟧" in main
    assert "nothing takes it" in main
    assert unmarked(empty) == set()
    assert unmarked(main.partition("<footer")[0]) == set()
    assert unmarked("<p>plain ⟦but ⟦nested⟧ marked⟧</p>") == {"plain"}


def main_of(client: Client, path: str) -> str:
    """What is ours of a page."""
    answer = client.get(path)
    assert answer.status_code == 200
    return str(
        answer.content.decode().partition('<div id="content-main">')[2].partition("<footer")[0]
    )


def test_every_word_of_workflows_can_be_translated(queue: TaskSettings, marking: None) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    made = workflow("mail", "chain")
    records = members(
        made,
        ["tests.tasks.add"] * len(State),
        list(State.values),
        error_class="mail",
        finished_at=timezone.now(),
    )
    policies = ["success", "failure", "cancelled", "any", "early"]
    join(records, [(0, place + 1, policy) for place, policy in enumerate(policies)])
    large = workflow("imports", "group")
    members(large, ["tests.tasks.add"] * 600, ["FAILED", "CANCELLED"] * 300)
    TaskRecord.objects.filter(status="CANCELLED").update(error_class=NOT_NEEDED)
    workflows = reverse("admin:django_tasks_workflow_changelist")
    pages = [f"{workflows}{one.pk}/change/" for one in (made, large, workflow("anna"))]
    paths = [
        *(workflows, f"{workflows}?state=cancelled", f"{workflows}?kind=mail"),
        *(*pages, f"{pages[0]}?task=tests.tasks.mail", f"{pages[1]}?state=FAILED"),
        *(f"{workflows}deed/{deed}/{large.pk}/" for deed in ("cancel", "retry")),
    ]

    shown = [ID.sub(" ", main_of(client, path)) for path in paths]

    assert all("⟦" in one for one in shown)
    kinds = {"chain", "group", "chord", "graph", "import"}  # as filters' words
    words = {word for one in shown for word in unmarked(one)}
    assert sorted(words - STORED - kinds) == []


def test_every_word_of_records_and_deeds_can_be_translated(
    queue: TaskSettings, marking: None
) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    waiting = add.using(queue="mail").enqueue(1, 2)
    failed = add.using(queue="imports").enqueue(1, 2)
    get_broker().settle()
    TaskRecord.objects.filter(pk=failed.id).update(
        status="FAILED",
        error_class="mail",
        error_message="mail",
        traceback="mail",
        parent_id=waiting.id,
    )
    records = reverse("admin:django_tasks_taskrecord_changelist")
    queues = reverse("admin:django_tasks_queue_changelist")
    paths = [
        records,
        f"{records}?state=EXPIRED",
        *(f"{records}{result.id}/change/" for result in (waiting, failed)),
        *(f"{records}deed/{deed.value}/?queue=mail" for deed in Deed),
        *(f"{queues}deed/{deed}/?queue=mail" for deed in ("pause", "resume", "purge")),
    ]

    shown = [ID.sub(" ", main_of(client, path)) for path in paths]

    assert all("⟦" in one for one in shown)
    assert sorted({word for one in shown for word in unmarked(one)} - STORED) == []
