"""The board: shared memory per child; what it holds, which one it is running, what has ended, and
what the running one tells of its progress.

Mapped before the fork, written by the child, read by the supervisor: to reap (whom to charge), to
re-assert, to audit, and to speak for a child that is stuck in a task. A message stays on it until
its ack was answered."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

from django_tasks.broker.message import Message

SLOTS = 256  # the most a child may hold: two claims, one ended and one begun
MAX_REPORT = 4096  # bytes of one outcome
_REPORTS = 128 * 1024  # bytes for all of them; what finds no room is told by the child alone
_SLOT = struct.Struct("<BxHIQdI64s4x")  # state, queue, report's length, fence, since, start, id
_STATE, _SINCE, _REPORT = struct.Struct("<B"), struct.Struct("<d"), struct.Struct("<I")
_LENGTH_AT, _SINCE_AT, _START_AT = 4, 16, 24
_HEAD = struct.Struct("<I")  # how many slots may be in use: at least as many as are
_EVICTIONS = struct.Struct("<I")  # written by the supervisor alone
_CANCELLED = struct.Struct("<Q")  # the fence of the run that it ends; so is this
_EVICTIONS_AT, _CANCELLED_AT, _FIRST_SLOT = 4, 8, 16
_FIRST_REPORT = _FIRST_SLOT + SLOTS * _SLOT.size
# What is told goes into the sheets in turn, and then the count of all that was: so a kill in the
# middle of it leaves the one before whole, and a reader sees by the count what it read.
SHEETS = 4
MAX_TOLD = 8192  # bytes of one
_TOLD = struct.Struct("<IHxxQ64s")  # length, queue, fence, id
_SHEET = _TOLD.size + MAX_TOLD
_COUNT_AT = _FIRST_REPORT + _REPORTS
_FIRST_SHEET = _COUNT_AT + 8
# KEPT: not started, and not to be given back either: its row is being looked up (law 6).
EMPTY, HELD, RUNNING, FINISHED, KEPT = range(5)


@dataclass(frozen=True, slots=True)
class Held:
    """One line of a board. ``since``: ``time.monotonic()`` at which it was held or started, the
    same clock in every process; ``report``: the outcome, b"" where there is none."""

    id: str
    fence: int
    queue: str
    state: int
    since: float
    report: bytes = b""

    @property
    def is_running(self) -> bool:
        return self.state == RUNNING

    @property
    def age(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self.since


@dataclass(frozen=True, slots=True)
class Told:
    """What a run told of its progress; ``count``: how often any run of this child did."""

    count: int
    id: str
    fence: int
    queue: str
    report: bytes


class Board:
    """The child writes, the supervisor reads; a slot's state byte is written last."""

    def __init__(self, queues: Iterable[str]) -> None:
        self._queues = list(queues)
        self._page = mmap.mmap(-1, _FIRST_SHEET + SHEETS * _SHEET)
        self._slots: dict[str, int] = {}  # id → offset of its slot, in the child
        self._free = [_FIRST_SLOT + slot * _SLOT.size for slot in range(SLOTS)]
        self._end = _FIRST_REPORT  # of the reports written

    def hold(
        self, messages: Iterable[Message], state: int = HELD, *, since: float | None = None
    ) -> None:
        """Note what a claim gave. ``since``: when it was asked for; default: now."""
        now = time.monotonic() if since is None else since
        held = list(messages)
        _HEAD.pack_into(self._page, 0, len(self._slots) + len(held))
        for message in held:
            offset = self._slots.get(message.id)
            if offset is None:
                offset = self._slots[message.id] = self._free.pop()
            _STATE.pack_into(self._page, offset, EMPTY)
            queue = self._queues.index(message.queue)
            _SLOT.pack_into(
                self._page,
                offset,
                *(EMPTY, queue, 0, message.fence, now, 0, message.id.encode()[:64]),
            )
            _STATE.pack_into(self._page, offset, state)

    def start(self, message: Message) -> float:
        """Note, before the body begins, that this one runs; returns since when it was held."""
        offset = self._slots[message.id]
        held: float = _SINCE.unpack_from(self._page, offset + _SINCE_AT)[0]
        _SINCE.pack_into(self._page, offset + _SINCE_AT, time.monotonic())
        _STATE.pack_into(self._page, offset, RUNNING)
        return held

    def finish(self, message: Message, report: bytes = b"") -> None:
        """Note that its body ended, and how; it stays held until the ack was answered."""
        offset = self._slots[message.id]
        end = self._end + len(report)
        if report and len(report) <= MAX_REPORT and end <= _COUNT_AT:
            self._page[self._end : end] = report
            _REPORT.pack_into(self._page, offset + _START_AT, self._end)
            _REPORT.pack_into(self._page, offset + _LENGTH_AT, len(report))
            self._end = end
        _STATE.pack_into(self._page, offset, FINISHED)

    def tell(self, message: Message, report: bytes) -> None:
        """Put there what the running message tells of its progress; too long a report is not."""
        if len(report) > MAX_TOLD:
            return
        count = self._count() + 1
        head = (len(report), self._queues.index(message.queue), message.fence)
        at = _FIRST_SHEET + count % SHEETS * _SHEET
        _TOLD.pack_into(self._page, at, *head, message.id.encode()[:64])
        self._page[at + _TOLD.size : at + _TOLD.size + len(report)] = report
        # Eight bytes in one move. (pack_into would write zeros first.)
        self._page[_COUNT_AT:_FIRST_SHEET] = count.to_bytes(8, "little")

    def _count(self) -> int:
        return int.from_bytes(self._page[_COUNT_AT:_FIRST_SHEET], "little")

    def told(self, after: int = 0) -> Told | None:
        """What was told last; None if that was no more than ``after``. For the supervisor."""
        for _ in range(100):  # of a child that tells faster than this reads
            count = self._count()
            if count <= after:
                return None
            at = _FIRST_SHEET + count % SHEETS * _SHEET
            length, queue, fence, raw = _TOLD.unpack_from(self._page, at)
            report = self._page[at + _TOLD.size : at + _TOLD.size + min(length, MAX_TOLD)]
            # The sheet is written anew only after those between were.
            if self._count() < count + SHEETS - 1:
                record_id = raw.rstrip(b"\0").decode("utf-8", "replace")
                return Told(count, record_id, fence, self._queues[queue], report)
        return None

    def clear(self, record_ids: Iterable[str]) -> None:
        """Forget what was acknowledged, or is about to be given back."""
        for record_id in record_ids:
            offset = self._slots.pop(record_id, None)
            if offset is not None:
                _STATE.pack_into(self._page, offset, EMPTY)
                self._free.append(offset)
        _HEAD.pack_into(self._page, 0, len(self._slots))
        if not self._slots:
            self._end = _FIRST_REPORT

    def fences(self) -> dict[str, int]:
        """What the child knows that it holds: id → fence."""
        return {
            record_id: _SLOT.unpack_from(self._page, offset)[3]
            for record_id, offset in self._slots.items()
        }

    @property
    def evictions(self) -> int:
        """How often the supervisor was about to give back what is not on the board: who reads a
        claim that is older than one of these may have lost it."""
        evictions: int = _EVICTIONS.unpack_from(self._page, _EVICTIONS_AT)[0]
        return evictions

    def evict(self) -> None:
        """By the supervisor, before it gives back what is not on the board; then it looks again."""
        _EVICTIONS.pack_into(self._page, _EVICTIONS_AT, (self.evictions + 1) & 0xFFFFFFFF)

    @property
    def cancelled(self) -> int:
        """The fence of the run that its supervisor ends; 0 if it never ended one."""
        cancelled: int = _CANCELLED.unpack_from(self._page, _CANCELLED_AT)[0]
        return cancelled

    def cancel(self, fence: int) -> None:
        """By the supervisor, before its signal: which run is meant."""
        _CANCELLED.pack_into(self._page, _CANCELLED_AT, fence)

    def read(self) -> list[Held]:
        """What is on the board now; for the supervisor."""
        if not _HEAD.unpack_from(self._page)[0]:
            return []  # an idle child's supervisor looks twenty times a second
        lines = (self._line(_FIRST_SLOT + slot * _SLOT.size) for slot in range(SLOTS))
        return [line for line in lines if line is not None]

    def _line(self, offset: int) -> Held | None:
        if self._page[offset] == EMPTY:
            return None
        before = self._page[offset : offset + _SLOT.size]
        state, queue, length, fence, since, start, raw = _SLOT.unpack(before)
        report = self._page[start : start + length] if state == FINISHED and length else b""
        # The child may have written meanwhile: then this slot says something else by now.
        if queue >= len(self._queues) or self._page[offset : offset + _SLOT.size] != before:
            return None
        record_id = raw.rstrip(b"\0").decode("utf-8", "replace")
        return Held(record_id, fence, self._queues[queue], state, since, report)

    def close(self) -> None:
        """Give the memory back."""
        self._page.close()
