"""What the broker and a board disagree about: lost answers, lost memory (laws 4 and 6)."""

from __future__ import annotations

import os
import signal

from django_tasks.broker import get_broker
from tests.servers import Server
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import WAIT, Site


def test_law_4_what_a_consumer_never_got_is_given_back_uncharged(site: Site) -> None:
    worker = site.start("--processes", "1")
    [(consumer, pid)] = site.consumers().items()
    os.kill(pid, signal.SIGSTOP)
    unread = tasks.tell.enqueue("unread")
    get_broker().settle()

    [message] = site.broker.claim("default", consumer)  # the child's claim; its answer is lost

    assert message.id == unread.id
    worker.wait_for_line("Gave back 1 messages that", "never got")
    os.kill(pid, signal.SIGCONT)
    record = site.record(unread, "SUCCESSFUL")
    assert (record.lost, record.attempt) == (0, 0)
    assert len(site.told("ran unread")) == 1


def test_law_4_a_claim_that_was_given_back_before_it_was_read_is_not_run(site: Site) -> None:
    """One queue: the server claims for a child that waits, which stands still meanwhile."""
    worker = site.start("--processes", "1", "--queues", "default")
    [pid] = site.consumers().values()
    site.record(tasks.tell.enqueue("first"), "SUCCESSFUL")
    os.kill(pid, signal.SIGSTOP)

    unread = tasks.tell.enqueue("unread")

    worker.wait_for_line("Gave back 1 messages that", "never got")
    assert site.broker.backlog("default")["ready"] == 1
    os.kill(pid, signal.SIGCONT)
    record = site.record(unread, "SUCCESSFUL")
    assert (record.lost, record.attempt) == (0, 0)
    assert len(site.told("ran unread")) == 1
    assert worker.lines("was refused") == []


def test_law_4_what_a_stuck_child_can_not_read_is_given_back_at_once(site: Site) -> None:
    site.start("--processes", "1")
    [consumer] = site.consumers()
    busy = tasks.hold.enqueue("busy")
    site.wait_for("began busy")
    unread = tasks.tell.enqueue("unread")
    get_broker().settle()

    site.broker.claim("default", consumer)  # asked for before it got stuck

    other = site.start("--processes", "1")
    wait_until(lambda: site.told("ran unread"), WAIT)
    assert not other.lines("Traceback")
    site.let_go("busy")
    record = site.record(unread, "SUCCESSFUL")
    assert (record.lost, record.attempt) == (0, 0)
    assert len(site.told("ran unread")) == 1
    assert site.record(busy, "SUCCESSFUL").lost == 0


def test_law_6_what_runs_while_the_broker_loses_its_memory_is_not_started_again(
    make_site: MakeSite,
) -> None:
    with Server() as own:
        site = make_site(own.url)
        site.start("--processes", "2")
        running = tasks.hold.enqueue("running")
        [began] = site.wait_for("began running")
        holder = site.broker.holder("default", running.id)
        waiting = tasks.tell.using(run_after=None).enqueue("after")
        site.record(waiting, "SUCCESSFUL")

        own.flush()

        wait_until(lambda: site.broker.holder("default", running.id) == holder, WAIT, "re-asserted")
        good = tasks.tell.enqueue("good")
        site.record(good, "SUCCESSFUL")  # the era's first seconds are over: others run again
        site.let_go("running")
        record = site.record(running, "SUCCESSFUL")
        assert site.told("began running") == [began]
        assert record.lost == 0
        site.stop()


def test_law_6_what_ends_before_the_first_beat_of_an_era_is_told_all_the_same(
    make_site: MakeSite,
) -> None:
    with Server() as own:
        site = make_site(own.url)
        site.start("--processes", "1")
        for turn in range(5):
            running = tasks.hold.enqueue(f"turn{turn}")
            site.wait_for(f"began turn{turn}")

            own.flush()
            site.let_go(f"turn{turn}")

            assert site.record(running, "SUCCESSFUL").lost == 0
            assert len(site.told(f"began turn{turn}")) == 1
        site.stop()


def test_at_maxmemory_a_worker_goes_on_and_its_rows_are_written(make_site: MakeSite) -> None:
    with Server(maxmemory_policy="noeviction") as own:
        site = make_site(own.url)
        worker = site.start("--processes", "1")
        held = tasks.hold.enqueue("full")
        site.wait_for("began full")
        waiting = [tasks.add.enqueue(number, 1) for number in range(20)]

        own.client().config_set("maxmemory", "1mb")
        site.let_go("full")

        for result in [held, *waiting]:
            site.record(result, "SUCCESSFUL")
        assert worker.lines("The mirror waits") == []
        assert worker.lines("The broker is away") == []
        site.stop()
