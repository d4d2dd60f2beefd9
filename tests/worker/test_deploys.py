"""Old and new workers together, and children that are replaced because they grew."""

from __future__ import annotations

from typing import Any

from tests.waiting import wait_until
from tests.worker import batch_tasks, live_tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import TASKS, WAIT, Site

NEW = [TASKS, "tests.worker.batch_tasks"]


def due_now(site: Site, record_id: str) -> None:
    """As if the fifteen seconds were over after which another release is asked again."""
    keys, client = site.broker.keys("default"), site.broker.client
    wait_until(lambda: client.zscore(keys.scheduled, record_id) is not None, WAIT)
    client.zadd(keys.scheduled, {record_id: 1})


def test_law_8_a_name_that_only_the_new_release_knows_waits_for_its_worker(
    make_site: MakeSite, settings: Any
) -> None:
    old = make_site(tasks={"RELEASE": "1", "MODULES": [TASKS]})
    old_worker = old.start("--processes", "1")
    new = make_site(tasks={"RELEASE": "2", "MODULES": NEW, "PREFIX": old.tasks["PREFIX"]})

    result = batch_tasks.sleep_for.enqueue("deployed", 0.0)
    shared = live_tasks.add.enqueue(1, 2)

    assert old.value(shared) == 3, "what both know, any of them runs"
    old_worker.wait_for_line("Given back for another release", "sleep_for")
    new.start("--processes", "1")
    old_worker.stop()
    due_now(new, result.id)
    record = new.record(result, "SUCCESSFUL")
    assert (record.attempt, record.lost) == (0, 0)
    assert len(new.told("begins deployed")) == 1


def test_law_8_after_the_grace_an_unknown_name_is_a_dead_letter(make_site: MakeSite) -> None:
    old = make_site(tasks={"RELEASE": "1", "MODULES": [TASKS], "UNKNOWN_TASK_GRACE": 0.001})
    old.start("--processes", "1")
    make_site(tasks={"RELEASE": "2", "MODULES": NEW, "PREFIX": old.tasks["PREFIX"]})

    result = batch_tasks.sleep_for.enqueue("never", 0.0)

    assert "No task is named" in old.record(result, "FAILED").dead_letter


def test_a_child_that_grew_is_replaced_after_its_report(site: Site) -> None:
    worker = site.start("--processes", "1", "--max-memory", "250")
    [pid] = site.consumers().values()

    small = site.value(batch_tasks.grow.enqueue(1))
    large = site.value(batch_tasks.grow.enqueue(300))

    assert small == large == pid
    worker.wait_for_line("is replaced: it has", "MB in memory, after 2 tasks")
    wait_until(lambda: set(site.consumers().values()) - {pid}, WAIT)
    assert site.value(batch_tasks.grow.enqueue(1)) != pid
    assert worker.lines("WARNING") == []
