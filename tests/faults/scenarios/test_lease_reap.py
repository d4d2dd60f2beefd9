"""A whole worker dies while one of its children holds a batch: all run again, each alone."""

from __future__ import annotations

import signal

import pytest

from django_tasks.models import TaskRecord
from tests.faults.campaign import Campaign
from tests.waiting import wait_until
from tests.worker.running import Worker

QUEUE = "bulk"


def kill_with_a_batch(campaign: Campaign, worker: Worker, consumer: str) -> list[str]:
    """Stop the whole worker again and again until it holds several, then kill it."""
    broker = campaign.site.broker

    def holds_several() -> list[str]:
        worker.kill_group(signal.SIGSTOP)
        held = list(broker.holdings(QUEUE, consumer))
        if len(held) > 1:
            campaign.pause(QUEUE)
            return held
        worker.kill_group(signal.SIGCONT)
        return []

    held = wait_until(holds_several, 60, "a batch is held")
    campaign.kill_worker(worker)
    return held


@pytest.mark.parametrize(
    ("count", "rounds"),
    [
        pytest.param(400, 1, id="fast"),
        pytest.param(4000, 5, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_what_a_dead_worker_held_runs_alone(campaign: Campaign, count: int, rounds: int) -> None:
    site = campaign.site
    for _ in range(rounds):
        before = set(site.consumers())
        worker = site.start(QUEUE, "--processes", "1")
        [consumer] = set(site.consumers()) - before
        campaign.ask(count // rounds, 0.003, QUEUE)

        held = kill_with_a_batch(campaign, worker, consumer)

        keys = site.broker.keys(QUEUE)
        client = site.broker.client
        campaign.wait_for_reap(QUEUE, consumer)
        suspects = [client.hmget(keys.message(one), "state", "suspect") for one in held]
        # Its last ack may have been on its way: what ended is no suspect.
        assert suspects.count([b"READY", b"1"]) >= len(held) - 1 > 0, suspects
        campaign.go_on(QUEUE)

    balance = campaign.settle(120)
    assert balance.unmirrored == 0
    assert TaskRecord.objects.filter(id__in=campaign.ledger.asked.values(), lost__gt=0).count() == 0
