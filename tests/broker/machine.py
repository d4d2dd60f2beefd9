"""A stateful test of all scripts at once: random calls by three consumers on two queues, with
deaths, lost answers, late and repeated calls, clock steps, lost memory. After each call the keys
are read raw and compared with what the call may have done (world.py has what is always true)."""

from __future__ import annotations

import math
import time
import uuid
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.broker.scripts import Script, assemble
from django_tasks.conf import TaskSettings
from tests.broker.world import FINAL, PREFIX, QUEUES, Line, World, check_places, check_steps, read
from tests.servers import Server

LEASE = 10.0
CONSUMERS = ("a", "b", "c")
SKEW = "skew"  # a key outside the prefix: seconds that the tests' clock is ahead
MARGIN = 200_000  # µs: what is nearer to a border of time than this is not judged

queues = st.sampled_from(QUEUES)
consumers = st.sampled_from(CONSUMERS)
WORDS = ("succeeded", "failed", "retried", "later", "snoozed", "dropped", "settled")


def skewed(name: str, planted: dict[str, str]) -> Script:
    """A script with the tests' clock, and perhaps a planted fault."""
    from django_tasks.broker.scripts import read_lua

    clock = read_lua("_now").replace(
        "local now = clock[1] * 1000000 + clock[2]",
        f"local now = clock[1] * 1000000 + clock[2] + (tonumber(redis.call('GET', '{SKEW}')) or 0)"
        " * 1000000",
    )
    assert SKEW in clock
    return assemble(name, {"_now": clock, **planted})


