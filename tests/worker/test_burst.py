"""burst: ends with 0 exactly when nothing is ready, nothing unacked, and every row is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from django_tasks import enqueue_many
from django_tasks.bridge import outbox
from django_tasks.bridge.translate import to_message
from django_tasks.conf import task_settings
from django_tasks.models import TaskRecord
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import TASKS, WAIT, Site

QUEUES = ("default", "mail", "bulk")


def left(site: Site) -> dict[str, int]:
    """What is ready, unacked and not mirrored, in all queues."""
    backlogs = [site.broker.backlog(queue, ["default"]) for queue in QUEUES]
    return {name: sum(one[name] for one in backlogs) for name in ("ready", "unacked", "dirty")}


def test_a_burst_ends_when_everything_is_done_and_written(site: Site) -> None:
    calls = [tasks.tell.s(f"t{i}") for i in range(40)] + [tasks.mail.s("m"), tasks.bulk.s("b")]
    enqueue_many(calls)
    tasks.at_once.enqueue("again", 2)
    # Committed, and never pushed: the outbox is part of what a burst runs.
    TaskRecord.objects.create(task_name=f"{TASKS}.tell", args=["unpushed"])

    worker = site.launch("--burst", "--processes", "2")

    assert worker.ended(30) == 0
    assert left(site) == {"ready": 0, "unacked": 0, "dirty": 0}
    assert set(TaskRecord.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}
    assert TaskRecord.objects.count() == 44
    assert len(site.told("ran unpushed")) == 1
    assert worker.group() == set()


def test_a_burst_waits_for_what_others_hold(site: Site) -> None:
    other = site.start("--processes", "1")
    result = tasks.hold.enqueue("held")
    site.wait_for("began held")

    burst = site.start("--burst", "--processes", "1")
    site.value(tasks.tell.enqueue("else"))

    assert left(site)["unacked"] == 1
    with pytest.raises(AssertionError, match="still runs"):
        burst.ended(1.0)
    site.let_go("held")
    assert burst.ended() == 0
    assert TaskRecord.objects.get(id=result.id).status == "SUCCESSFUL"
    assert other.is_running()


def test_a_burst_waits_for_the_mirror(make_site: MakeSite, sqlite_timeout: dict[str, Any]) -> None:
    site = make_site(database=sqlite_timeout)
    result = tasks.hold.enqueue("mirror")
    burst = site.start("--burst", "--processes", "1")
    site.wait_for("began mirror")
    site.record(result, "RUNNING")

    with transaction.atomic():
        # On SQLite the transaction locks all rows, elsewhere this one.
        TaskRecord.objects.select_for_update().get(id=result.id)
        site.let_go("mirror")
        wait_until(lambda: left(site)["unacked"] == 0, WAIT)
        burst.wait_for_line("WARNING")  # the mirror says that it waits
        assert burst.lines("Stopping") == []
        assert left(site)["dirty"] == 1

    assert burst.ended() == 0
    assert TaskRecord.objects.get(id=result.id).status == "SUCCESSFUL"


def test_a_burst_without_work_ends(site: Site) -> None:
    worker = site.launch("--burst", "--processes", "1")

    assert worker.ended() == 0


def test_a_burst_inside_a_process_runs_everything_and_returns(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNCUT_LIVE_FOLDER", str(site.folder))
    results = enqueue_many([tasks.add.s(i, i) for i in range(30)])
    again, failed = tasks.at_once.enqueue("inside", 2), tasks.fail.enqueue("builtins.SystemExit")
    mail = tasks.mail.enqueue("mail")

    call_command("runworker", burst=True)

    assert left(site) == {"ready": 0, "unacked": 0, "dirty": 0}
    rows = {str(record.id): record for record in TaskRecord.objects.all()}
    assert [rows[one.id].return_value for one in results] == [2 * i for i in range(30)]
    assert rows[again.id].return_value == 3
    assert rows[failed.id].error_class == "builtins.SystemExit"
    assert rows[mail.id].status == "SUCCESSFUL"
    client = site.broker.client
    assert client.zcard(site.broker.keys("default").workers) == 0
    assert capsys.readouterr().out == ""


def test_a_burst_inside_a_process_obeys_its_options(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNCUT_LIVE_FOLDER", str(site.folder))
    enqueue_many([tasks.tell.s(f"t{i}") for i in range(3)] + [tasks.mail.s("m"), tasks.bulk.s("b")])

    call_command("runworker", "default", burst=True, max_tasks=2)
    call_command("runworker", queues="mail", burst=True)

    ran = [line.split(" ")[-1] for line in site.journal.read_text().splitlines()]
    assert ran == ["t0", "t1", "m"]
    assert left(site)["ready"] == 2
    with pytest.raises(CommandError, match="--max-tasks is 0"):
        call_command("runworker", burst=True, max_tasks=0)


@pytest.fixture
def sqlite_timeout(settings: Any) -> dict[str, Any]:
    """A worker's database settings: on SQLite it waits for the lock 0.2 s, not 20."""
    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        return {}
    assert Path(str(database["NAME"])).parent.exists()
    return {"OPTIONS": {**database["OPTIONS"], "timeout": 0.2}}


@pytest.mark.django_db
def test_a_burst_inside_a_transaction_leaves_it_open(
    server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNCUT_LIVE_FOLDER", str(tmp_path))
    settings.DJANGO_TASKS = {"BROKER": server.url, "PREFIX": tmp_path.name, "MODULES": []}
    (tmp_path / "journal").touch()
    record = TaskRecord.objects.create(task_name=f"{TASKS}.count_rows")
    outbox.push("default", [to_message(record, task_settings())])

    call_command("runworker", burst=True)  # as in a TestCase

    assert transaction.get_connection().in_atomic_block
    record.refresh_from_db()
    assert (record.status, record.return_value) == ("SUCCESSFUL", 1)
