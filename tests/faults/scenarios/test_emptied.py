"""Redis is emptied: what runs goes on, what waits comes back from the rows, nothing runs again."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Campaign

COUNTS = [pytest.param(3000, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)])]


@pytest.mark.parametrize("count", COUNTS)
def test_emptied_while_nothing_runs(campaign: Campaign, count: int) -> None:
    campaign.ask(count)
    campaign.wait_for_final(count)
    campaign.pause()
    campaign.ask(count)

    campaign.lose(campaign.flush)

    balance = campaign.settle(120)
    assert balance.runs == 2 * count


@pytest.mark.parametrize("count", COUNTS)
def test_emptied_again_and_again_while_tasks_run(campaign: Campaign, count: int) -> None:
    """Random moments of a busy queue."""
    campaign.ask(count, 0.002)
    for part in range(1, 4):
        campaign.wait_for_begun(part * count // 5)
        campaign.lose(campaign.flush)

    campaign.settle(120)
