"""Redis dies and comes back from an append-only file whose last second is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.campaign import SIZES, Campaign
from tests.waiting import wait_until


@pytest.fixture
def appending(campaign: Campaign) -> Iterator[Campaign]:
    """The server keeps an append-only file, for this test."""
    campaign.server.options["appendonly"] = "yes"
    with campaign.server.client() as client:
        client.config_set("appendonly", "yes")
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    yield campaign
    campaign.server.options["appendonly"] = "no"
    with campaign.server.client() as client:
        client.config_set("appendonly", "no")


@pytest.mark.parametrize("count", SIZES)
def test_the_last_second_is_gone(appending: Campaign, count: int) -> None:
    campaign = appending
    campaign.ask(count, 0.001)
    campaign.wait_for_begun(count // 2)
    size = campaign.append_only_size()
    # All of this is forgotten: claims, outcomes that rows know, pushes.
    campaign.wait_for_final(count)
    held = campaign.hold(2)
    campaign.ask(count)

    campaign.lose(lambda: campaign.restart_truncated(size))
    campaign.let_go(held[:1])
    campaign.wait_for_final(2 * count + 1)  # by the child that is free; the other runs on
    campaign.let_go(held)

    assert campaign.settle(120).unmirrored == 0
