"""The board: a page of shared memory per child; what it holds and which one it is running.

Mapped before the fork, written by the child, read by the supervisor: to reap (whom to charge), to
re-assert and to audit. A message stays on it until its ack was answered."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

from django_tasks.broker.message import Message

SLOTS = 128  # the most a child may hold
_SLOT = struct.Struct("<BxHxxxxQd64s")  # state, queue's index, fence, since, id
_STATE, _SINCE = struct.Struct("<B"), struct.Struct("<d")
_SINCE_OFFSET = 16
EMPTY, HELD, RUNNING, FINISHED = range(4)


@dataclass(frozen=True, slots=True)
class Held:
    """One line of a board. ``since``: seconds since 1970 at which it was held or started."""

    id: str
    fence: int
    queue: str
    state: int
    since: float

    @property
    def is_running(self) -> bool:
        return self.state == RUNNING


class Board:
    """The child writes, the supervisor reads; a slot's state byte is written last."""

    def __init__(self, queues: Iterable[str]) -> None:
        self._queues = list(queues)
        self._page = mmap.mmap(-1, SLOTS * _SLOT.size)
        self._slots: dict[str, int] = {}  # id → slot, in the child
        self._free = list(range(SLOTS))

    def hold(self, messages: Iterable[Message]) -> None:
        """Note what a claim gave."""
        now = time.time()
        for message in messages:
            slot = self._free.pop()
            self._slots[message.id] = slot
            _SLOT.pack_into(
                self._page,
                slot * _SLOT.size,
                EMPTY,
                self._queues.index(message.queue),
                message.fence,
                now,
                message.id.encode()[:64],
            )
            _STATE.pack_into(self._page, slot * _SLOT.size, HELD)

    def start(self, message: Message) -> None:
        """Note, before the body begins, that this one runs."""
        offset = self._slots[message.id] * _SLOT.size
        _SINCE.pack_into(self._page, offset + _SINCE_OFFSET, time.time())
        _STATE.pack_into(self._page, offset, RUNNING)

    def finish(self, message: Message) -> None:
        """Note that its body ended; it stays held until the ack was answered."""
        _STATE.pack_into(self._page, self._slots[message.id] * _SLOT.size, FINISHED)

    def clear(self, record_ids: Iterable[str]) -> None:
        """Forget what was acknowledged, or is about to be given back."""
        for record_id in record_ids:
            slot = self._slots.pop(record_id, None)
            if slot is not None:
                _STATE.pack_into(self._page, slot * _SLOT.size, EMPTY)
                self._free.append(slot)

    def read(self) -> list[Held]:
        """What is on the board now; for the supervisor."""
        lines = []
        for slot in range(SLOTS):
            if self._page[slot * _SLOT.size] == EMPTY:
                continue
            state, queue, fence, since, raw = _SLOT.unpack_from(self._page, slot * _SLOT.size)
            if state != EMPTY and queue < len(self._queues):
                record_id = raw.rstrip(b"\0").decode("utf-8", "replace")
                lines.append(Held(record_id, fence, self._queues[queue], state, since))
        return lines

    def close(self) -> None:
        """Give the page back."""
        self._page.close()
