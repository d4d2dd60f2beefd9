"""child: what happens to messages when the process that holds them dies, and how it takes turns."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import pytest

from django_tasks import enqueue_many
from django_tasks.states import FINAL
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.running import Line, Site

SOON = 1.0  # seconds: what the project promises, from kill to rerun


def test_a_killed_run_starts_again_within_a_second_and_is_charged(live: Site) -> None:
    result = tasks.hold.enqueue("killed")
    [first] = live.wait_for("began killed")

    os.kill(first.pid, signal.SIGKILL)

    [_, second] = live.wait_for("began killed", times=2)
    killed = live.workers[0].wait_for_line("signal SIGKILL", f"while it ran {result.id}")
    assert second.at - first.at < SOON
    assert second.pid != first.pid
    assert len(killed) == 1
    live.let_go("killed")
    record = live.record(result, "SUCCESSFUL")
    assert (record.lost, record.attempt, record.max_attempts) == (1, 0, 1)
    assert live.attempts(record) == ["lost", "succeeded"]
    assert live.workers[0].lines(" ERROR ", result.id) == []


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_run_that_kills_its_process_is_rerun_without_retries(live: Site, how: str) -> None:
    result = tasks.die.enqueue(how, 1, how)

    record = live.record(result, "SUCCESSFUL")
    assert record.return_value == 2
    assert (record.lost, record.attempt) == (1, 0)
    assert live.attempts(record) == ["lost", "succeeded"]
    first, second = live.told(f"run {how}")
    assert second.at - first.at < SOON
    assert live.workers[0].lines(" WARNING ", f"while it ran {result.id}")


def test_what_kills_its_process_too_often_is_a_dead_letter(live: Site) -> None:
    result = tasks.deadly.enqueue("deadly")

    record = live.record(result, "FAILED")
    assert record.dead_letter == "killed its process 2 times"
    assert (record.lost, record.attempt) == (2, 0)
    assert live.attempts(record) == ["lost", "lost"]
    assert len(live.told("run deadly")) == 2
    assert live.value(tasks.add.enqueue(1, 1)) == 2


def test_neighbours_of_a_killed_run_start_again_uncharged(site: Site) -> None:
    site.start("--processes", "1")
    for _ in range(4):  # known to be short, also after a slow one: claimed many at a time then
        warm = enqueue_many([tasks.touchy.s(f"warm{i}") for i in range(50)])
        wait_until(partial(_are_final, warm), 20)
    dying, *neighbours = [tasks.touchy.s("last")] + [tasks.touchy.s(f"n{i}") for i in range(8)]

    results = enqueue_many([dying, *neighbours])

    records = [site.record(result, "SUCCESSFUL") for result in results]
    [dies] = [line for line in _journal(site) if line.words.startswith("dies holding")]
    assert int(dies.words.split()[-1]) > 1, "they were not claimed together"
    assert [record.lost for record in records] == [1] + [0] * 8
    assert site.attempts(records[0]) == ["lost", "succeeded"]
    assert all(site.attempts(record) == ["succeeded"] for record in records[1:])
    for i in range(8):
        [ran] = site.told(f"ran n{i}")
        assert ran.at - dies.at < SOON


def _are_final(results: list[Any]) -> bool:
    for result in results:
        result.refresh()
    return all(result.state in FINAL for result in results)


def _journal(site: Site) -> list[Line]:
    words = {line.split(" ", 2)[2] for line in site.journal.read_text().splitlines()}
    return [line for one in words for line in site.told(one)]


def test_a_child_is_replaced_after_so_many_tasks(site: Site) -> None:
    worker = site.start("--processes", "1", "--max-tasks", "2")

    results = enqueue_many([tasks.tell.s(f"t{i}") for i in range(6)])

    for result in results:
        site.record(result, "SUCCESSFUL")
    runs = [site.told(f"ran t{i}")[0].pid for i in range(6)]
    assert [runs.count(pid) for pid in dict.fromkeys(runs)] == [2, 2, 2]
    assert worker.lines(" WARNING ") == []


def order_of(site: Site, names: list[str]) -> str:
    """The queues of what ran, in the order in which it ran: a letter each."""
    for name in names:
        site.wait_for(f"ran {name}")
    lines = [line.split(" ", 2)[2] for line in site.journal.read_text().splitlines()]
    return "".join(words[4] for words in lines if words.startswith("ran "))


@pytest.mark.parametrize("is_strict", [True, False], ids=["strict", "in-turn"])
def test_several_queues_are_served_in_the_order_given_or_in_turn(
    site: Site, is_strict: bool
) -> None:
    enqueue_many(
        [tasks.bulk.s(f"b{i}") for i in range(4)] + [tasks.mail.s(f"m{i}") for i in range(4)]
    )
    options = ["--strict"] if is_strict else []

    site.start("--processes", "1", "mail", "bulk", *options)

    order = order_of(site, [f"{letter}{i}" for letter in "mb" for i in range(4)])
    if is_strict:
        assert order == "mmmmbbbb"
    else:  # one of each first: nothing is known yet of how long they take
        assert order[:2] == "mb"
