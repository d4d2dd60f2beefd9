"""keeper: the one process with the database; it mirrors, delivers, and may die."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.worker.duties import Duty, perform
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.running import TASKS, WAIT, Site, processes


def test_a_killed_keeper_is_replaced_and_mirrors(live: Site) -> None:
    worker = live.workers[0]
    keeper: Any = wait_until(lambda: live.keeper(worker), WAIT)

    os.kill(keeper, signal.SIGKILL)
    result = tasks.add.enqueue(4, 5)

    assert live.value(result) == 9
    assert live.record(result, "SUCCESSFUL").return_value == 9
    assert wait_until(lambda: live.keeper(worker), WAIT) != keeper
    worker.wait_for_line("The keeper ended (SIGKILL); another is started")
    assert worker.lines(" ERROR ") == []


def test_what_was_committed_and_never_pushed_is_delivered(live: Site) -> None:
    record = TaskRecord.objects.create(task_name=f"{TASKS}.add", args=[20, 22])

    assert live.record(record, "SUCCESSFUL").return_value == 42


def test_rows_the_broker_lost_are_delivered_again(live: Site) -> None:
    record = TaskRecord.objects.create(
        task_name=f"{TASKS}.add", args=[1, 1], status="READY", revision=1, fence=1
    )

    assert live.record(record, "SUCCESSFUL").return_value == 2


def test_the_row_follows_its_message_step_by_step(live: Site) -> None:
    result = tasks.hold.enqueue("steps")
    [line] = live.wait_for("began steps")

    running = live.record(result, "RUNNING")
    assert running.worker_id in live.consumers()
    assert line.pid == live.consumers()[running.worker_id]

    live.let_go("steps")
    done = live.record(result, "SUCCESSFUL")
    assert done.started_at is not None
    assert done.finished_at is not None
    assert abs(done.started_at.timestamp() - line.at) < 1
    assert done.started_at < done.finished_at
    assert done.revision > running.revision
    assert done.fence == running.fence


def test_record_after_and_never_are_obeyed(live: Site) -> None:
    after = tasks.add.using(record="after").enqueue(1, 2)
    never = tasks.add.using(record="never").enqueue(3, 4)

    assert live.value(after) == 3
    assert live.value(never) == 7
    row = live.record(after, "SUCCESSFUL")
    assert (row.task_name, row.args, row.return_value) == (f"{TASKS}.add", [1, 2], 3)
    assert not TaskRecord.objects.filter(id=never.id).exists()


def test_a_duty_that_fails_is_said_once_until_it_succeeds(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    away = Broker(TaskSettings(broker="redis://127.0.0.1:1/0", prefix="away"))
    duty = Duty("rest", 1.0, lambda: None)

    for _ in range(5):
        perform(duty, away, "me")

    assert [one.getMessage().partition(":")[0] for one in caplog.records] == ["The duty rest waits"]
    perform(duty, broker, "me")
    perform(duty, away, "me")
    assert len(caplog.records) == 2


def test_the_keeper_ends_with_its_worker(site: Site) -> None:
    worker = site.start("--processes", "1")
    keeper = wait_until(lambda: site.keeper(worker), WAIT)

    worker.terminate()

    assert worker.ended(5) == 0
    assert keeper not in processes()
    client = site.broker.client
    leases = client.keys(f"{site.broker.shared.duties}:*")
    assert leases == []  # the next worker need not wait for them to run out
