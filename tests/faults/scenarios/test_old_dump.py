"""Redis dies and comes back from an old dump: other holders, other outcomes, fewer tasks."""

from __future__ import annotations

import pytest

from tests.faults.campaign import SIZES, Campaign


@pytest.mark.parametrize("count", SIZES)
def test_restored_from_an_old_dump(campaign: Campaign, count: int) -> None:
    campaign.ask(count)
    campaign.wait_for_final(count)
    old = campaign.hold(2)  # what the dump says is held
    campaign.ask(count)
    campaign.save_dump()
    campaign.let_go(old)
    campaign.wait_for_final(2 * count + 2)
    held = campaign.hold(2)  # what really runs
    campaign.ask(count)

    campaign.lose(campaign.restart_from_dump)
    campaign.let_go(held[:1])
    campaign.wait_for_final(3 * count + 3)  # by the child that is free; the other runs on
    campaign.let_go(held)

    assert campaign.settle(120).unmirrored == 0


@pytest.mark.parametrize("count", SIZES)
def test_a_dump_of_a_holder_that_died_since(campaign: Campaign, count: int) -> None:
    """What runs now was held by another when the dump was written: that one gets nothing back."""
    [key] = campaign.hold(1)
    campaign.save_dump()
    [first] = campaign.site.told(f"began {key}")
    [holder] = [name for name, pid in campaign.site.consumers().items() if pid == first.pid]
    campaign.kill_child(first.pid)
    campaign.site.wait_for(f"began {key}", times=2)

    campaign.lose(campaign.restart_from_dump)
    campaign.ask(count)
    campaign.wait_for_final(count)
    campaign.wait_for_reap("default", holder)
    campaign.let_go([key])

    balance = campaign.settle(120)
    assert balance.runs == count + 2
