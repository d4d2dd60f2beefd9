"""A running task that is cancelled: an exception in it, then the end of its process."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.errors import TaskCancelled
from django_tasks.models import TaskRecord
from tests.waiting import wait_until
from tests.worker.cancel_tasks import hold_and_tidy, hold_atomically, hold_awaiting
from tests.worker.live_tasks import add, hold
from tests.worker.running import WAIT, Site

pytestmark = pytest.mark.django_db


def began(site: Site, result: Any, key: str) -> int:
    """The pid that runs it."""
    [line] = site.wait_for(f"began {key}")
    return line.pid


def test_a_run_is_ended_by_an_exception_and_its_process_lives_on(live: Site) -> None:
    result = hold_and_tidy.enqueue("soft", "pass")
    pid = began(live, result, "soft")

    assert result.cancel() is True

    record = live.record(result)
    assert record.status == "CANCELLED"
    assert live.attempts(record) == ["cancelled"]
    [heard] = live.wait_for("heard soft RunCancelled")
    assert heard.pid == pid
    assert pid in live.consumers().values()
    with pytest.raises(TaskCancelled):
        result.get(timeout=WAIT)
    assert live.value(add.enqueue(1, 2)) == 3


def test_a_coroutine_is_cancelled_as_asyncio_does_it(live: Site) -> None:
    result = hold_awaiting.enqueue("loop")
    pid = began(live, result, "loop")

    result.cancel()

    record = live.record(result)
    assert (record.status, live.attempts(record)) == ("CANCELLED", ["cancelled"])
    assert live.told("heard loop CancelledError")
    assert pid in live.consumers().values()


def test_an_error_while_it_tidies_up_is_no_reason_to_try_again(live: Site) -> None:
    result = hold_and_tidy.enqueue("raising", "raise")
    began(live, result, "raising")

    result.cancel()

    record = live.record(result)
    assert (record.status, live.attempts(record)) == ("CANCELLED", ["retried"])
    assert len(live.told("began raising")) == 1


def test_a_task_that_ends_well_all_the_same_has_succeeded(live: Site) -> None:
    result = hold_and_tidy.enqueue("fine", "return")
    began(live, result, "fine")

    result.cancel()

    assert live.value(result) == "all the same"


def test_what_an_atomic_task_wrote_goes_with_its_cancel(live: Site) -> None:
    result = hold_atomically.enqueue("whole")
    began(live, result, "whole")

    result.cancel()

    assert live.record(result).status == "CANCELLED"
    assert not TaskRecord.objects.filter(task_name="made by whole").exists()


def test_terminate_ends_the_process_at_once_and_another_takes_its_place(live: Site) -> None:
    result = hold_and_tidy.enqueue("hard", "stay")
    pid = began(live, result, "hard")

    assert result.cancel(terminate=True) is True

    record = live.record(result)
    assert (record.status, record.lost) == ("CANCELLED", 0)
    assert live.attempts(record) == ["cancelled"]
    assert not live.told_of("heard hard")
    assert live.value(add.enqueue(1, 2)) == 3
    wait_until(lambda: pid not in live.consumers().values(), WAIT)


def test_a_task_that_does_not_end_within_the_grace_goes_with_its_process(make_site: Any) -> None:
    site = make_site(tasks={"CANCEL_GRACE": 1})
    site.start("--processes", "1")
    result = hold_and_tidy.enqueue("deaf", "stay")
    pid = began(site, result, "deaf")

    result.cancel()

    site.wait_for("heard deaf RunCancelled")
    record = site.record(result)
    assert (record.status, record.lost, site.attempts(record)) == ("CANCELLED", 0, ["cancelled"])
    assert site.value(add.enqueue(1, 2)) == 3
    wait_until(lambda: pid not in site.consumers().values(), WAIT)


def test_a_cancel_while_its_worker_stops_is_kept(make_site: Any) -> None:
    site = make_site()
    worker = site.start("--processes", "1", "--grace", "1")
    result = hold.enqueue("stopping")
    began(site, result, "stopping")
    worker.send(19)  # SIGSTOP: it hears nothing of the cancel
    result.cancel()

    worker.terminate()
    worker.send(18)  # SIGCONT

    assert worker.ended() == 0
    assert site.record(result).status == "CANCELLED"
    site.start("--processes", "1")
    assert site.value(add.enqueue(1, 2)) == 3
    assert len(site.told("began stopping")) == 1
