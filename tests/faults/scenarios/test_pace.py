"""A rebuild of many rows: paced, by one keeper of several, in memory that does not grow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from django_tasks.models import TaskRecord
from tests.faults.campaign import Campaign
from tests.waiting import wait_until

ROWS = 50_000
MOST_GROWTH = 32_000_000  # bytes


def memory_of(pid: int) -> int:
    """Bytes that are resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_many_rows_come_back_at_a_pace(campaign: Campaign) -> None:
    site, client = campaign.site, campaign.site.broker.client
    other = site.start("--processes", "1")
    workers = [site.workers[0], other]
    keepers = [wait_until(lambda one=worker: site.keeper(one), 20) for worker in workers]
    TaskRecord.objects.bulk_create(
        (
            TaskRecord(task_name="tests.faults.fault_tasks.step", args=["x" * 1000], status="READY")
            for _ in range(ROWS)
        ),
        batch_size=500,
    )
    logs = [len(worker.log) for worker in workers]
    before = {pid: memory_of(pid) for pid in keepers}
    most = dict(before)
    slowest = 0.0

    campaign.flush()
    campaign.pause()
    lost_at = time.monotonic()

    def is_whole() -> bool:
        nonlocal slowest
        began = time.monotonic()
        client.ping()
        slowest = max(slowest, time.monotonic() - began)
        most.update({pid: max(most[pid], memory_of(pid)) for pid in keepers})
        meta = client.hmget(site.broker.keys("default").meta, "era", "delivered")
        return site.broker.backlog("default")["ready"] >= ROWS and meta[0] == meta[1]

    wait_until(is_whole, 300, "all rows came back")
    took = time.monotonic() - lost_at
    growth = max(most[pid] - before[pid] for pid in keepers)
    print(
        f"\n{ROWS} rows came back in {took:.0f} s ({ROWS / (took - 3):.0f}/s after the first 3 s);"
        f" keepers grew by {growth / 1e6:.0f} MB; slowest PING {slowest * 1000:.0f} ms"
    )
    TaskRecord.objects.filter(args__0="x" * 1000).delete()
    campaign.flush()
    campaign.kill_worker(other)

    texts = [worker.log[start:] for worker, start in zip(workers, logs, strict=True)]
    assert sum("Rebuilding queue default" in text for text in texts) == 1
    assert growth < MOST_GROWTH
