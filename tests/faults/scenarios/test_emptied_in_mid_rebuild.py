"""Redis is emptied while tasks run, and again while rows come back from the first time."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Campaign


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(1100, id="fast"),
        pytest.param(8000, id="long", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
def test_emptied_again_in_the_middle_of_a_rebuild(campaign: Campaign, count: int) -> None:
    campaign.ask(20)
    campaign.wait_for_final(20)
    held = campaign.hold(2)
    campaign.ask(count)

    campaign.lose(campaign.flush)
    campaign.lose(campaign.flush_in_mid_rebuild)
    campaign.let_go(held)

    assert campaign.settle(120).unmirrored == 0
