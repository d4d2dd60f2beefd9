"""A real worker, looked at: the talk's sequence, who runs what and for how long."""

from __future__ import annotations

import json
import os
import socket
from io import StringIO

from django.core.management import call_command

from django_tasks.broker import get_broker
from django_tasks.ops.inspection import inspect
from django_tasks.ops.status import status
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.running import WAIT, Site


def places() -> tuple[int, int, int]:
    """Ready, unacked, total, as the command's JSON tells them."""
    get_broker().settle()
    shown = StringIO()
    call_command("tasks", "queues", "--json", stdout=shown)
    [line] = [one for one in json.loads(shown.getvalue()) if one["queue"] == "default"]
    return line["ready"], line["unacked"], line["total"]


def test_the_talks_sequence_with_a_worker(site: Site) -> None:
    result = tasks.hold.enqueue("talk")
    assert places() == (1, 0, 1)

    site.start("--processes", "1")
    site.wait_for("began talk")
    assert places() == (0, 1, 1)

    site.let_go("talk")
    site.record(result, "SUCCESSFUL")
    assert places() == (0, 0, 0)


def test_a_worker_tells_what_each_child_runs_and_for_how_long(site: Site) -> None:
    result = tasks.hold.enqueue("seen")
    site.start("--processes", "2")
    site.wait_for("began seen")
    host = socket.gethostname().partition(".")[0]

    wait_until(lambda: any(one.runs for one in status().workers), WAIT, "the next beat tells it")

    [worker] = status().workers
    [run] = worker.runs
    assert (run.id, run.queue) == (result.id, "default")
    assert 0 < run.seconds < 10
    assert worker.host == host
    assert worker.heard < 3
    assert {one.consumer: one.pid for one in worker.children} == site.consumers()
    assert all(one.memory > 1_000_000 for one in worker.children)
    assert not worker.is_stopping
    [said] = inspect(result.id).explain
    assert said.startswith("Running for ")
    assert said.endswith(f" s on {host}.")
    shown = StringIO()
    call_command("tasks", "workers", stdout=shown)
    assert result.id in shown.getvalue()
    site.let_go("seen")
    site.record(result, "SUCCESSFUL")


def test_it_runs_longer_than_is_usual(site: Site) -> None:
    site.start("--processes", "1")
    for turn in range(5):
        site.let_go(f"short{turn}")
        site.record(tasks.hold.enqueue(f"short{turn}"), "SUCCESSFUL")
    result = tasks.hold.enqueue("long")
    site.wait_for("began long")

    wait_until(lambda: "usual" in inspect(result.id).explain[0], WAIT, "the next beat tells it")

    assert " (usual: 0.0 s)." in inspect(result.id).explain[0]
    assert os.getpid() not in {one.pid for one in site.wait_for("began long")}
    site.let_go("long")
