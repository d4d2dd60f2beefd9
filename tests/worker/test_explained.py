"""explain, beside real workers: each sentence with its cause brought about."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_tasks import enqueue_many
from django_tasks.broker import get_broker
from django_tasks.models import TaskRecord
from django_tasks.ops.control import pause, resume
from django_tasks.ops.inspection import explain
from tests.servers import Server
from tests.tasks import add as unknown_there
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import WAIT, Site, Worker

TIME = r"[\d.]+ (?:s|min)(?: \d+ s)?"


def said(result: Any) -> str:
    get_broker().settle()
    return " ".join(explain(result.id))


def wait_for(result: Any, pattern: str) -> str:
    """What is said of it, once that is ``pattern``."""
    heard = [""]

    def is_said() -> bool:
        heard[0] = said(result)
        return bool(re.fullmatch(pattern, heard[0]))

    try:
        wait_until(is_said, WAIT)
    except AssertionError:
        raise AssertionError(f"{pattern!r} is not said, but {heard[0]!r}") from None
    return heard[0]


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """A process that stands still."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def keeper_of(site: Site, worker: Worker) -> int:
    found = wait_until(lambda: site.keeper(worker), WAIT)
    assert found is not None
    return found


def test_how_long_it_runs_where_and_how_long_is_usual(live: Site) -> None:
    result = tasks.hold.enqueue("first")
    wait_for(result, rf"Running for {TIME} on [^ ]+\.")
    live.let_go("first")
    for number in range(4):
        live.let_go(f"more{number}")
        live.record(tasks.hold.enqueue(f"more{number}"), "SUCCESSFUL")
    live.record(result, "SUCCESSFUL")

    result = tasks.hold.enqueue("second")

    wait_for(result, rf"Running for {TIME} on [^ ]+ \(usual: {TIME}\)\.")
    live.let_go("second")
    live.record(result, "SUCCESSFUL")
    assert re.fullmatch(rf"Succeeded {TIME} ago\.", said(result))


def test_no_worker_takes_its_queue(site: Site) -> None:
    site.start("--queues", "default")
    first, second = enqueue_many([tasks.mail.s("a"), tasks.mail.s("b")])

    alone = "No worker takes mail: python manage.py runworker mail"

    assert said(first) == f"{alone} 0 are ahead of it in mail."
    assert said(second) == f"{alone} 1 is ahead of it in mail."


def test_a_queue_whose_workers_were_all_killed_is_one_that_no_worker_takes(
    make_site: MakeSite,
) -> None:
    site = make_site(tasks={"LEASE": 1.0})
    worker = site.start("--processes", "1")
    runs = tasks.hold.enqueue("killed")
    site.wait_for("began killed")
    site.record(runs, "RUNNING")
    [consumer] = site.consumers()

    worker.kill_group()

    left = "No worker takes default: python manage.py runworker default"
    wait_for(runs, rf"Held by {consumer}, whose lease ran out\. {left}")
    assert said(tasks.tell.enqueue("waits")) == f"{left} 0 are ahead of it in default."


def test_its_queue_is_paused(live: Site) -> None:
    pause("default", by="anna", reason="bank holiday")
    result = tasks.tell.enqueue("after the holiday")

    text = said(result)

    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d"
    why = rf'The queue default is paused {since} by anna: "bank holiday"\.'
    assert re.fullmatch(rf"{why} 0 are ahead of it in default\.", text)
    resume("default", by="anna")
    live.record(result, "SUCCESSFUL")


def test_an_attempt_failed_and_the_next_is_to_come(live: Site) -> None:
    result = tasks.at_once.using(backoff=(40, 1, 40, False)).enqueue("failing", 1)

    live.record(result, "SCHEDULED")

    assert re.fullmatch(
        rf"Attempt 1 of 3 failed with OSError; the next is in {TIME}\.", said(result)
    )


def test_it_is_not_its_first_attempt(live: Site) -> None:
    result = tasks.hold_second.enqueue("again")

    again = r"This is attempt 2 of 2: the last one failed with OSError\."
    wait_for(result, rf"Running for {TIME} on [^ ]+\. {again}")
    live.let_go("again")
    live.record(result, "SUCCESSFUL")


def test_the_attempts_are_used_up(live: Site) -> None:
    result = tasks.at_once.enqueue("always failing", 9)

    live.record(result, "FAILED")

    assert re.fullmatch(rf"Failed {TIME} ago with OSError, after 3 attempts\.", said(result))


