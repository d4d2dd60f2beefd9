"""progress: seen live while a task runs, kept when it ends or is killed, and cheap."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import pytest
import redis

from django_tasks.broker import scripts
from django_tasks.calls.progress import Progress, read_report
from django_tasks.models import TaskAttempt
from django_tasks.ops.inspection import inspect
from django_tasks.worker.board import MAX_TOLD
from tests.servers import Server
from tests.waiting import wait_until
from tests.worker import progress_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import WAIT, Site

BEATS = 1.0  # seconds: how often a supervisor tells


def progress_of(result: Any, text: str = "") -> Progress:
    """What ``result`` says, once it says ``text``."""

    def shown() -> Progress | None:
        result.refresh()
        told: Progress | None = result.progress
        return told if told is not None and (told.text == text or not text) else None

    return wait_until(shown, WAIT, f"{text!r} in result.progress")


def reports(record: Any) -> list[Progress | None]:
    """Of its runs, in order."""
    runs = TaskAttempt.objects.filter(record_id=record.pk).order_by("fence")
    return [read_report(run.report) for run in runs]


def test_progress_is_seen_live_and_the_last_word_before_a_silence_too(live: Site) -> None:
    result = tasks.walk.enqueue("walk", 3)
    assert result.progress is None

    for step in (1, 2, 3):
        [line] = live.wait_for(f"walk step {step}")
        told = progress_of(result, f"step {step}")
        assert time.time() - line.at < BEATS + 1.5
        assert (told.done, told.total, result.status) == (step, 3, "RUNNING")
        assert [one.text for one in told.log] == [
            f"walk is at step {number}" for number in range(1, step + 1)
        ]
        seen = inspect(result.id)
        assert seen.report == told
        (live.folder / f"go-walk-{step}").touch()

    record = live.record(result, "SUCCESSFUL")
    [last] = reports(record)
    assert last is not None
    assert (last.done, last.text) == (3, "step 3")
    result.refresh()
    assert result.progress == inspect(result.id).report == last
    assert live.workers[0].lines("INFO", "walk is at step 2")


def test_a_coroutine_and_its_threads_may_tell(live: Site) -> None:
    result = tasks.awalk.enqueue("coroutine")

    assert progress_of(result, "in a thread").fraction == 1

    live.let_go("coroutine")
    live.record(result, "SUCCESSFUL")


def test_a_retried_run_does_not_show_what_the_first_told(live: Site) -> None:
    result = tasks.tell_once.enqueue("once")
    live.wait_for("silent once")

    result.refresh()

    assert (result.status, result.progress) == ("RUNNING", None)
    live.let_go("once")
    record = live.record(result, "SUCCESSFUL")
    first, second = reports(record)
    assert first is not None
    assert first.text == "of the first run"
    assert second is None
    result.refresh()
    assert result.progress is None


@pytest.mark.parametrize("how", ["killed", "sudden"])
def test_who_is_killed_leaves_its_last_words(live: Site, how: str) -> None:
    """Also those of the last second, which no beat has told."""
    result = tasks.die_telling.enqueue(how)
    [line] = live.wait_for(f"spoke {how}")
    if how == "killed":
        os.kill(line.pid, signal.SIGKILL)

    record = live.record(result, "SUCCESSFUL")

    assert live.attempts(record) == ["lost", "succeeded"]
    first, second = reports(record)
    assert first is not None
    assert (first.text, [one.text for one in first.log]) == ("last words", ["here it ends"])
    assert second is None


def test_who_is_stopped_leaves_its_last_words(site: Site) -> None:
    worker = site.start("--processes", "1", "--grace", "0")
    result = tasks.walk.enqueue("stopped", 2)
    site.wait_for("stopped step 1")

    worker.terminate()

    assert worker.ended() == 0
    record = site.record(result, "READY")
    assert site.attempts(record) == ["stopped"]
    [told] = reports(record)
    assert told is not None
    assert told.text == "step 1"


def test_a_dead_hosts_last_beat_is_kept(make_site: MakeSite) -> None:
    site = make_site(tasks={"LEASE": 1.0})
    dying = site.start("--processes", "1", "default")
    result = tasks.die_telling.enqueue("host")
    site.wait_for("spoke host")
    progress_of(result, "last words")
    site.start("--processes", "1", "default")

    dying.kill_group(signal.SIGKILL)

    record = site.record(result, "SUCCESSFUL")
    first, _ = reports(record)
    assert first is not None
    assert first.text == "last words"


def test_the_broker_is_told_again_after_it_lost_its_memory(make_site: MakeSite) -> None:
    with Server() as own:
        site = make_site(own.url)
        site.start("--processes", "1")
        result = tasks.walk.enqueue("lost", 1)
        progress_of(result, "step 1")

        own.client().flushall()

        def is_told_again() -> bool:
            found = site.broker.snapshots("default", [result.id]).get(result.id)
            return found is not None and found.report_of(found.fence) is not None

        wait_until(is_told_again, WAIT)
        (site.folder / "go-lost-1").touch()
        site.record(result, "SUCCESSFUL")
        site.stop()


def test_a_thread_that_was_left_behind_speaks_over_nobody(site: Site) -> None:
    site.start("--processes", "1")
    site.record(tasks.leave_a_thread.enqueue("thread"), "SUCCESSFUL")

    result = tasks.walk.enqueue("after", 1)

    assert progress_of(result).text == "step 1"
    (site.folder / "go-after-1").touch()
    [told] = reports(site.record(result, "SUCCESSFUL"))
    assert told is not None
    assert told.text == "step 1"


class Listener(threading.Thread):
    """Counts the calls of the script that a site's workers make, as the server hears them."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.root = site.broker.keys("default").root
        self.digest = scripts.load("progress").digest
        self.calls = 0
        self._monitor = redis.Redis.from_url(site.broker_url).monitor()
        self._monitor.__enter__()
        self.start()

    def run(self) -> None:
        try:
            for heard in self._monitor.listen():
                command = heard["command"]
                self.calls += self.digest in command and self.root in command
        except (redis.RedisError, OSError, ValueError, AttributeError):
            return  # closed

    def close(self) -> None:
        self._monitor.connection.disconnect()


def test_100_000_calls_are_cheap_and_told_once_a_second(live: Site) -> None:
    listener = Listener(live)
    began = time.monotonic()
    result = tasks.hurry.enqueue("hurry", 100_000)
    live.wait_for("told hurry")

    told = wait_until(lambda: (t := progress_of(result)).done == 100_000 and t, WAIT)

    assert told.fraction == 1
    passed = time.monotonic() - began
    assert 1 <= listener.calls <= passed / BEATS + 2
    listener.close()
    live.let_go("hurry")
    microseconds = live.value(result)
    assert microseconds < 50, "of the processor's time; 3 or 4 where nothing else runs"


def test_10_000_lines_of_10_kb_are_bounded(live: Site) -> None:
    result = tasks.chatter.enqueue("chatter", 10_000, 10_000)
    live.wait_for("told chatter")

    wait_until(lambda: progress_of(result).log[-1].text.startswith("9999 x"), WAIT)

    fields = live.broker.snapshots("default", [result.id])[result.id].fields
    assert len(fields["report"]) <= MAX_TOLD
    live.let_go("chatter")
    [told] = TaskAttempt.objects.filter(record_id=live.record(result, "SUCCESSFUL").pk)
    assert len(json.dumps(told.report)) <= MAX_TOLD
