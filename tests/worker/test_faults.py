"""Bad input: a dead letter with the reason in its row, and the next good task starts at once."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from django_tasks.bridge.translate import to_message
from django_tasks.broker import get_broker
from django_tasks.broker.message import Message
from django_tasks.conf import task_settings
from django_tasks.models import TaskRecord
from django_tasks.worker.duties import QUIET
from django_tasks.worker.keeper import mirror_lease
from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.running import TASKS, WAIT, Site

NEXT = 1.0  # seconds until the next good task must have started


@contextmanager
def paused(site: Site, queue: str = "default") -> Iterator[None]:
    """Nothing is claimed while foreign hands touch the keys."""
    client, keys = site.broker.client, site.broker.keys(queue)
    client.hset(keys.meta, "paused", "1")
    try:
        yield
    finally:
        client.hdel(keys.meta, "paused")
        client.lpush(keys.wake, "1")


def push(site: Site, **changes: Any) -> TaskRecord:
    """A row, and its message as another hand wrote it, in a paused queue: the relay may be first
    to push the row, so what is wrong is written over what was pushed."""
    record = TaskRecord.objects.create(task_name=f"{TASKS}.add", args=[1, 2])
    message: Message = to_message(record, task_settings())
    site.broker.push("default", [message])
    fields = replace(message, **changes).to_fields()
    key = site.broker.keys("default").message(message.id)
    site.broker.client.hset(key, mapping=dict(zip(fields[::2], fields[1::2], strict=True)))
    return record


def dropped(site: Site) -> int:
    """How many messages were dropped, once the mirror is done with what other tests left."""
    wait_until(lambda: not site.broker.backlog("default", ["default"])["dirty"], WAIT)
    return site.count("dropped")


def require_next(site: Site) -> None:
    """The next good task starts within a second."""
    # What delivery happens to push first waits for the end of an era's first three seconds.
    wait_until(lambda: site.broker.beat(["default"], [])["default"].age > QUIET, WAIT)
    key = uuid.uuid4().hex
    enqueued = time.time()

    tasks.tell.enqueue(key)

    [line] = site.wait_for(f"ran {key}")
    assert line.at - enqueued < NEXT
    log = site.workers[0].log
    assert "ended by an error of its own" not in log
    assert "failed; it" not in log


@pytest.mark.parametrize(
    ("changes", "reason", "kind"),
    [
        ({"task": "shop.tasks.gone"}, "No task is named 'shop.tasks.gone' here.", "UnknownTask"),
        ({"task": "os.system", "args": '["true"]'}, "No task is named 'os.system'", "UnknownTask"),
        ({"args": "{oops"}, "args or kwargs are not JSON", "UndecodableMessage"),
        ({"args": '{"a": 1}'}, "args must be a JSON list", "UndecodableMessage"),
        ({"kwargs": "[]"}, "kwargs a JSON object", "UndecodableMessage"),
        ({"args": "[1]"}, "missing a required argument: 'b'", "ArgumentMismatch"),
        ({"args": "[1,2,3]"}, "too many positional arguments", "ArgumentMismatch"),
        ({"kwargs": '{"c":1}'}, "'c'", "ArgumentMismatch"),
        ({"version": 99}, "newer than ours", "UnknownTask"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_what_can_not_be_run_is_a_dead_letter_with_its_reason(
    live: Site, changes: dict[str, Any], reason: str, kind: str
) -> None:
    if changes.get("version"):
        # Of another release: given back for a while, since that may know it.
        changes = {**changes, "release": "", "enqueued_at": None}

    with paused(live):
        record = push(live, **changes)

    if changes.get("version"):
        live.workers[0].wait_for_line("Given back for another release", "newer than ours")
    else:
        found = live.record(record, "FAILED")
        assert reason in found.dead_letter
        assert found.error_class == f"django_tasks.errors.{kind}"
        assert live.workers[0].lines(" ERROR ", str(record.id), reason)
        assert len(live.workers[0].lines(" ERROR ", str(record.id))) == 1
    require_next(live)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "high"),
        ("enqueued_at", "yesterday"),
        ("max_attempts", "9" * 5000),
        ("task", b"\xff\xfe"),
        ("task", ""),
        ("database", b"\xff\xfe"),
        ("run_after", "9" * 30),
    ],
)
def test_a_garbled_message_is_a_dead_letter_in_its_row(live: Site, field: str, value: Any) -> None:
    with paused(live):
        record = push(live)
        key = live.broker.keys("default").message(str(record.id))
        live.broker.client.hset(key, field, value)

    found = live.record(record, "FAILED")
    assert "The message can't be read" in found.dead_letter
    require_next(live)


@pytest.mark.parametrize("value", ["9" * 30, "inf", "nan", "1e20"])
@pytest.mark.parametrize("field", ["attempt", "round", "lost", "fence", "revision", "score"])
def test_a_number_beyond_all_bounds_stops_neither_worker_nor_mirror(
    live: Site, field: str, value: str
) -> None:
    children = live.consumers()
    with paused(live):
        record = push(live)
        key = live.broker.keys("default").message(str(record.id))
        live.broker.client.hset(key, mapping={field: value, f"attempt:{'9' * 30}": "{}"})

    require_next(live)
    good = tasks.add.enqueue(2, 2)
    assert live.record(good, "SUCCESSFUL").return_value == 4
    live.record(record)
    assert len(live.workers[0].lines(str(record.id), "The row of")) == 0
    assert live.consumers() == children


@pytest.mark.parametrize(("field", "value"), [("args", "[" * 100_000), ("backoff", "nope")])
def test_what_no_parser_reads_is_a_dead_letter_and_kills_no_child(
    live: Site, field: str, value: str
) -> None:
    children = live.consumers()
    with paused(live):
        record = push(live)
        live.broker.client.hset(
            live.broker.keys("default").message(str(record.id)), mapping={field: value}
        )

    found = live.record(record, "FAILED")
    assert found.dead_letter
    assert found.lost == 0
    assert live.consumers() == children
    require_next(live)


def test_garbage_in_what_a_child_is_said_to_hold_ends_no_worker(live: Site) -> None:
    [consumer, *_] = children = live.consumers()
    key = live.broker.keys("default").consumer(consumer)
    live.broker.client.hset(key, "garbage", "no fence")
    beats = live.broker.keys("default").meta
    before = live.broker.client.hget(beats, "last_beat")

    wait_until(lambda: live.broker.client.hget(beats, "last_beat") != before, WAIT)

    require_next(live)
    assert live.consumers() == children
    live.broker.client.hdel(key, "garbage")


@pytest.mark.parametrize("how", ["gone", "string", "list", "bytes", "long"])
def test_what_is_no_message_is_buried(live: Site, how: str) -> None:
    client, keys = live.broker.client, live.broker.keys("default")
    member: Any = {"bytes": b"\xff\xfe", "long": "x" * 100}.get(how, uuid.uuid4().hex)
    if how == "string":
        client.set(keys.message(member), "no hash")
    elif how == "list":
        client.rpush(keys.message(member), "no hash")
    elif how in ("bytes", "long"):
        name = keys.message("").encode() + (member if how == "bytes" else member.encode())
        client.hset(name, mapping={"state": "READY", "task": f"{TASKS}.add"})

    client.zadd(keys.ready, {member: 0})
    client.lpush(keys.wake, "1")

    shown = member if isinstance(member, bytes) else member.encode()
    wait_until(lambda: any(shown in one for one in client.lrange(keys.dead, 0, -1)), WAIT)
    assert client.zscore(keys.ready, member) is None
    require_next(live)


def test_a_message_of_a_database_unknown_here_stops_nobody(live: Site) -> None:
    message = replace(to_message(TaskRecord(task_name=f"{TASKS}.tell"), task_settings()))
    message = replace(message, args='["elsewhere"]', database="elsewhere")
    live.broker.push("default", [message], is_delivery=True)

    live.wait_for("ran elsewhere")
    require_next(live)


def test_the_message_of_a_deleted_row_is_dropped_and_counted(live: Site) -> None:
    before, held = dropped(live), mirror_lease("default", "default")
    # The mirror must not copy the message before its row is gone: then only a claim finds it out.
    wait_until(lambda: live.broker.lease(held, "test", 10), WAIT)
    with paused(live):
        result = tasks.tell.enqueue("deleted")
        get_broker().settle()
        TaskRecord.objects.filter(id=result.id).delete()
        live.broker.lease(held, "test", 0)
        wait_until(lambda: live.broker.unknown_ids("default", [result.id]), WAIT)

    assert dropped(live) == before + 1
    assert live.told("ran deleted") == []
    require_next(live)


def test_a_row_deleted_while_its_task_runs_stays_deleted(live: Site) -> None:
    before = dropped(live)
    result = tasks.hold.enqueue("deleted-running")
    live.wait_for("began deleted-running")
    live.record(result, "RUNNING")

    TaskRecord.objects.filter(id=result.id).delete()
    live.let_go("deleted-running")

    wait_until(lambda: live.broker.unknown_ids("default", [result.id]), WAIT)
    assert dropped(live) == before + 1
    assert not TaskRecord.objects.filter(id=result.id).exists()
    require_next(live)


def test_a_run_that_was_taken_over_can_not_report(live: Site) -> None:
    result = tasks.hold.enqueue("stale")
    [first] = live.wait_for("began stale")
    [consumer] = [name for name, pid in live.consumers().items() if pid == first.pid]

    live.broker.reap("default", consumer, [result.id])  # its worker was thought dead
    [_, second] = live.wait_for("began stale", times=2)
    live.let_go("stale")

    record = live.record(result, "SUCCESSFUL")
    assert second.pid != first.pid
    assert live.attempts(record) == ["lost", "succeeded"]
    live.workers[0].wait_for_line("was refused: it was given to someone else", result.id)
    require_next(live)


def test_children_that_all_die_at_once_are_all_replaced(live: Site) -> None:
    before = live.consumers()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not set(before.values()) & live.workers[0].group(), WAIT)
    require_next(live)
    wait_until(lambda: len(set(live.consumers()) - set(before)) == 2, WAIT)
