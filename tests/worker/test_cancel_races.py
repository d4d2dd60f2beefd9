"""Cancels that meet something else: the end of the run, a broker that goes, a supervisor that
stands still, a second cancel, and whatever a task may be doing."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_tasks import enqueue_many
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL
from tests.servers import Server
from tests.waiting import wait_until
from tests.worker import batch_tasks
from tests.worker import cancel_tasks as tasks
from tests.worker.live_tasks import add, hold
from tests.worker.running import WAIT, Site, Worker

pytestmark = pytest.mark.django_db

# Beats come four times a lease, and with them what is to be cancelled.
QUICK = {"LEASE": 0.4}


def pid_of(site: Site, key: str) -> int:
    [line] = site.wait_for(f"began {key}")
    return line.pid


def require_whole(*workers: Worker) -> None:
    for worker in workers:
        assert worker.lines("ended by an error of its own") == [], worker.log
        assert worker.lines("Traceback") == [], worker.log
        assert worker.lines("was refused") == [], worker.log


def require_agreement(site: Site, results: list[Any]) -> dict[str, int]:
    """Both stores say the same, each run is told once, and as it ended. How many ended how."""
    ids = [result.id for result in results]
    rows = TaskRecord.objects.filter(id__in=ids)
    wait_until(lambda: rows.filter(status__in=FINAL).count() == len(ids), 60, "all are final")
    wait_until(lambda: not site.broker.dirty("default", "default"), WAIT, "all is mirrored")
    snapshots = site.broker.snapshots("default", ids)
    begun: dict[str, int] = {}
    for line in site.told_of("began "):
        key = line.words.split()[1]
        begun[key] = begun.get(key, 0) + 1
    counts = {"SUCCESSFUL": 0, "CANCELLED": 0, "CANCELLED unrun": 0}
    for record in rows:
        found, runs = snapshots[str(record.id)], site.attempts(record)
        key = record.args[0]
        assert found.state == record.status, (key, found.state, record.status)
        assert (record.attempt, record.lost) == (0, 0), key
        if record.status == "SUCCESSFUL":
            assert (runs, begun[key], record.return_value) == (["succeeded"], 1, key)
        else:
            assert record.status == "CANCELLED", (key, record.status, record.error_message)
            assert runs in ([], ["cancelled"]), (key, runs)
            assert begun.get(key, 0) <= len(runs), (key, "began, and no run is told")
        counts[record.status if runs else "CANCELLED unrun"] += 1
    return counts


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(300, id="fast"),
        pytest.param(5000, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_cancels_at_any_moment_of_many_short_runs(make_site: Any, count: int) -> None:
    """With a stranger's signals beside them, which are nothing to anybody."""
    site = make_site(tasks=QUICK)
    worker = site.start("--processes", "2")
    chance = random.Random(7)
    before = site.consumers()
    is_over = threading.Event()

    def hail() -> None:
        while not is_over.wait(0.003):
            os.kill(chance.choice(list(before.values())), signal.SIGUSR1)

    stranger = threading.Thread(target=hail)
    stranger.start()
    try:
        results = enqueue_many([tasks.busy.s(f"b{i}") for i in range(count)])
        for result in chance.sample(results, len(results) * 2 // 3):
            result.cancel()
        counts = require_agreement(site, results)
    finally:
        is_over.set()
        stranger.join()

    print(counts)
    assert counts["SUCCESSFUL"] > 0
    assert counts["CANCELLED unrun"] > 0
    assert site.consumers() == before, "no child had to be replaced"
    assert site.broker.beat(["default"], [])["default"].cancels == {}
    assert site.broker.client.hlen(site.broker.keys("default").cancels) == 0
    require_whole(worker)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(20, id="fast"),
        pytest.param(400, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_a_cancel_races_with_the_end_of_the_run(make_site: Any, count: int) -> None:
    """Each is cancelled at some moment of its run: some end by themselves meanwhile."""
    site = make_site(tasks={"LEASE": 0.2})
    worker = site.start("--processes", "2")
    pids, chance, results = site.consumers(), random.Random(11), []

    for i in range(count):
        result = tasks.busy.enqueue(f"r{i}", chance.randrange(50, 500))
        results.append(result)
        wait_until(lambda i=i: site.told(f"began r{i}"), WAIT)
        threading.Event().wait(chance.random() * 0.1)
        result.cancel()

    counts = require_agreement(site, results)
    print(counts)
    assert counts["SUCCESSFUL"] > 0
    assert counts["CANCELLED"] > 0
    assert site.consumers() == pids
    require_whole(worker)


@pytest.mark.parametrize("body", sorted(tasks.BODIES))
def test_a_cancel_ends_whatever_a_task_waits_for(live: Site, body: str) -> None:
    result = tasks.hold_in.enqueue(body, body)
    pid = pid_of(live, body)
    program = live.folder / f"program-{body}"
    if body == "program":
        wait_until(lambda: program.exists() and program.read_text(), WAIT)

    assert result.cancel() is True

    record = live.record(result)
    assert (record.status, live.attempts(record)) == ("CANCELLED", ["cancelled"])
    assert pid in live.consumers().values()
    assert live.value(add.enqueue(1, 2)) == 3
    if body == "program":
        assert not os.path.exists(f"/proc/{program.read_text().strip()}/stat")
    if body == "fork":
        assert live.told("tidied fork")


def test_a_coroutine_that_shields_itself_goes_with_its_process(make_site: Any) -> None:
    site = make_site(tasks={"CANCEL_GRACE": 0.5, **QUICK})
    site.start("--processes", "1")
    result = tasks.hold_shielded.enqueue("shield")
    pid = pid_of(site, "shield")

    result.cancel()

    site.wait_for("heard shield CancelledError")
    record = site.record(result)
    assert (record.status, record.lost, site.attempts(record)) == ("CANCELLED", 0, ["cancelled"])
    assert site.value(add.enqueue(1, 2)) == 3
    wait_until(lambda: pid not in site.consumers().values(), WAIT)


def test_what_a_coroutine_runs_in_the_main_thread_ends_first(live: Site) -> None:
    result = tasks.hold_in_sync.enqueue("sync")
    pid = pid_of(live, "sync")
    result.cancel()
    wait_for_beats(live)

    live.let_go("sync")

    record = live.record(result)
    assert (record.status, live.attempts(record)) == ("CANCELLED", ["cancelled"])
    assert live.told("ended sync"), "nothing is raised in the middle of it"
    assert pid in live.consumers().values()
    assert live.value(add.enqueue(1, 2)) == 3


def wait_for_beats(site: Site) -> None:
    """Until its supervisor beat twice, and so heard of all that was before."""
    seen: set[str] = set()

    def count() -> int:
        [one] = site.descriptions()
        seen.add(one["age"])
        return len(seen)

    wait_until(lambda: count() > 2, WAIT, "it beats")


def test_a_second_cancel_changes_nothing(live: Site) -> None:
    result = tasks.hold_and_tidy.enqueue("twice", "stay")
    pid = pid_of(live, "twice")
    assert result.cancel() is True
    live.wait_for("heard twice RunCancelled")

    assert result.cancel() is True

    live.let_go("twice")
    record = live.record(result)
    assert (record.status, live.attempts(record)) == ("CANCELLED", ["cancelled"])
    assert len(live.told_of("heard twice")) == 1
    assert pid in live.consumers().values()
    assert result.cancel() is False


def test_who_does_not_hear_can_be_terminated(live: Site) -> None:
    result = tasks.hold_and_tidy.enqueue("both", "stay")
    pid = pid_of(live, "both")
    result.cancel()
    live.wait_for("heard both RunCancelled")
    began = time.monotonic()

    assert result.cancel(terminate=True) is True

    record = live.record(result)
    assert time.monotonic() - began < 8, "not after the grace period"
    assert (record.status, record.lost, live.attempts(record)) == ("CANCELLED", 0, ["cancelled"])
    wait_until(lambda: pid not in live.consumers().values(), WAIT)


def test_a_supervisor_that_stood_still_ends_only_what_still_runs(make_site: Any) -> None:
    """Longer than the grace: it comes back and the child runs something else."""
    site = make_site(tasks={"CANCEL_GRACE": 0.5})
    worker = site.start("--processes", "1", "--queues", "default")
    result = tasks.hold_and_tidy.enqueue("late", "stay")
    pid = pid_of(site, "late")
    result.cancel()
    site.wait_for("heard late RunCancelled")
    worker.send(signal.SIGSTOP)
    innocent = hold.enqueue("innocent")
    site.let_go("late")
    site.wait_for("began innocent")
    threading.Event().wait(0.6)

    worker.send(signal.SIGCONT)

    wait_for_beats(site)
    site.let_go("innocent")
    record = site.record(innocent)
    assert (record.status, record.lost, site.attempts(record)) == ("SUCCESSFUL", 0, ["succeeded"])
    assert site.record(result).status == "CANCELLED"
    assert pid in site.consumers().values()
    require_whole(worker)


@pytest.mark.faults
def test_a_supervisor_that_stood_still_ends_what_did_not_hear(make_site: Any) -> None:
    site = make_site(tasks={"CANCEL_GRACE": 0.5})
    worker = site.start("--processes", "1")
    result = tasks.hold_and_tidy.enqueue("deaf", "stay")
    pid_of(site, "deaf")
    result.cancel()
    site.wait_for("heard deaf RunCancelled")
    worker.send(signal.SIGSTOP)
    threading.Event().wait(0.6)

    worker.send(signal.SIGCONT)

    record = site.record(result)
    assert (record.status, record.lost, site.attempts(record)) == ("CANCELLED", 0, ["cancelled"])
    assert site.value(add.enqueue(1, 2)) == 3


def test_what_was_claimed_and_not_begun_is_cancelled_where_it_waits(make_site: Any) -> None:
    """Behind a task that takes its time: nobody has given it back yet."""
    site = make_site()
    worker = site.start("--processes", "1")
    worker.send(signal.SIGSTOP)
    for turn in range(30):
        # Known to be short, again: the last turn took its time.
        enqueue_many([batch_tasks.surprise.s(f"warm{turn}.{i}", False) for i in range(100)])
        site.wait_for(f"ran warm{turn}.99")
        keys = [f"{turn}.{i}" for i in range(8)]
        results = enqueue_many(
            [batch_tasks.surprise.s(key, index == 4) for index, key in enumerate(keys)]
        )
        site.wait_for(f"stuck {turn}.4")
        states = [one.state for one in site.broker.snapshots("default", ids(results)).values()]
        if states[5:] == ["RUNNING"] * 3:
            break
        site.let_go(f"{turn}.4")
        site.record(results[-1])
    else:
        raise AssertionError("never claimed together")

    assert results[6].cancel() is True

    worker.send(signal.SIGCONT)
    record = site.record(results[6])
    site.let_go(f"{turn}.4")
    assert (record.status, site.attempts(record)) == ("CANCELLED", [])
    others = [site.record(one).status for one in (*results[:6], results[7])]
    assert others == ["SUCCESSFUL"] * 7
    assert not site.told(f"ran {turn}.6")
    require_whole(worker)


def ids(results: list[Any]) -> list[str]:
    return [result.id for result in results]


@pytest.fixture
def frail() -> Iterator[Server]:
    """It keeps what it answered for, until somebody flushes it."""
    with Server(appendonly="yes", appendfsync="always") as started:
        yield started


def test_a_cancel_outlives_a_restart_of_the_broker(make_site: Any, frail: Server) -> None:
    site = make_site(frail.url)
    worker = site.start("--processes", "1")
    result = tasks.hold_and_tidy.enqueue("restart", "pass")
    pid = pid_of(site, "restart")
    worker.send(signal.SIGSTOP)
    assert result.cancel() is True

    frail.kill()
    frail.start()
    worker.send(signal.SIGCONT)

    record = site.record(result)
    assert (record.status, site.attempts(record)) == ("CANCELLED", ["cancelled"])
    assert pid in site.consumers().values()


def test_a_broker_that_is_emptied_before_its_worker_heard_forgets_the_cancel(
    make_site: Any, frail: Server
) -> None:
    """As docs/deeds.md says; what goes on can be cancelled again, also while the broker knows no
    more of it than who runs it."""
    site = make_site(frail.url)
    worker = site.start("--processes", "2")
    forgotten = tasks.hold_and_tidy.enqueue("forgotten", "pass")
    again = tasks.hold_and_tidy.enqueue("again", "raise")
    pid_of(site, "forgotten"), pid_of(site, "again")
    for result in (forgotten, again):
        site.record(result, "RUNNING")
    worker.send(signal.SIGSTOP)
    assert forgotten.cancel() is True

    frail.flush()
    worker.send(signal.SIGCONT)

    wait_until(lambda: site.broker.holder("default", again.id), WAIT, "it says what it runs")
    assert again.cancel() is True
    record = site.record(again)
    assert (record.status, len(site.told("began again"))) == ("CANCELLED", 1)
    site.let_go("forgotten")
    assert site.value(forgotten) == "let go"
    assert worker.lines("ended by an error of its own") == [], worker.log


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has no answer that is waited for")
def test_a_query_that_was_cut_off_is_nothing_to_the_next_run(make_site: Any) -> None:
    site = make_site(database={"CONN_MAX_AGE": 600})
    site.start("--processes", "1")
    result = tasks.query.enqueue("cut", 4.0)
    [began] = site.wait_for("began cut")

    result.cancel()

    assert site.record(result).status == "CANCELLED"
    assert site.value(tasks.query.enqueue("next", 0.0)) == ["next", 7]
    assert began.pid in site.consumers().values()
    wait_until(lambda: time.time() > began.at + 5, WAIT, "the server has ended it too")
