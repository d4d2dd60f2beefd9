"""What a person does to the machine's messages: cancel, move, retry; of whatever round, known or
not, and with a push that comes late."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.broker.machine_calls import queues
from tests.broker.machine_progress import Telling
from tests.broker.world import FINAL, Line

MOVED = {"state", "score", "revision", "run_after", "priority"}  # what a move may change
SPAN = 2**42  # ms, between two priorities


def arrival(priority: int, at: int) -> int:
    """The score of what comes now, ``at`` in µs."""
    return -priority * SPAN + at // 1000


class Deeds(Telling):
    """Its rules, and what the other rules ask about cancels."""

    @precondition(lambda self: self.rows)
    @rule(
        data=st.data(),
        how=st.sampled_from(["soft", "soft", "hard", "leave"]),
        behind=st.sampled_from([0, 0, 0, 1]),
        is_written=st.booleans(),
    )
    def cancel(self, data: Any, how: str, behind: int, is_written: bool) -> None:
        """``behind``: what a page said that is older than a retry; ``is_written``: the row, before
        whoever asked dies."""
        record_id = data.draw(st.sampled_from(sorted(self.rows)))
        round_ = max(self.rows[record_id]["round"] - behind, 1)
        self.cancel_known(record_id, round_, how, is_written)

    @precondition(lambda self: self.held_claims())
    @rule(data=st.data(), how=st.sampled_from(["soft", "hard", "leave"]))
    def cancel_held(self, data: Any, how: str) -> None:
        """What runs."""
        _, _, message = data.draw(st.sampled_from(self.held_claims()))
        self.cancel_known(message.id, self.rows[message.id]["round"], how, True)

    @rule(queue=queues, record=st.sampled_from(["first", "after", "never"]))
    def cancel_before_the_push(self, queue: str, record: str) -> None:
        self.cancel_known(self.new_row(queue, 0, record), 1, "soft", True)

    def cancel_known(self, record_id: str, round_: int, how: str, is_written: bool) -> None:
        row = self.rows[record_id]
        queue, database = row["queue"], "" if row["record"] == "never" else "default"
        line = self.line(queue)
        old = line.messages.get(record_id)
        is_unknown = old is None or (old["state"] in FINAL and int(old["round"]) < round_)
        is_other = old is not None and int(old["round"]) != round_ and old.get("stub") != "1"
        runs = old is not None and old["state"] == "RUNNING" and not is_other

        [verdict] = self.broker.cancel(queue, [(record_id, round_, database)], how)

        waits = old is not None and old["state"] in ("READY", "SCHEDULED") and not is_other
        is_over, is_noted = is_unknown or waits, runs and how != "leave"
        assert (verdict > 1, verdict == 1) == (is_over, runs), (verdict, old, round_)
        after = self.look({record_id} if is_over or is_noted else set())[queue]
        new = after.messages.get(record_id)
        if is_over:
            self.check_cancelled(old, new)
            assert new is not None
            assert (int(new["round"]), int(new["revision"])) == (round_, verdict)
            assert (record_id in after.dirty) == bool(database), "a mark for its row"
            self.cancelled.add((record_id, round_))
            if is_written and row["round"] == round_ and row["status"] not in FINAL:
                row.update(status="CANCELLED", revision=verdict)
        elif is_noted and old is not None:
            known = {"round": str(round_), "database": database} if old.get("stub") == "1" else {}
            assert new == {**old, **known, "cancel": how}, "nothing else changes, nothing moves"
        assert is_noted or after.cancels == line.cancels

    def check_cancelled(
        self, old: dict[str, str] | None, new: dict[str, str] | None, is_noted: bool = False
    ) -> None:
        """Final, and nobody's fault. ``is_noted``: as a run that was cancelled."""
        assert new is not None
        assert new["state"] == "CANCELLED", (old, new)
        assert "finished_at" in new
        assert "stub" not in new
        if old is not None and old["round"] == new["round"]:
            assert (new.get("lost"), new.get("attempt")) == (old.get("lost"), old.get("attempt"))
            run = json.loads(new.get(f"attempt:{old['fence']}", "{}"))
            assert not is_noted or run["outcome"] == "cancelled", (old, new)

    def check_told(self, line: Line, after: Line, told: dict[tuple[str, int], str]) -> None:
        """A beat says what is to end, and forgets what ended."""
        kept = {
            one: note
            for one, note in line.cancels.items()
            if one in line.messages
            and line.messages[one]["state"] == "RUNNING"
            and line.messages[one]["fence"] == note.split()[0]
        }
        assert after.cancels == kept, "what ended is not kept for ever"
        assert {one: f"{fence} {how}" for (one, fence), how in told.items()} == kept

    @precondition(lambda self: self.cancelled)
    @rule(data=st.data(), is_delivery=st.booleans())
    def push_late(self, data: Any, is_delivery: bool) -> None:
        """The enqueue's own push, or a delivery that had read the row before."""
        record_id, round_ = data.draw(st.sampled_from(sorted(self.cancelled)))
        row = self.rows[record_id]
        if row["round"] != round_:
            return
        self.push_known(record_id, is_delivery)
        assert self.line(row["queue"]).messages[record_id]["state"] in FINAL

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), is_pushed=st.booleans())
    def retry(self, data: Any, is_pushed: bool) -> None:
        """Its row first; its push may be long in coming."""
        record_id = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[record_id]
        if row["status"] not in FINAL or row["record"] != "first":
            return
        row.update(round=row["round"] + 1, status="PENDING")
        if is_pushed:
            self.push_known(record_id, is_delivery=False)

    # -- what waits, elsewhere -------------------------------------------------------------------

    @precondition(lambda self: self.rows)
    @rule(
        data=st.data(),
        change=st.one_of(
            st.sampled_from([0, -5, 5, 20]),  # seconds from now; 0: now
            st.sampled_from(["-5", "0", "5", "front", "front"]),  # a priority
        ),
        behind=st.sampled_from([0, 0, 0, 1]),
    )
    def move(self, data: Any, change: int | str, behind: int) -> None:
        record_id = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[record_id]
        queue, line = row["queue"], self.line(row["queue"])
        old, round_ = line.messages.get(record_id), row["round"] - behind
        now = self.now()
        at = None if isinstance(change, str) else (now // 1_000_000 + change if change else 0)
        wanted = change if isinstance(change, str) else ""

        [answer] = self.broker.move(queue, [(record_id, round_)], at=at, priority=wanted)

        if old is None or int(old["round"]) != round_:
            refusal = "unknown"
        else:
            refusal = "final" if old["state"] in FINAL else old["state"].lower()
            refusal = "" if refusal in ("ready", "scheduled") else refusal
        after = self.look(set() if refusal else {record_id})[queue]
        if refusal or old is None:
            assert answer == refusal, (answer, old)
            return
        new = after.messages[record_id]
        priority, state, score, run_after = self.place(
            line, record_id, None if at is None else at * 1_000_000, wanted, now
        )
        assert answer == int(new["priority"]) == priority
        assert new["state"] == state, (old, new)
        assert new.get("run_after") == run_after, (old, new)
        if state == "READY":
            assert int(new["score"]) == score, (old, new, now)
            assert after.wake == 1
        if wanted == "front":
            assert next(iter(after.ready)) == record_id
        same = [{k: v for k, v in one.items() if k not in MOVED} for one in (old, new)]
        assert same[0] == same[1]
        assert (record_id in after.dirty) == bool(new.get("database")), "a mark for its row"
        row["priority"] = priority

    def place(
        self, line: Line, record_id: str, at: int | None, wanted: str, now: int
    ) -> tuple[int, str, int, str | None]:
        """Where a move puts it: priority, state, score if it is ready, run_after."""
        old = line.messages[record_id]
        was_ready, priority = old["state"] == "READY", int(old["priority"])
        score = int(old["score"]) if was_ready else None
        due = (0 if was_ready else int(old["run_after"])) if at is None else max(at, 1)
        if wanted == "front":
            due, first = 0, next(iter(line.ready), record_id)
            if first != record_id:
                priority = max(priority, int(line.messages[first]["priority"]))
                score = min(int(line.ready[first]), arrival(priority, now)) - 1
        elif wanted:
            score = score and score + (priority - int(wanted)) * SPAN
            priority = int(wanted)
        if due > now:
            return priority, "SCHEDULED", 0, str(due)
        is_now = at is not None or not was_ready
        run_after = str(now) if is_now else old.get("run_after")
        return priority, "READY", arrival(priority, now) if score is None else score, run_after
