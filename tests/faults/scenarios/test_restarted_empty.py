"""Redis dies and comes back without its data."""

from __future__ import annotations

import pytest

from tests.faults.campaign import SIZES, Campaign


@pytest.mark.parametrize("count", SIZES)
def test_restarted_empty(campaign: Campaign, count: int) -> None:
    campaign.ask(count)
    campaign.wait_for_final(count)
    held = campaign.hold(2)
    campaign.ask(count)

    campaign.lose(campaign.restart_empty)
    campaign.ask(5)  # while workers say what they run
    campaign.let_go(held[:1])  # ends before the repair
    campaign.wait_for_final(count + 10)
    campaign.let_go(held)

    assert campaign.settle(120).unmirrored == 0
