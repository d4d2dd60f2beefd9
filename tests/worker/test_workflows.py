"""Chains and chords with real workers, whose processes die: all of them come to their end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from typing import Any

import pytest

from django_tasks import chain, chord
from django_tasks.models import TaskRecord
from django_tasks.states import State
from tests.waiting import wait_until
from tests.worker.conftest import MakeSite
from tests.worker.joined_tasks import add, far, total

MODULES = {"MODULES": ["tests.worker.joined_tasks"], "LEASE": 1.0}


def enqueue(chains: int, chords: int) -> tuple[list[Any], list[Any]]:
    links = [add.s(1), far.s(1), add.s(1), add.s(1)]
    members = [add.s(1, 1) if number % 3 else far.s(1, 1) for number in range(10)]
    return (
        [chain(add.s(number, 1), *links).enqueue() for number in range(chains)],
        [chord(members, total.s()).enqueue() for _ in range(chords)],
    )


def left() -> int:
    return TaskRecord.objects.exclude(status=State.SUCCESSFUL).count()


@pytest.mark.parametrize(
    ("chains", "chords", "kills"),
    [
        pytest.param(10, 3, 3, id="few"),
        pytest.param(200, 30, 20, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_all_complete_though_children_are_killed(
    make_site: MakeSite, chains: int, chords: int, kills: int
) -> None:
    chance = random.Random(chains)
    site = make_site(tasks=MODULES)
    site.start("--queues", "default,news", "--processes", "2")
    one_by_one, together = enqueue(chains, chords)
    done = 0

    def is_done() -> bool:
        nonlocal done
        pids = sorted(site.consumers().values())
        if left() and done < kills and pids:
            done += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
        return not left()

    wait_until(is_done, 60.0 + chains, "all are successful")

    print(f"{chains} chains, {chords} chords, {done} kills")
    assert done == kills
    assert [one.get(0) for one in one_by_one] == [number + 5 for number in range(chains)]
    assert [one.get(0) for one in together] == [20] * chords


def test_law_6_a_workflow_goes_on_after_the_broker_was_emptied(make_site: MakeSite) -> None:
    site = make_site(tasks=MODULES)
    site.start("--queues", "default,news", "--processes", "2")
    one_by_one, together = enqueue(15, 5)
    wait_until(lambda: TaskRecord.objects.successful().count() > 10, 30, "some ended")

    site.broker.client.flushall()

    wait_until(lambda: not left(), 60, "all are successful")
    assert [one.get(0) for one in one_by_one] == [number + 5 for number in range(15)]
    assert [one.get(0) for one in together] == [20] * 5