def test_it_snoozes(live: Site) -> None:
    result = tasks.snooze_in.enqueue("snoozing", 40, 1)

    live.record(result, "SCHEDULED")

    assert re.fullmatch(rf"It asked to be run later \(snooze\): again in {TIME}\.", said(result))


def test_it_killed_its_process(live: Site) -> None:
    result = tasks.deadly.enqueue("deadly")
    live.record(result, "FAILED")
    assert said(result) == "Dead letter: killed its process 2 times (SIGKILL)"

    result = tasks.hold.enqueue("killed once")
    [line] = live.wait_for("began killed once")
    pause("default", by="anna")  # so that it waits for its next run
    os.kill(line.pid, signal.SIGKILL)

    lost = r"1 run of at most 3 was lost with its process \(SIGKILL\)\."
    wait_for(result, rf"The queue default is paused .*{lost}")
    resume("default", by="anna")
    live.let_go("killed once")
    live.record(result, "SUCCESSFUL")


def test_its_worker_was_told_to_stop(site: Site) -> None:
    worker = site.start("--processes", "1")
    result = tasks.hold.enqueue("stopping")
    site.wait_for("began stopping")

    worker.terminate()

    stop = r"Its worker was told to stop: if it does not end in time, it is run again\."
    wait_for(result, rf"Running for {TIME} on [^ ]+\. {stop}")
    site.let_go("stopping")
    assert worker.ended() == 0


def test_it_is_committed_and_not_yet_pushed(site: Site, settings: Any) -> None:
    settings.DJANGO_TASKS = {**site.tasks, "BROKER": "redis://127.0.0.1:1/0"}  # away at the commit
    result = tasks.tell.enqueue("not pushed")
    get_broker().settle()
    settings.DJANGO_TASKS = site.tasks
    assert said(result) == (
        "Committed, and not yet in the broker: no worker runs that would push it. Start one:"
        " python manage.py runworker"
    )

    worker = site.start("--queues", "mail")
    site.record(result, "READY")
    settings.DJANGO_TASKS = {**site.tasks, "BROKER": "redis://127.0.0.1:1/0"}
    with stopped(keeper_of(site, worker)):
        result = tasks.tell.enqueue("not pushed either")
        get_broker().settle()
        settings.DJANGO_TASKS = site.tasks

        text = said(result)

        late = TaskRecord.objects.get(id=result.id)
        TaskRecord.objects.filter(id=result.id).update(
            created_at=late.created_at.replace(year=late.created_at.year - 1)
        )
        later = said(result)

    promise = "Committed, and not yet in the broker: a worker's relay pushes it within a second."
    assert text == promise
    assert later.startswith(f"{promise} It has waited for 365 d")
    assert later.endswith(": does the worker reach the database?")
    site.record(result, "READY")


def test_the_worker_is_of_a_release_that_does_not_know_it(site: Site, settings: Any) -> None:
    settings.DJANGO_TASKS = {**site.tasks, "RELEASE": "2026.12", "MODULES": ["tests.tasks"]}
    site.start("--processes", "1")

    result = unknown_there.enqueue(1, 2)

    wait_for(
        result,
        r"Given back for a worker of release 2026\.12: the one that claimed it is of another and"
        rf" does not know the task\. The next look is in {TIME}\.",
    )


def test_the_broker_lost_it_while_it_runs(make_site: MakeSite) -> None:
    with Server() as own:
        site = make_site(own.url)
        worker = site.start("--processes", "1")
        result = tasks.hold.enqueue("forgotten")
        site.record(result, "RUNNING")
        with stopped(keeper_of(site, worker)):  # else its row would bring back what is lost
            own.flush()
            lost = "The broker lost it and knows only who runs it: its row brings the rest."
            wait_for(result, rf"Running for {TIME} on [^ ]+\. {lost}")

        site.let_go("forgotten")
        site.record(result, "SUCCESSFUL")
        worker.kill_group()
        waits = tasks.hold.enqueue("forgotten too")
        get_broker().settle()
        site.broker.client.flushall()
        TaskRecord.objects.filter(id=waits.id).update(status="RUNNING")

        assert said(waits) == (
            "The row says RUNNING, and the broker does not know it: a worker's keeper pushes it"
            " again; so does: python manage.py tasks rebuild"
        )
        own.kill()
        [text, away] = explain(waits.id)
        assert text == "The row says RUNNING; where it is now only the broker knows."
        assert away.startswith("The broker does not serve: ")