class Machine(RuleBasedStateMachine):
    """``server`` and ``planted`` are set by whoever runs it."""

    server: Server
    planted: dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        known: dict[str, Script] = {}

        def load(name: str) -> Script:
            if name not in known:
                known[name] = skewed(name, self.planted)
            return known[name]

        settings = TaskSettings(broker=self.server.url, prefix=PREFIX, lease=LEASE)
        self.broker = Broker(settings, load=load)

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.skew = 0
        self.rows: dict[str, dict[str, Any]] = {}  # id → what its row says
        self.claims: list[tuple[str, str, Message]] = []  # every claim that anybody ever got
        self.marks: dict[str, list[Any]] = {}  # what a mirror wrote and did not yet clean
        self.fences: dict[str, int] = {}  # id → the greatest fence given out
        self.before = read(self.client)
        self.clock_went_back = False
        for queue in QUEUES:
            self.broker.beat([queue], list(CONSUMERS), register=True)
        self.look(set())

    def teardown(self) -> None:
        if hasattr(self, "before"):
            self.drain()
        self.broker.close()
        self.client.close()

    # -- looking -----------------------------------------------------------------------------

    def now(self) -> float:
        return (time.time() + self.skew) * 1e6

    def look(self, touched: set[str], cleaned: frozenset[str] | set[str] = frozenset()) -> World:
        """The world after a call that spoke of ``touched``; the world before is ``self.past``."""
        self.past = self.before
        after = read(self.client)
        check_places(after)
        check_steps(self.past, after, touched, set(cleaned))
        self.before = after
        return after

    def line(self, queue: str) -> Line:
        return self.before[queue]

    def body(self, record_id: str) -> Message:
        """A message as delivery makes it from the row."""
        row = self.rows[record_id]
        return Message(
            id=record_id,
            task="t",
            queue=row["queue"],
            priority=row["priority"],
            record=row["record"],
            database="" if row["record"] == "never" else "default",
            max_attempts=3,
            max_lost=2,
            ttl=3600,
            round=row["round"],
            fence=row["fence"],
            revision=row["revision"],
        )

    def remember(self, queue: str, consumer: str, got: list[Message], is_lost: bool) -> None:
        for message in got:
            if not self.clock_went_back:
                assert message.fence > self.fences.get(message.id, 0), "a fence was given out twice"
            self.fences[message.id] = max(message.fence, self.fences.get(message.id, 0))
            if not is_lost:
                self.claims.append((queue, consumer, message))

    # -- calls -------------------------------------------------------------------------------

    @rule(
        queue=queues,
        priority=st.sampled_from([-5, 0, 5]),
        record=st.sampled_from(["first", "first", "first", "after", "never"]),
        delay=st.sampled_from([0, 0, 0, 20]),
    )
    def push(self, queue: str, priority: int, record: str, delay: int) -> None:
        record_id = str(uuid.uuid4())
        self.rows[record_id] = {
            "queue": queue,
            "priority": priority,
            "record": record,
            "round": 1,
            "fence": 0,
            "revision": 0,
            "status": "PENDING",
        }
        self.push_known(record_id, is_delivery=False, delay=delay)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), is_delivery=st.booleans(), is_new_round=st.booleans())
    def push_again(self, data: Any, is_delivery: bool, is_new_round: bool) -> None:
        record_id = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[record_id]
        if is_new_round and row["status"] in FINAL:
            row.update(round=row["round"] + 1, status="PENDING")
        if row["record"] == "first" and row["status"] not in FINAL:
            self.push_known(record_id, is_delivery)

    def push_known(self, record_id: str, is_delivery: bool, delay: int = 0) -> None:
        row = self.rows[record_id]
        queue = row["queue"]
        old = self.line(queue).messages.get(record_id)
        message = self.body(record_id)
        if delay:
            import dataclasses
            from datetime import UTC, datetime

            due = datetime.fromtimestamp(self.now() / 1e6 + delay, UTC)
            message = dataclasses.replace(message, run_after=due)

        [verdict] = self.broker.push(queue, [message], is_delivery=is_delivery)

        if old is None:
            expected = 1
        elif old.get("stub") == "1":
            expected = 2
        else:
            restarts = old["state"] in FINAL and int(old["round"]) < row["round"]
            expected = 1 if restarts else 0
        assert verdict == expected, (verdict, expected, old)
        new = self.look({record_id} if expected else set())[queue].messages[record_id]
        if expected == 1:
            assert new["state"] == ("SCHEDULED" if delay else "READY")
            assert (new["doubt"] == "1") == is_delivery
            assert int(new["round"]) == row["round"]
            assert int(new["revision"]) > row["revision"]
            assert "acked" not in new
            assert "charged" not in new
        if expected == 2:
            assert (new["state"], new.get("stub")) == ("RUNNING", None)
            assert new["fence"] == old["fence"]  # type: ignore[index]

    @rule(queue=queues, consumer=consumers, limit=st.integers(1, 3), is_lost=st.booleans())
    def claim(self, queue: str, consumer: str, limit: int, is_lost: bool) -> None:
        expected, may_vary = self.expected_claim(queue, consumer, limit)

        got = self.broker.claim(queue, consumer, limit)

        self.check_claimed(queue, consumer, got, expected, may_vary, set())
        self.remember(queue, consumer, got, is_lost)

    def expected_claim(
        self, queue: str, consumer: str, limit: int, line: Line | None = None
    ) -> tuple[list[str], bool]:
        """Ids in order; and whether a border of time is too near to be sure."""
        line = line or self.line(queue)
        if consumer not in line.workers:
            return [], False
        era = float(line.meta.get("era", 0))
        age = self.now() - era
        may_vary = abs(age - 3e6) < MARGIN or abs(age) < MARGIN / 100
        is_quiet = age < 3e6
        expected: list[str] = []
        for one in list(line.ready)[:limit]:
            m = line.messages[one]
            doubt = m.get("doubt") == "1" or m["era"] not in (era_of(line), line.meta.get("run"))
            if doubt and is_quiet:
                break
            if m.get("suspect") == "1" and expected:
                break
            expected.append(one)
            if m.get("suspect") == "1":
                break
        return expected, may_vary

    def check_claimed(
        self,
        queue: str,
        consumer: str,
        got: list[Message],
        expected: list[str],
        may_vary: bool,
        others: set[str],
    ) -> None:
        ids = [message.id for message in got]
        if not may_vary:
            assert ids == expected, (queue, consumer, ids, expected)
        line = self.look({*ids, *others})[queue]
        for message in got:
            m = line.messages[message.id]
            assert (m["state"], m["consumer"]) == ("RUNNING", consumer)
            assert int(m["fence"]) == int(m["revision"]) == message.fence
            old = self.past[queue].messages.get(message.id, {})
            if message.id not in others:
                assert message.fence > max(int(old["fence"]), int(old["revision"]))

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        word=st.sampled_from(WORDS),
        limit=st.integers(0, 2),
        is_late=st.booleans(),
        is_lost=st.booleans(),
    )
    def ack(self, data: Any, word: str, limit: int, is_late: bool, is_lost: bool) -> None:
        """By anybody for any claim that ever was: late, repeated, of the dead."""
        at = data.draw(st.integers(0, len(self.claims) - 1)) if is_late else len(self.claims) - 1
        queue, consumer, message = self.claims[at]
        old = self.line(queue).messages.get(message.id)
        delay = 60.0 if word in ("later", "snoozed") else 0.0
        outcome = Outcome(message, "retried" if word == "later" else word, delay, 0.001, {})

        acked = self.broker.ack(queue, consumer, [outcome], claim=limit)

        verdict = self.expected_verdict(old, consumer, message.fence)
        given = (acked.accepted, acked.refused, acked.unknown)
        assert given == (
            [message.id] if verdict == 1 else [],
            [message.id] if verdict == 0 else [],
            [message.id] if verdict == -1 else [],
        ), (verdict, given, old)
        is_new = verdict == 1 and old is not None and old.get("acked") != str(message.fence)
        ids = {one.id for one in acked.claimed}
        self.check_claimed(queue, consumer, acked.claimed, [], True, {message.id})
        if is_new and message.id not in ids:
            self.check_outcome(queue, old or {}, message, outcome)
        self.remember(queue, consumer, acked.claimed, is_lost)

    def expected_verdict(self, old: dict[str, str] | None, consumer: str, fence: int) -> int:
        if old is None or old.get("stub") == "1":
            return -1
        if old.get("acked") == str(fence):
            return 1
        if old["state"] == "RUNNING":
            return int(old["consumer"] == consumer and int(old["fence"]) == fence)
        return int(old["state"] not in FINAL and fence >= int(old["fence"]))

    def check_outcome(
        self, queue: str, old: dict[str, str], message: Message, outcome: Outcome
    ) -> None:
        new = self.line(queue).messages.get(message.id)
        if outcome.word in ("dropped", "settled"):
            assert new is None
            return
        assert new is not None
        states = {"succeeded": "SUCCESSFUL", "failed": "FAILED"}
        waits = "SCHEDULED" if outcome.delay else "READY"
        assert new["state"] == states.get(outcome.word, waits), (outcome.word, new)
        attempts = int(old.get("attempt", 0)) + (outcome.word in ("failed", "retried"))
        assert int(new.get("attempt", 0)) == attempts
        was_charged = old.get("charged") == old["fence"]
        assert int(new.get("lost", 0)) == int(old.get("lost", 0)) - was_charged
        assert new["acked"] == str(message.fence)
        assert "suspect" not in new
        assert "doubt" not in new

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        queue, consumer, message = data.draw(st.sampled_from(self.claims))
        old = self.line(queue).messages.get(message.id)
        is_his = (
            old is not None
            and old["state"] == "RUNNING"
            and (old["consumer"], int(old["fence"])) == (consumer, message.fence)
        )

        given = self.broker.give_back(queue, consumer, [(message.id, message.fence, "")])

        assert given == int(is_his)
        new = self.look({message.id} if is_his else set())[queue].messages.get(message.id)
        if is_his and old is not None and old.get("stub") == "1":
            assert new is None
        elif is_his and old is not None and new is not None:
            assert new["state"] == "READY"
            assert float(new["score"]) == float(old["score"]), "it kept its place"
            assert int(new["fence"]) > message.fence
            assert (new.get("lost"), new.get("attempt")) == (old.get("lost"), old.get("attempt"))

    @rule(queue=queues, consumer=consumers, data=st.data())
    def reap(self, queue: str, consumer: str, data: Any) -> None:
        """A child died; its board shows some of what it held as running."""
        held = self.line(queue).holdings.get(consumer, {})
        running = data.draw(st.sets(st.sampled_from(sorted(held)), max_size=2)) if held else set()

        self.broker.reap(queue, consumer, sorted(running))

        self.check_reaped(queue, {consumer: running})

    @rule(queue=queues)
    def reap_overdue(self, queue: str) -> None:
        """Whose lease ran out; nobody's, if nobody could beat."""
        line = self.line(queue)
        now = self.now()
        overdue = {one for one, deadline in line.workers.items() if deadline < now}
        last_beat = float(line.meta.get("last_beat", 0))
        is_beating = "last_beat" in line.meta and 0 <= now - last_beat <= LEASE * 1e6 / 2
        borders = [deadline - now for deadline in line.workers.values()]
        borders += [now - last_beat, now - last_beat - LEASE * 1e6 / 2]

        reaped = {one.consumer for one in self.broker.reap(queue)}

        if all(abs(border) > MARGIN / 100 for border in borders):
            assert reaped == (overdue if is_beating else set())
        self.check_reaped(queue, {one: set(line.holdings.get(one, {})) for one in reaped})

    def check_reaped(self, queue: str, dead: dict[str, set[str]]) -> None:
        line = self.line(queue)
        held = {one: set(line.holdings.get(one, {})) for one in dead}
        after = self.look({one for ids in held.values() for one in ids})[queue]
        for consumer, guilty in dead.items():
            assert consumer not in after.workers
            assert consumer not in after.holdings
            is_stopping = consumer in line.stopping
            for one in held[consumer]:
                old, new = line.messages[one], after.messages.get(one)
                if old.get("stub") == "1":
                    assert new is None
                    continue
                assert new is not None
                may_be = one in guilty and not is_stopping
                is_charged = may_be and len(guilty) == 1
                lost = int(old.get("lost", 0)) + is_charged
                assert int(new.get("lost", 0)) == lost, (old, new)
                is_dead = is_charged and lost >= int(old["max_lost"])
                assert new["state"] == ("FAILED" if is_dead else "READY")
                assert new["fence"] == old["fence"]
                if not is_dead:
                    is_suspect = old.get("suspect") == "1" or (may_be and len(guilty) > 1)
                    assert (new.get("suspect") == "1") == is_suspect, (old, new)
                    assert float(new["score"]) == float(old["score"])

    @rule(queue=queues)
    def promote(self, queue: str) -> None:
        line = self.line(queue)
        now = self.now()
        due = {one for one, at in line.scheduled.items() if at <= now}
        is_near = any(abs(at - now) < MARGIN for at in line.scheduled.values())

        self.broker.promote(queue)

        after = self.look(set(line.scheduled))[queue]
        assert is_near or set(line.scheduled) - set(after.scheduled) == due
        assert after.wake == 1 or not after.ready

    @rule(queue=queues, chosen=st.sets(consumers), register=st.booleans(), stop=st.booleans())
    def beat(self, queue: str, chosen: set[str], register: bool, stop: bool) -> None:
        line = self.line(queue)

        pulse = self.broker.beat([queue], sorted(chosen), register=register, is_stopping=stop)[queue]

        after = self.look(set())[queue]
        known = set(line.workers)
        assert set(pulse.unknown) == (set() if register else chosen - known)
        assert set(after.workers) == (known | chosen if register else known)
        is_new = not line.meta.get("era") or line.meta["run"] != self.client.info()["run_id"]
        assert (after.meta["era"] != line.meta.get("era")) == is_new
        assert math.floor(float(after.meta["era"])) >= math.floor(float(line.meta.get("era", 0)))
        for one in chosen & set(after.workers):
            assert abs(after.workers[one] - self.now() - LEASE * 1e6) < 5 * MARGIN
        last_beat = float(line.meta.get("last_beat", 0))
        silence = self.now() - last_beat
        if silence > LEASE * 1e6 / 2 + MARGIN or silence < -MARGIN:
            for deadline in after.workers.values():
                assert deadline > self.now(), "time without any beat counts against nobody"

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), with_body=st.booleans())
    def reassert(self, data: Any, with_body: bool) -> None:
        queue, consumer, message = data.draw(st.sampled_from(self.claims))
        line = self.line(queue)
        old = line.messages.get(message.id)
        body = message if with_body else None
        is_his = (
            old is not None
            and old["state"] == "RUNNING"
            and (old["consumer"], int(old["fence"])) == (consumer, message.fence)
        )
        if consumer not in line.workers:
            expected = False
        elif old is None or old["state"] == "RUNNING":
            expected = old is None or is_his
        else:
            is_newest = message.fence >= int(old["fence"]) and old["state"] not in FINAL
            expected = is_newest and old.get("acked") != str(message.fence)

        refused = self.broker.reassert(queue, consumer, [(message.id, message.fence, body)])

        assert (refused == []) == expected, (old, consumer, message.fence)
        new = self.look({message.id} if expected else set())[queue].messages.get(message.id)
        if expected:
            assert new is not None
            assert (new["state"], new["consumer"]) == ("RUNNING", consumer)
            assert int(new["fence"]) == message.fence
            was_charged = old is not None and old.get("charged") == old["fence"] and not is_his
            if was_charged and old is not None:
                assert int(new["lost"]) == int(old["lost"]) - 1

    # -- the mirror, its read and its clean as two steps -----------------------------------------

    @rule(queue=queues)
    def mirror_writes(self, queue: str) -> None:
        """Read what is dirty and write the rows, as law 5 has it; the clean comes later."""
        marks: list[Any] = []
        line = self.line(queue)
        for one in line.dirty:
            m, row = line.messages.get(one), self.rows.get(one)
            if m is None or m.get("stub") == "1":
                continue
            if row is None:
                marks.append((one, "gone", 0, "", ()))
                continue
            revision, round_ = int(m["revision"]), int(m["round"])
            is_final = row["status"] in FINAL
            if row["round"] < round_ or (
                row["round"] == round_ and not is_final and row["revision"] <= revision
            ):
                row.update(
                    status=m["state"], round=round_, revision=revision, fence=int(m["fence"])
                )
                marks.append((one, "written", revision, m["state"], ()))
            elif row["round"] > round_:
                verb = "written" if m["state"] in FINAL else "settled"
                word = m["state"] if m["state"] in FINAL else "CANCELLED"
                marks.append((one, verb, revision, word, ()))
            elif is_final:
                verb = "written" if row["status"] == m["state"] else "settled"
                marks.append((one, verb, revision, row["status"], ()))
            else:
                marks.append((one, "ahead", row["revision"], str(row["fence"]), ()))
        self.marks[queue] = marks

    @rule(queue=queues)
    def mirror_cleans(self, queue: str) -> None:
        marks = self.marks.pop(queue, [])
        if not marks:
            return
        line = self.line(queue)

        self.broker.clean(queue, "default", marks)

        ids = {mark[0] for mark in marks}
        after = self.look(ids, ids)[queue]
        for one, verb, revision, word, _ in marks:
            old, new = line.messages.get(one), after.messages.get(one)
            if old is None:
                assert one not in after.dirty
            elif verb == "written":
                is_same = (int(old["revision"]), old["state"]) == (revision, word)
                assert (one in after.dirty) == (one in line.dirty and not is_same)
                if new is not None:
                    unchanged = {**old, "recorded": "1"} if is_same else old
                    assert new == unchanged
                    is_leaving = is_same and old["state"] in FINAL
                    assert (after.ttl[one] > 0) == (is_leaving or line.ttl[one] > 0)
            elif verb == "settled":
                assert new is not None
                assert new["state"] == word
                assert one not in after.dirty
            elif verb == "ahead" and new is not None:
                assert int(new["revision"]) > revision
                assert one in after.dirty

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def row_is_final(self, data: Any) -> None:
        """Written by someone else first: a person's cancel, an atomic task's own transaction."""
        row = self.rows[data.draw(st.sampled_from(sorted(self.rows)))]
        if row["status"] not in FINAL:
            row.update(status="CANCELLED", revision=row["revision"] + 1)

    # -- what the world does to it ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 4, 6, 11, 70, -4, -40]))
    def clock_steps(self, seconds: int) -> None:
        self.skew += seconds
        self.clock_went_back |= seconds < 0
        self.client.set(SKEW, self.skew)

    @rule(is_whole=st.booleans())
    def memory_is_lost(self, is_whole: bool) -> None:
        """FLUSHALL; or another run of the server, with its memory."""
        if is_whole:
            for key in self.client.keys(f"{PREFIX}:*"):
                self.client.delete(key)
        else:
            for queue in QUEUES:
                if self.client.exists(f"{PREFIX}:{{{queue}}}:meta"):
                    self.client.hset(f"{PREFIX}:{{{queue}}}:meta", "run", "another")
        self.before = read(self.client)

    # -- the end ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Nothing is stuck: living consumers bring every message to an end."""
        for queue in QUEUES:
            self.mirror_writes(queue)
            self.mirror_cleans(queue)
            for consumer in CONSUMERS:
                self.broker.beat([queue], [consumer], register=True)
                self.broker.reap(queue, consumer)
            self.look(set(self.line(queue).messages))
        self.client.set(SKEW, self.skew + 100)
        for queue in QUEUES:
            self.broker.beat([queue], ["last"], register=True)
            for _ in range(3 * len(self.line(queue).messages) + 3):
                self.broker.promote(queue)
                got = self.broker.claim(queue, "last", 3)
                outcomes = [Outcome(one, "succeeded") for one in got]
                assert self.broker.ack(queue, "last", outcomes).refused == []
            line = read(self.client)[queue]
            left = {one: m for one, m in line.messages.items() if m["state"] not in FINAL}
            assert left == {}, (queue, left)


def era_of(line: Line) -> str:
    return line.meta.get("era", "")
