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
from tests.worker.running import WAIT, Site

SOON = 1.0  # seconds: what the project promises, from kill to rerun


def test_a_killed_run_starts_again_within_a_second_and_is_charged(live: Site) -> None:
    result = tasks.hold.enqueue("killed")
    [first] = live.wait_for("began killed")

    os.kill(first.pid, signal.SIGKILL)

    [_, second] = live.wait_for("began killed", times=2)
    killed = live.workers[0].wait_for_line("(SIGKILL)", f"while it ran {result.id}")
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
    ended = {"kill": "SIGKILL", "exit": "exit code 0"}
    assert record.attempts.get(outcome="lost").error_message == ended[how]
    first, second = live.told(f"run {how}")
    assert second.at - first.at < SOON
    assert live.workers[0].lines(" WARNING ", f"while it ran {result.id}")


def test_what_kills_its_process_too_often_is_a_dead_letter(live: Site) -> None:
    result = tasks.deadly.enqueue("deadly")

    record = live.record(result, "FAILED")
    assert record.dead_letter == "killed its process 2 times (SIGKILL)"
    assert (record.lost, record.attempt) == (2, 0)
    assert live.attempts(record) == ["lost", "lost"]
    assert {run.error_message for run in record.attempts.all()} == {"SIGKILL"}
    assert len(live.told("run deadly")) == 2
    assert live.value(tasks.add.enqueue(1, 1)) == 2


def test_neighbours_of_a_killed_run_start_again_uncharged(site: Site) -> None:
    site.start("--processes", "1")
    for turn in range(50):  # until they are known to be short, and so claimed together
        keys = [f"dying{turn}", *(f"n{turn}.{i}" for i in range(8))]
        results = enqueue_many([tasks.touchy.s(key) for key in keys])
        wait_until(partial(_are_final, results), WAIT)
        if site.told(f"dies {keys[0]}"):
            break
    [dies] = site.told(f"dies {keys[0]}")

    records = [site.record(result, "SUCCESSFUL") for result in results]
    assert [record.lost for record in records] == [1] + [0] * 8
    assert site.attempts(records[0]) == ["lost", "succeeded"]
    assert all(site.attempts(record) == ["succeeded"] for record in records[1:])
    for key in keys[1:]:
        [ran] = site.told(f"ran {key}")
        assert ran.at - dies.at < SOON


def _are_final(results: list[Any]) -> bool:
    for result in results:
        result.refresh()
    return all(result.state in FINAL for result in results)
