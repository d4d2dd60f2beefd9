"""A stateful test of all scripts at once: random calls by three consumers on two queues, with
deaths, lost answers, late and repeated calls, clock steps, lost memory, and memory that came back
older than it was. After each call the keys are read raw and compared with what the call may have
done (world.py has what is always true)."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from django_tasks.broker.message import Message, Outcome
from tests.broker.machine_calls import CLOCK, CONSUMERS, LEASE, consumers, queues
from tests.broker.machine_deeds import Deeds
from tests.broker.world import FINAL, PREFIX, QUEUES, era_of, read


class Machine(Deeds):
    """``server`` and ``planted`` are set by whoever runs it."""

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
        if is_his and old is not None and "cancel" in old:
            self.check_cancelled(old, new)
        elif is_his and old is not None and old.get("stub") == "1":
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

    def reap_overdue(self, queue: str) -> None:
        """Whose lease ran out; nobody's, if nobody could beat."""
        line = self.line(queue)
        now = self.now()
        overdue = {one for one, deadline in line.workers.items() if deadline < now}
        last_beat = float(line.meta.get("last_beat", 0))
        is_beating = "last_beat" in line.meta and 0 <= now - last_beat <= LEASE * 1e6 / 2

        reaped = {one.consumer for one in self.broker.reap(queue)}

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
                may_be = one in guilty and not is_stopping
                if "cancel" in old:
                    self.check_cancelled(old, new, is_noted=may_be)
                    continue
                if old.get("stub") == "1":
                    assert new is None
                    continue
                assert new is not None
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

    def promote(self, queue: str) -> None:
        line = self.line(queue)
        now = self.now()
        due = {one for one, at in line.scheduled.items() if at <= now}
        self.broker.promote(queue)

        after = self.look(set(line.scheduled))[queue]
        assert set(line.scheduled) - set(after.scheduled) == due
        assert after.wake == 1 or not after.ready

    @rule(queue=queues, chosen=st.sets(consumers), register=st.booleans(), stop=st.booleans())
    def beat(self, queue: str, chosen: set[str], register: bool, stop: bool) -> None:
        line, now = self.line(queue), self.now()

        pulse = self.broker.beat([queue], sorted(chosen), register=register, is_stopping=stop)[
            queue
        ]

        after = self.look(set())[queue]
        self.check_told(line, after, pulse.cancels)
        known = set(line.workers)
        assert set(pulse.unknown) == (set() if register else chosen - known)
        assert set(after.workers) == (known | chosen if register else known)
        is_new = not line.meta.get("era") or line.meta["run"] != self.client.info()["run_id"]
        assert (after.meta["era"] != line.meta.get("era")) == is_new
        assert math.floor(float(after.meta["era"])) >= math.floor(float(line.meta.get("era", 0)))
        for one in chosen & set(after.workers):
            assert after.workers[one] == now + LEASE * 1e6
        last_beat = float(line.meta.get("last_beat", 0))
        if not 0 <= now - last_beat <= LEASE * 1e6 / 2:
            for deadline in after.workers.values():
                assert deadline == now + LEASE * 1e6, "such time counts against nobody"

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), with_body=st.booleans())
    def reassert(self, data: Any, with_body: bool) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        self.reassert_claim(claim, claim[2] if with_body else None)

    def reassert_claim(self, claim: tuple[str, str, Message], body: Message | None) -> None:
        queue, consumer, message = claim
        line = self.line(queue)
        old = line.messages.get(message.id)
        is_his = (
            old is not None
            and old["state"] == "RUNNING"
            and (old["consumer"], int(old["fence"])) == (consumer, message.fence)
        )
        if consumer not in line.workers:
            expected = False
        elif old is None or old["state"] == "RUNNING":
            expected = (
                old is None or is_his or self.is_outdated(queue, message.id, old, message.fence)
            )
        else:
            is_newest = message.fence >= int(old["fence"]) and old["state"] not in FINAL
            expected = is_newest and old.get("acked") != str(message.fence)

        verdicts = self.broker.reassert(queue, consumer, [(message.id, message.fence, body)])

        refusal = 0 if consumer in line.workers else -1
        assert verdicts == {message.id: 1 if expected else refusal}, (old, consumer, message.fence)
        new = self.look({message.id} if expected else set())[queue].messages.get(message.id)
        if expected:
            assert new is not None
            assert (new["state"], new["consumer"]) == ("RUNNING", consumer)
            assert int(new["fence"]) == message.fence
            assert new["era"] == era_of(line)
            if old is not None and old["era"] != new["era"]:
                assert new.get("doubt") == "1", "if its process dies, its row is looked at first"
            was_charged = old is not None and old.get("charged") == old["fence"] and not is_his
            if was_charged and old is not None:
                assert int(new["lost"]) == int(old["lost"]) - 1

    # -- the mirror, its read and its clean as two steps -----------------------------------------

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
    @rule(data=st.data(), chance=st.integers(0, 3))
    def row_is_final(self, data: Any, chance: int) -> None:
        """Written by someone else first: a person's cancel, an atomic task's own transaction."""
        if chance:
            return
        row = self.rows[data.draw(st.sampled_from(sorted(self.rows)))]
        if row["status"] not in FINAL:
            row.update(status="CANCELLED", revision=row["revision"] + 1)

    @rule(queue=queues, step=st.sampled_from(["writes", "cleans", "both", "both"]))
    def mirror(self, queue: str, step: str) -> None:
        """Anything may happen between its write and its clean."""
        if step != "cleans":
            self.mirror_writes(queue)
        if step != "writes":
            self.mirror_cleans(queue)

    # -- what the world does to it ---------------------------------------------------------------

    @rule(
        seconds=st.sampled_from([0, 0, 1, 4, 6, 11, 70, -4, -40]),
        chance=st.integers(0, 9),
        is_whole=st.booleans(),
    )
    def world_turns(self, seconds: int, chance: int, is_whole: bool) -> None:
        """The clock steps; seldom the memory is lost (FLUSHALL), or another run of the server
        begins with its memory: what is lost early leaves nothing to look at."""
        self.clock_went_back |= seconds < 0
        self.client.incrby(CLOCK, seconds * 1_000_000)
        if chance:
            return
        if is_whole:
            for key in self.client.keys(f"{PREFIX}:*"):
                self.client.delete(key)
            self.cancelled.clear()  # their rows alone know
        else:
            self.begin_another_run()
        self.before = read(self.client)

    def begin_another_run(self) -> None:
        """As a restarted server is to its keys."""
        for queue in QUEUES:
            if self.client.exists(f"{PREFIX}:{{{queue}}}:meta"):
                self.client.hset(f"{PREFIX}:{{{queue}}}:meta", "run", "another")

    @rule()
    def save(self) -> None:
        """The server writes its dump; what comes later is not in it."""
        keys = self.client.keys(f"{PREFIX}:*")
        self.saved = [(key, max(self.raw.pttl(key), 0), self.raw.dump(key)) for key in keys]

    @precondition(lambda self: self.saved)
    @rule(chance=st.integers(0, 4), reasserts=st.booleans())
    def roll_back(self, chance: int, reasserts: bool) -> None:
        """The server died and another run of it begins with an old dump (or an append-only file
        without its last second): its first callers beat, then say what they run."""
        if not chance:
            self.restore(reasserts)

    @precondition(lambda self: self.held_claims())
    @rule(
        data=st.data(),
        heir=consumers,
        who=st.sampled_from(["nobody", "the newest", "the holder"]),
        chance=st.integers(0, 2),
    )
    def lose_a_span(self, data: Any, heir: str, who: str, chance: int) -> None:
        """What was held at the dump was taken back and given to another since; then the dump."""
        if chance:
            return
        held = data.draw(st.sampled_from(self.held_claims()))
        queue, consumer, message = held
        self.save()
        self.broker.reap(queue, consumer, [message.id])
        self.check_reaped(queue, {consumer: {message.id}})
        self.beat(queue, {heir}, True, False)
        self.claim(queue, heir, 3, False)
        self.restore(who == "the newest")
        if who == "the holder":
            self.beat(queue, {consumer}, True, False)
            self.reassert_claim(held, None)
        if data.draw(st.booleans()):
            rivals = [claim for claim in self.claims if claim[2].id == message.id]
            self.ack(data.draw(st.sampled_from(rivals)), "succeeded", 0, False)

    def restore(self, reasserts: bool) -> None:
        for key in self.client.keys(f"{PREFIX}:*"):
            self.client.delete(key)
        for key, ttl, dump in self.saved:
            self.raw.restore(key, ttl, dump)
        self.begin_another_run()
        self.cancelled.clear()
        self.before = read(self.client)
        for queue in QUEUES:
            self.beat(queue, set(CONSUMERS), reasserts, False)
        if reasserts:
            for claim in self.newest_claims():
                self.reassert_claim(claim, None)

    def newest_claims(self) -> list[tuple[str, str, Message]]:
        """Of each message the claim that was given out last, ever."""
        newest: dict[str, tuple[str, str, Message]] = {}
        for claim in self.claims:
            known = newest.get(claim[2].id)
            if known is None or self.order(*known[1:]) < self.order(*claim[1:]):
                newest[claim[2].id] = claim
        return list(newest.values())

    @rule(queue=queues, call=st.sampled_from(["promote", "reap_overdue"]))
    def tend(self, queue: str, call: str) -> None:
        """What a supervisor does all the time."""
        getattr(self, call)(queue)

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
        self.client.incrby(CLOCK, 200_000_000)
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
        self.deliver_rows()

    def deliver_rows(self) -> None:
        """Law 6: what the broker lost comes back from the rows, and every row ends."""
        for queue in QUEUES:
            unfinished = {
                one: row
                for one, row in self.rows.items()
                if (row["queue"], row["record"]) == (queue, "first") and row["status"] not in FINAL
            }
            rounds = {one: int(row["round"]) for one, row in unfinished.items()}
            unknown = self.broker.unknown_ids(queue, rounds)
            messages = [self.body(one) for one in sorted(unknown)]
            assert self.broker.push(queue, messages, is_delivery=True) == [1] * len(messages)
            self.client.incrby(CLOCK, 4_000_000)
            got = self.broker.claim(queue, "last", 1000)
            assert {one.id for one in got} == unknown
            outcomes = [Outcome(one, "succeeded") for one in got]
            assert self.broker.ack(queue, "last", outcomes).refused == []
            self.before = read(self.client)
            for _ in range(3):  # a message behind its row is raised above it first
                self.mirror_writes(queue)
                self.mirror_cleans(queue)
            left = {one: row for one, row in unfinished.items() if row["status"] not in FINAL}
            assert left == {}, (queue, left)
