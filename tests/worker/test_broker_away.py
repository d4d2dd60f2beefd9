"""Redis away while working: workers wait, go on by themselves, and lose nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import Server
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import delete_rows
from tests.worker.running import WAIT, Site

LEASE = 1.0
CHILDREN = 2


@pytest.fixture(scope="module")
def frail() -> Iterator[Server]:
    """A server that may be harmed; what it acknowledged it keeps."""
    with Server(appendonly="yes", appendfsync="always") as started:
        yield started


@pytest.fixture(scope="module")
def working(
    frail: Server,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("frail"), frail.url, tasks={"LEASE": LEASE})
    made.start("--processes", str(CHILDREN), "--grace", "1")
    yield made
    made.stop()
    delete_rows(django_db_blocker)


@pytest.fixture
def site(working: Site, settings: Any, transactional_db: None) -> Site:
    settings.DJANGO_TASKS = working.tasks
    assert working.value(tasks.add.enqueue(1, 2)) == 3
    return working


def new_lines(site: Site, before: str) -> list[str]:
    return site.workers[0].log[len(before) :].splitlines()


def require_calm(site: Site, before: str, most: int) -> None:
    """A broker that is away is said, and not shouted."""
    lines = new_lines(site, before)
    loud = [line for line in lines if " INFO " not in line]
    assert len(loud) <= most, "\n".join(lines)
    assert not any("Traceback" in line or " ERROR " in line for line in lines)


def test_connections_that_are_reset_are_opened_again(site: Site) -> None:
    before, children = site.workers[0].log, site.consumers()
    held = tasks.hold.enqueue("reset")
    site.wait_for("began reset")

    for _ in range(3):
        site.broker.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    began = time.monotonic()
    assert site.value(tasks.add.enqueue(2, 2)) == 4
    assert time.monotonic() - began < 1.5
    site.let_go("reset")
    assert site.attempts(site.record(held, "SUCCESSFUL")) == ["succeeded"]
    assert site.consumers() == children
    require_calm(site, before, most=3 * (CHILDREN + 3))


def test_scripts_that_are_flushed_are_sent_again(site: Site) -> None:
    before = site.workers[0].log

    site.broker.client.script_flush()

    assert site.value(tasks.add.enqueue(3, 3)) == 6
    require_calm(site, before, most=0)


def test_a_pause_longer_than_the_lease_counts_against_nobody(site: Site, frail: Server) -> None:
    before = site.workers[0].log
    running = [tasks.hold.enqueue(f"pause{i}") for i in range(CHILDREN)]
    for i in range(CHILDREN):
        site.wait_for(f"began pause{i}")
    waiting = tasks.tell.enqueue("waits")

    frail.pause()
    paused_at = time.monotonic()
    try:
        wait_until(lambda: "The broker is away" in site.workers[0].log[len(before) :], WAIT)
        wait_until(lambda: time.monotonic() - paused_at > 2 * LEASE)
    finally:
        frail.resume()

    wait_until(lambda: "The broker is back" in site.workers[0].log[len(before) :], WAIT)
    for i in range(CHILDREN):
        site.let_go(f"pause{i}")
    for result in [*running, waiting]:
        record = site.record(result, "SUCCESSFUL")
        assert (record.lost, site.attempts(record)) == (0, ["succeeded"])
    require_calm(site, before, most=CHILDREN + 5)


def test_a_server_that_died_and_came_back_loses_no_task(site: Site, frail: Server) -> None:
    before, children = site.workers[0].log, site.consumers()
    running = [tasks.hold.enqueue(f"away{i}") for i in range(CHILDREN)]
    for i in range(CHILDREN):
        site.wait_for(f"began away{i}")
    waiting = [tasks.tell.enqueue(f"after{i}") for i in range(3)]

    frail.kill()
    site.let_go("away0")  # ends while nobody can be told
    site.wait_for("ended away0")
    site.workers[0].wait_for_line("Waiting for the broker")
    unheard = tasks.tell.enqueue("unheard")  # a row, delivered later
    site.let_go("away1")
    frail.start()

    for result in [*running, *waiting, unheard]:
        record = site.record(result, "SUCCESSFUL")
        assert (record.lost, site.attempts(record)) == (0, ["succeeded"])
    for words in ("began away0", "began away1", "ran after0", "ran after2", "ran unheard"):
        assert len(site.told(words)) == 1
    assert site.consumers() == children
    require_calm(site, before, most=CHILDREN * 2 + 8)


def test_a_worker_stops_in_time_though_the_broker_is_away(site: Site, frail: Server) -> None:
    worker = site.workers[0]
    tasks.hold.enqueue("unreported")
    site.wait_for("began unreported")

    frail.kill()
    site.let_go("unreported")
    site.wait_for("ended unreported")
    worker.terminate()

    assert worker.ended(timeout=8) == 0
    assert worker.lines("Traceback") == []
