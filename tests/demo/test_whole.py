"""A whole audit: started from the view, run by a worker, read on the page and in the terminal."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from demo_project.audit.inspection import installed_names
from demo_project.audit.models import Audit
from demo_project.audit.tasks import count_lines, start_audit, write_report
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.states import State

from .conftest import Publish

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_audit_started_from_the_page_is_finished_by_a_burst(
    client: Client, queue: TaskSettings, publish: Publish
) -> None:
    site = publish("made", files={"made.py": b"right = True\n"}, headers=["Requires-Dist: absent"])
    (site / "made.py").write_bytes(b"wrong = True\n")

    address = client.post("/")["Location"]
    call_command("runworker", burst=True)

    audit = Audit.objects.get()
    names = installed_names()
    assert [row.name for row in audit.distributions.exclude(inspected_at=None)] == names
    assert audit.report["distributions"] == len(names)
    assert {"distribution": "made", "path": "made.py", "reason": "its SHA-256 differs"} in (
        audit.report["tampered"]
    )
    assert [row["requirement"] for row in audit.report["unsatisfied"]] == ["absent"]
    assert TaskRecord.objects.for_task(count_lines).successful().count() == len(names)
    assert TaskRecord.objects.for_task(write_report).get().status == State.SUCCESSFUL
    assert "Something needs a look" in client.get(address).content.decode()


def test_the_audit_command_prints_what_the_page_shows(queue: TaskSettings) -> None:
    out, progress = StringIO(), StringIO()

    call_command("audit", "packaging", "redis", burst=True, stdout=out, stderr=progress)

    report = Audit.objects.get().report
    assert f"2 distributions, {report['files']:,} files" in out.getvalue()
    assert f"Files as published       {report['verified']:,}" in out.getvalue()
    assert "2/2 inspected" in progress.getvalue()


def test_the_audit_command_names_what_could_not_be_verified(
    queue: TaskSettings, publish: Publish
) -> None:
    out = StringIO()
    publish("made", files={"made.py": b"right = True\n"}, record=False)

    call_command("audit", "made", "redis", burst=True, stdout=out, stderr=StringIO())

    assert "Unverified distributions 1\n" in out.getvalue()
    assert "    made: has no readable RECORD: no file can be verified\n" in out.getvalue()


def test_the_audit_command_names_what_has_failed_for_good(queue: TaskSettings) -> None:
    with pytest.raises(CommandError, match=r"can't finish: a task of packaging has failed"):
        # The record is cancelled while its message waits: no worker is there to run it.
        call_command("audit", "packaging", timeout=5, stderr=Cancelling(), stdout=StringIO())


class Cancelling(StringIO):
    """A terminal whose reader, when the progress bar appears, cancels what waits."""

    def write(self, text: str) -> int:
        TaskRecord.objects.waiting().update(status=State.CANCELLED)
        return super().write(text)


def test_the_report_as_json_is_the_report(queue: TaskSettings) -> None:
    out = StringIO()

    call_command("audit", "packaging", burst=True, format="json", stdout=out, stderr=StringIO())

    assert json.loads(out.getvalue()) == Audit.objects.get().report


def test_an_audit_rolled_back_leaves_nothing(queue: TaskSettings) -> None:
    def start_and_fail() -> None:
        with transaction.atomic():
            start_audit(["packaging"])
            raise RuntimeError("the view failed after it started the audit")

    with pytest.raises(RuntimeError, match="the view failed"):
        start_and_fail()

    call_command("runworker", burst=True)
    assert not Audit.objects.exists()
    assert not TaskRecord.objects.exists()
