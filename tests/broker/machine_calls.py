"""The machine's pushes, claims and acks, and how it looks at what they did (machine.py)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.broker.scripts import Script, assemble
from django_tasks.conf import TaskSettings
from tests.broker.world import (
    FINAL,
    PREFIX,
    QUEUES,
    Line,
    World,
    check_places,
    check_steps,
    era_of,
    read,
)
from tests.servers import Server

LEASE = 10.0
CONSUMERS = ("a", "b", "c")
CLOCK = "clock"  # a key outside the prefix: the server's time in µs, a tick later at each call

queues = st.sampled_from(QUEUES)
consumers = st.sampled_from(CONSUMERS)
WORDS = ("succeeded", "failed", "retried", "later", "snoozed", "dropped", "settled")

NOW = """
local now = redis.call('INCR', 'clock')
local NOW = digits(now)
"""


def clocked(name: str, planted: dict[str, str]) -> Script:
    """A script with the tests' clock, and perhaps a planted fault."""
    return assemble(name, {"_now": NOW, **planted})


class Calls(RuleBasedStateMachine):
    """What it knows, and its first rules; Machine has the rest (`beat`, `mirror`, reaps)."""

    server: Server
    planted: dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.raw = self.server.client(decode_responses=False)
        known: dict[str, Script] = {}

        def load(name: str) -> Script:
            if name not in known:
                known[name] = clocked(name, self.planted)
            return known[name]

        settings = TaskSettings(broker=self.server.url, prefix=PREFIX, lease=LEASE)
        self.broker = Broker(settings, load=load)

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.client.set(CLOCK, 1_800_000_000_000_000)
        self.rows: dict[str, dict[str, Any]] = {}  # id → what its row says
        self.claims: list[tuple[str, str, Message]] = []  # every claim that anybody ever got
        self.marks: dict[str, list[Any]] = {}  # what a mirror wrote and did not yet clean
        self.fences: dict[str, int] = {}  # id → the greatest fence given out
        self.given: dict[tuple[str, str, int], int] = {}  # (id, consumer, fence) → its number
        self.saved: list[tuple[str, int, bytes]] = []  # a dump: key, ms to live, contents
        self.cancelled: set[tuple[str, int]] = set()  # (id, round) that were, and did not run
        self.before = read(self.client)
        self.clock_went_back = False
        for queue in QUEUES:
            self.broker.beat([queue], list(CONSUMERS), register=True)
        self.look(set())
        for queue in QUEUES:
            for _ in range(3):
                self.push(queue, 0, "first", 0)

    def teardown(self) -> None:
        if hasattr(self, "before"):
            self.drain()
        self.broker.close()
        self.client.close()
        self.raw.close()

    # -- looking -----------------------------------------------------------------------------

    def now(self) -> int:
        """What the next call will take for now."""
        return int(self.client.get(CLOCK)) + 1

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
            args="[1]",
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
            self.given[message.id, consumer, message.fence] = len(self.given)
            if not is_lost:
                self.claims.append((queue, consumer, message))

    def order(self, consumer: str, message: Message) -> int:
        """Which of all claims it was."""
        return self.given[message.id, consumer, message.fence]

    def is_outdated(self, queue: str, one: str, old: dict[str, str], fence: int) -> bool:
        """The message is held since an earlier era, and ``fence`` was given out after that."""
        meta = self.line(queue).meta
        eras = (meta.get("era"), meta.get("run"))
        if old["state"] != "RUNNING" or fence <= int(old["fence"]) or old.get("era") in eras:
            return False
        holder = self.given.get((one, old["consumer"], int(old["fence"])), -1)
        claim = max(n for (of, _, given), n in self.given.items() if (of, given) == (one, fence))
        assert self.clock_went_back or claim > holder, "what holds is never taken by an older one"
        return True

    # -- calls -------------------------------------------------------------------------------

    @rule(
        queue=queues,
        priority=st.sampled_from([-5, 0, 5]),
        record=st.sampled_from(["first", "first", "first", "after", "never"]),
        delay=st.sampled_from([0, 0, 0, 20]),
    )
    def push(self, queue: str, priority: int, record: str, delay: int) -> None:
        self.push_known(self.new_row(queue, priority, record), is_delivery=False, delay=delay)

    def new_row(self, queue: str, priority: int, record: str) -> str:
        record_id = str(uuid.UUID(int=len(self.rows) + 1))
        self.rows[record_id] = {
            "queue": queue,
            "priority": priority,
            "record": record,
            "round": 1,
            "fence": 0,
            "revision": 0,
            "status": "PENDING",
        }
        return record_id

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
            due = datetime.fromtimestamp(self.now() / 1e6 + delay, UTC)
            message = replace(message, run_after=due)

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
            assert (new.get("doubt") == "1") == is_delivery
            assert int(new["round"]) == row["round"]
            assert int(new["revision"]) > row["revision"]
            assert "acked" not in new
            assert "charged" not in new
        if expected == 2:
            assert (new["state"], new.get("stub")) == ("RUNNING", None)
            assert new["fence"] == old["fence"]  # type: ignore[index]

    @rule(
        queue=queues,
        consumer=consumers,
        limit=st.integers(1, 3),
        is_lost=st.sampled_from([False, False, True]),
        is_known=st.sampled_from([True, True, True, False]),
    )
    def claim_any(
        self, queue: str, consumer: str, limit: int, is_lost: bool, is_known: bool
    ) -> None:
        """By the living, mostly."""
        if is_known and consumer not in self.line(queue).workers:
            self.beat(queue, {consumer}, True, False)
        self.claim(queue, consumer, limit, is_lost)

    def claim(self, queue: str, consumer: str, limit: int, is_lost: bool) -> None:
        expected = self.expected_claim(queue, consumer, limit)

        got = self.broker.claim(queue, consumer, limit)

        assert [message.id for message in got] == expected
        self.check_claimed(queue, consumer, got, set())
        self.remember(queue, consumer, got, is_lost)

    def expected_claim(self, queue: str, consumer: str, limit: int) -> list[str]:
        """Ids in order."""
        line = self.line(queue)
        if consumer not in line.workers:
            return []
        is_quiet = 0 <= self.now() - float(line.meta["since"]) < 3e6
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
        return expected

    def check_claimed(
        self, queue: str, consumer: str, got: list[Message], others: set[str]
    ) -> None:
        ids = {message.id for message in got}
        line = self.look({*ids, *others})[queue]
        for message in got:
            assert (message.id, message.round) not in self.cancelled
            m = line.messages[message.id]
            assert (m["state"], m["consumer"]) == ("RUNNING", consumer)
            assert int(m["fence"]) == int(m["revision"]) == message.fence
            old = self.past[queue].messages.get(message.id, {})
            if message.doubt:  # whoever gets it next has to look too, until it was acked
                assert (m.get("doubt"), m["era"]) == ("1", era_of(line))
            if message.id not in others:
                assert message.fence > max(int(old["fence"]), int(old["revision"]))

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        word=st.sampled_from(WORDS),
        limit=st.integers(0, 2),
        is_lost=st.booleans(),
        times=st.sampled_from([1, 1, 2]),
    )
    def ack_any(self, data: Any, word: str, limit: int, is_lost: bool, times: int) -> None:
        """By anybody for any claim that ever was: late, repeated, of the dead."""
        claim = data.draw(st.sampled_from(self.claims))
        for _ in range(times):
            self.ack(claim, word, limit, is_lost)

    @precondition(lambda self: self.held_claims())
    @rule(data=st.data(), word=st.sampled_from(WORDS), limit=st.integers(0, 2))
    def ack_held(self, data: Any, word: str, limit: int) -> None:
        """As a living child does."""
        self.ack(data.draw(st.sampled_from(self.held_claims())), word, limit, False)

    @precondition(lambda self: self.held_claims())
    @rule(data=st.data(), word=st.sampled_from(WORDS), is_claimed_again=st.booleans())
    def ack_after_death(self, data: Any, word: str, is_claimed_again: bool) -> None:
        """The child ended its task and was killed: its ack comes after its reap, and perhaps
        after another claim, by another or by one of its own name."""
        claim = data.draw(st.sampled_from(self.held_claims()))
        queue, consumer, message = claim
        self.broker.reap(queue, consumer, [message.id])
        self.check_reaped(queue, {consumer: {message.id}})
        if is_claimed_again:
            heir = data.draw(consumers)
            self.beat(queue, {heir}, True, False)
            self.claim(queue, heir, 3, False)
        self.ack(claim, word, 0, False)

    @rule(
        queue=queues,
        consumer=consumers,
        words=st.lists(st.sampled_from([*WORDS, ""]), min_size=1, max_size=3),
        mirrors=st.sampled_from(["", "writes", "both"]),
        is_charged=st.booleans(),
    )
    def work(
        self, queue: str, consumer: str, words: list[str], mirrors: str, is_charged: bool
    ) -> None:
        """A child's day: claim, perhaps mirrored, ack (or die while running: "")."""
        self.claim_any(queue, consumer, len(words), False, True)
        if mirrors:
            self.mirror(queue, mirrors)
        held = [one for one in self.held_claims() if one[:2] == (queue, consumer)]
        for claim, word in zip(held, words, strict=False):
            if word:
                self.ack(claim, word, 0, False)
        if "" in words:
            running = set(self.line(queue).holdings.get(consumer, {}))
            running = running if is_charged else set()
            self.broker.reap(queue, consumer, sorted(running))
            self.check_reaped(queue, {consumer: running})

    def held_claims(self) -> list[tuple[str, str, Message]]:
        """Those that the broker says are good now."""
        return [
            (queue, consumer, message)
            for queue, consumer, message in self.claims
            if self.line(queue).holdings.get(consumer, {}).get(message.id) == str(message.fence)
        ]

    def ack(self, claim: tuple[str, str, Message], word: str, limit: int, is_lost: bool) -> None:
        queue, consumer, message = claim
        old = self.line(queue).messages.get(message.id)
        delay = 60.0 if word in ("later", "snoozed") else 0.0
        outcome = Outcome(message, "retried" if word == "later" else word, delay, 0.001, {})

        acked = self.broker.ack(queue, consumer, [outcome], claim=limit)

        verdict = self.expected_verdict(queue, message.id, old, consumer, message.fence)
        given = (acked.accepted, acked.refused, acked.unknown)
        assert given == (
            [message.id] if verdict == 1 else [],
            [message.id] if verdict == 0 else [],
            [message.id] if verdict == -1 else [],
        ), (verdict, given, old)
        is_new = verdict == 1 and old is not None and old.get("acked") != str(message.fence)
        ids = {one.id for one in acked.claimed}
        self.check_claimed(queue, consumer, acked.claimed, {message.id})
        if is_new and message.id not in ids:
            self.check_outcome(queue, old or {}, message, outcome)
        self.remember(queue, consumer, acked.claimed, is_lost)

    def expected_verdict(
        self, queue: str, record_id: str, old: dict[str, str] | None, consumer: str, fence: int
    ) -> int:
        if old is None or old.get("stub") == "1":
            return -1
        if old.get("acked") == str(fence):
            return 1
        if old["state"] == "RUNNING":
            is_holder = old["consumer"] == consumer and int(old["fence"]) == fence
            return int(is_holder or self.is_outdated(queue, record_id, old, fence))
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
        waits = "CANCELLED" if "cancel" in old else "SCHEDULED" if outcome.delay else "READY"
        assert new["state"] == states.get(outcome.word, waits), (outcome.word, new)
        attempts = int(old.get("attempt", 0)) + (outcome.word in ("failed", "retried"))
        assert int(new.get("attempt", 0)) == attempts
        was_charged = old.get("charged") == old["fence"]
        assert int(new.get("lost", 0)) == int(old.get("lost", 0)) - was_charged
        assert new["acked"] == str(message.fence)
        assert "suspect" not in new
        assert "doubt" not in new
