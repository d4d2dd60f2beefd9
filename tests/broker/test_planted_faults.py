"""A test of the test: the machine finds each of these faults, one line of one script undone.

They are also the mutations that docs/contributing/laws.md names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from django_tasks.broker import Broker
from django_tasks.broker.scripts import assemble, read_lua
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable
from tests.broker import test_release as releases
from tests.broker.machine import Machine
from tests.broker.test_cancel import (
    test_what_is_known_from_its_worker_alone_can_be_cancelled as cancels_a_stub,
)
from tests.broker.test_cancel import (
    test_who_takes_a_cancelled_run_again_is_told_again as tells_who_takes_it_again,
)
from tests.servers import Server

# name → (law, file, the line, what is planted instead)
FAULTS = {
    "who holds it is not asked for the fence": (
        3,
        "_hold",
        "  return is_held(m) and m.consumer == consumer and m.fence == fence",
        "  return is_held(m) and m.consumer == consumer",
    ),
    "a stale ack is accepted while nobody holds it": (
        3,
        "ack",
        "  return not is_final(m) and fence >= m.fence",
        "  return not is_final(m)",
    ),
    "a repeated ack counts again": (
        3,
        "ack",
        "  elseif tonumber(m.acked) == fence then",
        "  elseif false then",
    ),
    "giving back does not raise the fence": (
        3,
        "give_back",
        "      redis.call('HSET', m.key, 'fence', digits(stamp))",
        "",
    ),
    "the charge of a late ack stays": (
        3,
        "_hold",
        "  if m.charged and tonumber(m.charged) == m.fence then",
        "  if false then",
    ),
    "numbers follow the clock also when it goes back": (
        3,
        "_message",
        "  return math.max(m.fence + 1, m.revision + 1, now)",
        "  return now",
    ),
    "the hold of a reaped consumer stays in its list": (
        1,
        "_hold",
        "  if m.consumer then redis.call('HDEL', consumer_key(m.consumer), m.id) end",
        "",
    ),
    "a message leaves the line in the message only": (
        1,
        "_claim",
        "  if #taken > 0 then redis.call('ZREM', READY, unpack(taken)) end",
        "",
    ),
    "claims are given to the unregistered": (
        4,
        "_claim",
        "  if limit < 1 or not redis.call('ZSCORE', WORKERS, consumer) then return {} end",
        "  if limit < 1 then return {} end",
    ),
    "reaping leaves a consumer registered": (
        4,
        "reap",
        "  redis.call('ZREM', WORKERS, consumer)  -- first: a late claim of the dead gets nothing",
        "",
    ),
    "time in which nobody could beat counts": (
        4,
        "beat",
        "if not last_beat or now - last_beat > lease / 2 or last_beat > now then",
        "if false then",
    ),
    "several that may be guilty are all charged": (
        4,
        "reap",
        "    take_back(m, may_be_guilty and guilty == 1, may_be_guilty and guilty > 1, how)",
        "    take_back(m, may_be_guilty, false, how)",
    ),
    "a retry is not marked": (
        5,
        "_ready",
        (
            "'SCHEDULED', 'revision', digits(stamp), 'run_after', digits(at))\n"
            "  redis.call('HDEL', m.key, 'consumer')\n"
            "  mark_dirty(m, stamp)"
        ),
        (
            "'SCHEDULED', 'revision', digits(stamp), 'run_after', digits(at))\n"
            "  redis.call('HDEL', m.key, 'consumer')"
        ),
    ),
    "clean removes marks of what changed meanwhile": (
        5,
        "clean",
        "    if tonumber(v[1]) ~= revision or v[2] ~= state then return 0 end",
        "",
    ),
    "a push of a known id starts it again": (
        6,
        "push",
        "  elseif m and not (is_final(m) and m.round < (tonumber(fields.round) or 1)) then",
        "  elseif false then",
    ),
    "an outdated hold keeps out who claimed later": (
        3,
        "_hold",
        "  return m.era ~= meta[1] and m.era ~= meta[2]",
        "  return false",
    ),
    "whoever re-asserts takes from a holder of this era": (
        3,
        "_hold",
        "  return m.era ~= meta[1] and m.era ~= meta[2]",
        "  return true",
    ),
    "who claims what is in doubt leaves no doubt to the next": (
        6,
        "_claim",
        "then redis.call('HSET', message_key(id), 'era', v[5], 'doubt', v[4]) end",
        "then end",
    ),
    "a hold that is re-asserted stays one of its old era": (
        6,
        "reassert",
        "  if m.era ~= era then redis.call('HSET', m.key, 'era', era, 'doubt', '1') end",
        "",
    ),
    "a consumer tells of a run that is not its own": (
        3,
        "progress",
        "  if m and is_holder(m, ARGV[i], tonumber(ARGV[i + 2])) then",
        "  if m and m.consumer == ARGV[i] then",
    ),
    "a cancelled run is ready again": (
        5,
        "_ready",
        ("local function make_ready(m, stamp, score)\n  if is_cancelled(m, stamp) then return end"),
        "local function make_ready(m, stamp, score)",
    ),
    "a cancelled run is tried again later": (
        5,
        "_ready",
        (
            "local function make_scheduled(m, stamp, at)\n"
            "  if is_cancelled(m, stamp) then return end"
        ),
        "local function make_scheduled(m, stamp, at)",
    ),
    "a cancel does not ask for the round": (
        5,
        "cancel",
        "  elseif (m.round ~= round and m.stub ~= '1') or is_final(m) then",
        "  elseif is_final(m) then",
    ),
    "a cancel of what is not known leaves no mark": (
        5,
        "cancel",
        "    verdict = leave_mark(id, m, round, database)",
        "    verdict = next_stamp(m or {fence = 0, revision = 0})",
    ),
    "what is moved to a time stays in line": (
        1,
        "move",
        "    leave_line(m)\n    make_scheduled(m, stamp, due)",
        "    make_scheduled(m, stamp, due)",
    ),
    "what is moved into the line stays scheduled": (
        1,
        "move",
        "    leave_line(m)\n    make_ready(m, stamp, score or arrival_score(priority, now))",
        "    make_ready(m, stamp, score or arrival_score(priority, now))",
    ),
    "the front of an empty line is the beginning of time": (
        1,
        "move",
        "m.state == 'READY' and digits(m.score) or nil",
        "digits(m.score)",
    ),
    "a cancelled run is charged as lost": (
        4,
        "reap",
        "  if m.cancel then  -- its process was ended for it",
        "  if false then",
    ),
    "a beat keeps the cancels of what ended": (
        5,
        "beat",
        "      redis.call('HDEL', CANCELS, noted[i])",
        "",
    ),
    "what is in doubt runs at once": (
        6,
        "_claim",
        "      if in_doubt and is_quiet then held_back = true; break end",
        "",
    ),
}

# For some so much must come together that the machine seldom meets it, and of dependents it knows
# nothing: each has the test that is about just that.
RARE: dict[str, tuple[int, str, str, str, Callable[[Broker], object]]] = {
    "the reap of a cancelled stub forgets that": (
        6,
        "reap",
        "  if m.stub == '1' and not m.cancel then  -- delivery pushes the row again",
        "  if m.stub == '1' then",
        partial(cancels_a_stub, end="reap"),
    ),
    "giving back a cancelled stub forgets that": (
        6,
        "give_back",
        "    if m.stub == '1' and not m.cancel then",
        "    if m.stub == '1' then",
        partial(cancels_a_stub, end="give back"),
    ),
    "who takes a cancelled run again is not told": (
        6,
        "reassert",
        "  if m.cancel then redis.call('HSET', CANCELS",
        "  if false then redis.call('HSET', CANCELS",
        tells_who_takes_it_again,
    ),
    "who was let go is still waited for": (
        6,
        "_release",
        "  redis.call('HDEL', waits_key(child), parent)",
        "",
        releases.test_a_child_of_several_runs_after_the_last_with_all_values_in_order,
    ),
    "a policy is not asked": (
        1,
        "_release",
        "  if not (RUNS[policy] or {})[how] then",
        "  if false then",
        releases.test_what_can_not_run_any_more_says_why_and_ends_what_waits_for_it,
    ),
    "who is cancelled since a parent failed counts as cancelled": (
        6,
        "_release",
        "  c.how, c.cause = how == 'failure' and 'failure' or 'cancelled', cause",
        "  c.how, c.cause = 'cancelled', cause",
        releases.test_what_can_not_run_any_more_says_why_and_ends_what_waits_for_it,
    ),
    "a released child stays among the deferred": (
        1,
        "_line",
        "    redis.call('ZREM', DEFERRED, m.id)",
        "",
        releases.test_a_child_waits_for_its_parent_and_is_claimed_in_the_call_that_ends_it,
    ),
    "an end does not ask for dependents": (
        6,
        "_finish",
        "  note_end_of(m, m.how or ENDS[state])",
        "",
        releases.test_a_child_of_several_runs_after_the_last_with_all_values_in_order,
    ),
    "who was noted before its parent came is forgotten": (
        6,
        "push",
        "  if verdict > 0 then write_dependents(id, fields.dependents, is_known) end",
        "  if verdict > 0 then write_dependents(id, fields.dependents, false) end",
        releases.test_who_was_noted_before_its_parent_was_pushed_is_released_all_the_same,
    ),
    "what one call does not reach is forgotten": (
        6,
        "_ends",
        "    if found[1] ~= '0' and not found.err then",
        "    if false then",
        releases.test_thousands_of_dependents_are_released_in_steps,
    ),
}


@pytest.mark.parametrize("name", RARE)
def test_a_test_finds(name: str, queue: TaskSettings) -> None:
    _, file, line, instead, test = RARE[name]
    text = read_lua(file)
    assert text.count(line) == 1, "the line is in the file, once"
    replaced = {file: text.replace(line, instead)}

    for planted, is_found in ((None, False), (replaced, True)):
        own = replace(queue, prefix=f"{queue.prefix}{is_found}")
        broker = Broker(own, load=cache(partial(assemble, replaced=planted)))
        broker.beat(["mail"], ["a"], register=True)
        with pytest.raises((AssertionError, KeyError, ValueError)) if is_found else nullcontext():
            test(broker)
        broker.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with Server() as server:
        yield server


# Minutes: a search for each, among all that the machine can do.
@pytest.mark.faults
@pytest.mark.timeout(600)  # a busy machine takes five times as long
@pytest.mark.parametrize("name", FAULTS)
def test_the_machine_finds(name: str, own_server: Server) -> None:
    _, file, line, instead = FAULTS[name]
    text = read_lua(file)
    assert text.count(line) == 1, "the line is in the file, once"

    class Faulty(Machine):
        server = own_server
        planted = {file: text.replace(line, instead)}

    with pytest.raises((AssertionError, BrokerUnavailable)):
        run_state_machine_as_test(
            Faulty,
            settings=settings(
                max_examples=1500,
                stateful_step_count=50,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
