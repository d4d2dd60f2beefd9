"""A broker's keys read raw, and what must always be true of them (laws 1, 3 and 5).

The machine (machine.py) reads the world before and after every call and compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_tasks.broker.keys import QueueKeys

PREFIX = "machine"
QUEUES = ("mail", "bulk")
FINAL = {"SUCCESSFUL", "FAILED", "CANCELLED", "EXPIRED"}
DEFAULTS = {"round": "1", "fence": "0", "max_lost": "3", "priority": "0"}  # what is left out
PLACES = {"ready": "READY", "scheduled": "SCHEDULED", "unacked": "RUNNING"}


@dataclass
class Line:
    """One queue, as its keys say."""

    messages: dict[str, dict[str, str]] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)  # in the order of the line
    scheduled: dict[str, float] = field(default_factory=dict)
    unacked: dict[str, float] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)
    stopping: set[str] = field(default_factory=set)
    holdings: dict[str, dict[str, str]] = field(default_factory=dict)
    dirty: dict[str, float] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    cancels: dict[str, str] = field(default_factory=dict)
    wake: int = 0
    dead: list[str] = field(default_factory=list)
    ttl: dict[str, int] = field(default_factory=dict)


World = dict[str, Line]


def read(client: Any) -> World:
    """Every key of every queue, in one round trip after a SCAN."""
    keys = sorted(client.keys(f"{PREFIX}:*"))
    world: World = {}
    for queue in QUEUES:
        names = QueueKeys(PREFIX, queue)
        line = world[queue] = Line()
        own = [key for key in keys if key.startswith(f"{names.root}:message:")]
        consumers = [key for key in keys if key.startswith(f"{names.root}:consumer:")]
        pipeline = client.pipeline(transaction=True)
        for key in [*own, *consumers]:
            pipeline.hgetall(key)
        for key in own:
            pipeline.ttl(key)
        for key in (names.ready, names.scheduled, names.unacked, names.workers):
            pipeline.zrange(key, 0, -1, withscores=True)
        pipeline.zrange(names.dirty("default"), 0, -1, withscores=True)
        pipeline.smembers(names.stopping)
        pipeline.hgetall(names.meta)
        pipeline.hgetall(names.cancels)
        pipeline.llen(names.wake)
        pipeline.lrange(names.dead, 0, -1)
        answers = iter(pipeline.execute())
        line.messages = {key.rpartition(":")[2]: {**DEFAULTS, **next(answers)} for key in own}
        line.holdings = {key.split(":consumer:")[1]: next(answers) for key in consumers}
        line.ttl = {key.rpartition(":")[2]: next(answers) for key in own}
        line.ready, line.scheduled, line.unacked, line.workers, line.dirty = (
            dict(next(answers)) for _ in range(5)
        )
        line.stopping, line.meta, line.cancels = (next(answers) for _ in range(3))
        line.wake, line.dead = next(answers), next(answers)
    return world


def era_of(line: Line) -> str:
    """The era a queue is in; "" before its first."""
    return line.meta.get("era", "")


def check_places(world: World) -> None:
    """Law 1: one place each, and everything that speaks of a message says the same."""
    for queue, line in world.items():
        for place, state in PLACES.items():
            members = set(getattr(line, place))
            stated = {one for one, m in line.messages.items() if m.get("state") == state}
            assert members == stated, (queue, place, members ^ stated)
        held = {
            (one, consumer, fence)
            for consumer, holding in line.holdings.items()
            for one, fence in holding.items()
        }
        running = {
            (one, m["consumer"], m["fence"])
            for one, m in line.messages.items()
            if m["state"] == "RUNNING"
        }
        assert held == running, (queue, held ^ running)
        assert line.wake <= 1, (queue, "wake", line.wake)
        for one, m in line.messages.items():
            check_message(queue, line, one, m)


def check_message(queue: str, line: Line, one: str, m: dict[str, str]) -> None:
    """What is true of any message at any time."""
    state = m["state"]
    is_stub = m.get("stub") == "1"
    assert state in {"READY", "SCHEDULED", "RUNNING"} | FINAL, (queue, one, m)
    assert ("consumer" in m) == (state == "RUNNING"), (queue, one, m)
    if state == "READY":
        assert line.ready[one] == float(m["score"]), (queue, one, m)
    if state == "SCHEDULED":
        assert line.scheduled[one] == float(m["run_after"]), (queue, one, m)
    if "cancel" in m:  # its run may end well or badly, and there is no other
        assert state in {"RUNNING"} | FINAL, (queue, one, m)
    if "cancel" in m and state == "RUNNING":
        assert line.cancels[one] == f"{m['fence']} {m['cancel']}", (queue, one, m, "not told")
    if is_stub:
        assert state == "RUNNING", (queue, one, m)
    elif state not in FINAL:
        assert "task" in m, (queue, one, m)
        assert "args" in m, (queue, one, m)
        assert line.ttl[one] == -1, (queue, one, "only what is final leaves by itself")
    elif m.get("record") == "first":
        assert "args" not in m, (queue, one, "the row has them")
    if state in FINAL and one in line.dirty:
        assert line.ttl[one] == -1, (queue, one, "its row does not say so yet")


def check_steps(before: World, after: World, touched: set[str], cleaned: set[str]) -> None:
    """What no call may do: lower a fence or revision, change what it was not asked to, leave a
    change unmarked (law 5)."""
    for queue, line in after.items():
        past = before[queue]
        for one, m in line.messages.items():
            old = past.messages.get(one)
            if old is None:
                continue
            for number in ("fence", "revision"):
                assert int(m.get(number, 0)) >= int(old.get(number, 0)), (number, one, old, m)
            if one not in touched:
                assert m == old, (one, "was not spoken of", old, m)
            has_moved = (m["state"], m.get("round")) != (old["state"], old.get("round"))
            if has_moved:
                assert int(m["revision"]) > int(old["revision"]) or one in cleaned, (one, old, m)
            is_changed = (m["state"], m["revision"]) != (old["state"], old["revision"])
            if is_changed and m.get("database") and m.get("stub") != "1" and one not in cleaned:
                assert one in line.dirty, (one, "changed and not marked", old, m)
        gone = set(past.messages) - set(line.messages)
        assert gone <= touched, (queue, "gone", gone - touched)
        unmarked = {one for one in past.dirty if one in line.messages} - set(line.dirty)
        assert unmarked <= cleaned, (queue, "unmarked", unmarked - cleaned)
