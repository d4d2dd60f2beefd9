"""Everything at once, at random: children, workers, Redis and database connections die."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from django.db import connection

from tests.faults.campaign import Campaign
from tests.waiting import wait_until

SEED = int(os.environ.get("UNCUT_FAULTS_SEED", "1"))
DEEDS = 30


def kill_a_child(campaign: Campaign, chance: random.Random) -> None:
    children = sorted(campaign.site.consumers().values())
    if children:
        campaign.kill_child(chance.choice(children))


def kill_a_keeper(campaign: Campaign, chance: random.Random) -> None:
    keeper = campaign.site.keeper(campaign.site.workers[-1])
    if keeper:
        campaign.kill_child(keeper)


def replace_the_worker(campaign: Campaign, chance: random.Random) -> None:
    """The newest; the first serves all scenarios."""
    campaign.kill_worker(campaign.site.workers[-1])
    campaign.site.start("--processes", "2")


def flush(campaign: Campaign, chance: random.Random) -> None:
    campaign.lose(campaign.flush)


def restart(campaign: Campaign, chance: random.Random) -> None:
    campaign.lose(campaign.restart_empty)


def go_back(campaign: Campaign, chance: random.Random) -> None:
    campaign.save_dump()
    campaign.wait_for_begun(campaign.begun() + 20)
    campaign.lose(campaign.restart_from_dump)


def cut_database_connections(campaign: Campaign, chance: random.Random) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


DEED: list[Callable[[Campaign, random.Random], None]] = [
    kill_a_child,
    kill_a_child,
    kill_a_keeper,
    replace_the_worker,
    flush,
    restart,
    go_back,
    cut_database_connections,
]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_everything_dies_at_random(campaign: Campaign) -> None:
    chance = random.Random(SEED)
    print(f"\nUNCUT_FAULTS_SEED={SEED}")
    campaign.site.start("--processes", "2")
    for _ in range(DEEDS):
        campaign.ask(chance.randrange(50, 150), 0.005)
        # Something of it has begun before the next thing dies.
        begun = campaign.begun()
        wait_until(lambda begun=begun: campaign.begun() > begun, 30, "work goes on")
        deed = chance.choice(DEED)
        print(f"  {deed.__name__}")
        deed(campaign, chance)

    campaign.settle(180)
    campaign.kill_worker(campaign.site.workers[-1])
