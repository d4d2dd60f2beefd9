"""The pages: start, progress and report, as a browser without JavaScript gets them."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client, modify_settings
from django.utils import timezone

from demo_project.audit.inspection import installed_names
from demo_project.audit.models import Audit
from demo_project.audit.tasks import count_lines, start_audit, write_report
from django_tasks.models import TaskRecord
from django_tasks.states import State

from .conftest import Publish, inspect_distribution

pytestmark = pytest.mark.django_db

REFRESH = '<noscript><meta http-equiv="refresh" content="1"></noscript>'


def page(client: Client, audit: Audit) -> str:
    response = client.get(audit.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def finished(*names: str) -> Audit:
    """An audit whose tasks ran, here and now."""
    audit = start_audit(names)
    found = [inspect_distribution(audit.pk, name) for name in names]
    write_report(found, audit.pk)
    return audit


def test_the_first_page_starts_nothing_by_itself(client: Client) -> None:
    response = client.get("/")

    assert response.status_code == 200
    assert '<form method="post">' in response.content.decode()
    assert not Audit.objects.exists()
    assert not TaskRecord.objects.exists()


@pytest.mark.parametrize("atomic_requests", [False, True])
def test_post_starts_an_audit_of_all_that_is_installed(
    client: Client, monkeypatch: pytest.MonkeyPatch, atomic_requests: bool
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic_requests)

    response = client.post("/")

    audit = Audit.objects.get()
    assert response.status_code == 302
    assert response["Location"] == f"/audit/{audit.pk}/"
    names = [row.name for row in audit.distributions.all()]
    assert names == installed_names()
    tasks = {row.task_id: [audit.pk, row.name] for row in audit.distributions.all()}
    records = TaskRecord.objects.for_task(count_lines)
    assert {record.pk: record.args for record in records} == tasks
    assert {record.queue_name for record in records} == {"audit"}


@modify_settings(MIDDLEWARE={"append": "django.middleware.csrf.CsrfViewMiddleware"})
def test_a_form_from_elsewhere_starts_nothing() -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/").status_code == 403
    assert not Audit.objects.exists()


def test_a_running_audit_shows_its_progress_and_reloads_without_javascript(client: Client) -> None:
    audit = start_audit(["packaging", "redis", "sqlparse"])
    inspect_distribution(audit.pk, "redis")
    TaskRecord.objects.filter(args=[audit.pk, "redis"]).update(status=State.SUCCESSFUL)
    running = TaskRecord.objects.filter(args=[audit.pk, "packaging"]).earliest("id")
    TaskRecord.objects.filter(pk=running.pk).update(status=State.RUNNING)

    text = page(client, audit)

    assert REFRESH in text
    assert "<main data-live>" in text
    assert re.search(r'<progress max="9" value="3"', text)
    assert "1 of 3 inspected" in text
    steps = re.findall(r'<span>([\w ]+)</span> <span class="number">(.*?)</span>', text)
    assert steps == [
        ("Files verified", "1 of 3"),
        ("Licences read", "1 of 3"),
        ("Lines counted", "1 of 3"),
    ]
    assert re.findall(r'<li class="(\S+)" title="(\w+):', text) == [
        ("running", "packaging"),
        ("sound", "redis"),
        ("waiting", "sqlparse"),
    ]


def test_where_nothing_comes_back_the_page_asks_for_a_worker(client: Client) -> None:
    audit = start_audit(["packaging"])
    fresh = page(client, audit)
    Audit.objects.update(created_at=timezone.now() - timedelta(seconds=6))

    late = page(client, audit)

    assert "Is a worker running?" not in fresh
    assert "Is a worker running?" in late
    assert REFRESH in late


@pytest.mark.parametrize("ending", [State.FAILED, State.CANCELLED, State.EXPIRED, None])
def test_an_audit_that_can_not_finish_says_so_and_stops_reloading(
    client: Client, ending: State | None
) -> None:
    audit = start_audit(["packaging", "redis"])
    record = TaskRecord.objects.filter(pk=audit.distributions.get(name="redis").task_id)
    if ending is None:
        record.delete()  # by a person
    else:
        record.update(status=ending)

    text = page(client, audit)

    assert "This audit can't finish" in text
    assert "<b>redis</b>" in text
    assert REFRESH not in text
    assert "live.js" not in text


def test_a_finished_audit_shows_its_report_and_does_not_reload(client: Client) -> None:
    audit = finished("packaging", "redis")

    text = page(client, audit)

    audit.refresh_from_db()
    assert "Everything is as it was published" in text
    assert REFRESH not in text
    assert "live.js" not in text
    assert f"<dd>{audit.report['files']}</dd>" in text
    assert "Apache-2.0 OR BSD-2-Clause" in text
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Lines by language",
        "Biggest packages",
        "Licences",
        "Distributions",
    ]


def test_a_changed_file_is_on_the_page(client: Client, publish: Publish) -> None:
    site = publish(
        "made", files={"made.py": b"right = True\n"}, headers=["Requires-Dist: absent>1"]
    )
    (site / "made.py").write_bytes(b"right = None\n")

    text = page(client, finished("made", "packaging"))

    assert "Something needs a look" in text
    assert re.search(r"<b>made</b> <code>made.py</code> .*its SHA-256 differs", text)
    assert re.search(r"<b>made 1.0</b> requires <code>absent&gt;1</code> .*is not installed", text)
    assert '<li class="unsound" title="made: unsound">' in text


def test_what_could_not_be_verified_is_not_called_as_published(
    client: Client, publish: Publish
) -> None:
    site = publish("made", files={"made.py": b"right = True\n"})
    (site / "made-1.0.dist-info" / "RECORD").unlink()
    (site / "made.py").write_bytes(b"wrong = True\n")

    audit = finished("made", "packaging")

    text = page(client, audit)
    audit.refresh_from_db()
    assert (audit.report["verdict"], audit.report["is_sound"]) == ("unverified", False)
    assert "Everything is as it was published" not in text
    assert "1 distribution could not be verified" in text
    assert re.search(r"<b>made</b> has no readable RECORD: no file can be verified", text)
    assert '<li class="unverified" title="made: unverified">' in text
    assert '<li class="sound" title="packaging: sound">' in text
    assert "not all verified" in client.get("/").content.decode()


def test_a_file_whose_digest_was_stripped_is_not_called_as_published(
    client: Client, publish: Publish
) -> None:
    site = publish("made", extra_rows=["made.py,,"])
    (site / "made.py").write_bytes(b"wrong = True\n")

    text = page(client, finished("made"))

    assert "Everything is as it was published" not in text
    assert "files without a digest in its RECORD (1): made.py" in text


def test_names_of_files_are_escaped(client: Client, publish: Publish) -> None:
    publish("made", extra_rows=["<script>alert(1)</script>.py,sha256=x,1"])

    text = page(client, finished("made"))

    assert "&lt;script&gt;alert(1)&lt;/script&gt;.py" in text
    assert "<script>alert" not in text


def test_the_first_page_lists_audits_with_their_verdicts(client: Client, publish: Publish) -> None:
    sound = finished("packaging")
    publish("made", extra_rows=["gone.py,,"])
    unsound = finished("made")
    running = start_audit(["packaging"])

    text = client.get("/").content.decode()

    verdicts = re.findall(r'<a href="(/audit/\d+/)">.*?<span class="badge.*?>(.*?)<', text, re.S)
    assert verdicts == [
        (running.get_absolute_url(), "not finished"),
        (unsound.get_absolute_url(), "needs a look"),
        (sound.get_absolute_url(), "sound"),
    ]


def test_an_unknown_audit_is_not_found(client: Client) -> None:
    assert client.get("/audit/12345/").status_code == 404


def test_only_reading_and_starting_are_allowed(client: Client) -> None:
    audit = start_audit(["packaging"])

    assert client.put("/").status_code == 405
    assert client.post(audit.get_absolute_url()).status_code == 405


def test_the_report_is_plain_json(publish: Publish) -> None:
    audit = finished("packaging")
    audit.refresh_from_db()

    assert json.loads(json.dumps(audit.report)) == audit.report
    assert audit.report["distributions"] == 1


def test_audits_are_read_in_the_admin(admin_client: Client) -> None:
    audit = finished("packaging")

    listed = admin_client.get("/admin/audit/audit/")
    shown = admin_client.get(f"/admin/audit/audit/{audit.pk}/change/")

    assert listed.status_code == shown.status_code == 200
    assert "packaging" in shown.content.decode()
    assert admin_client.get("/admin/audit/audit/add/").status_code == 403
