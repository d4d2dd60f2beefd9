"""Every key name. ``lua/_keys.lua`` derives the same names from the same root; a test compares."""

from __future__ import annotations


class QueueKeys:
    """The keys of one queue. All begin with ``root``, whose braces keep them in one slot."""

    def __init__(self, prefix: str, queue: str) -> None:
        self.root = f"{prefix}:{{{queue}}}"
        self.ready = f"{self.root}:ready"
        self.scheduled = f"{self.root}:scheduled"
        self.deferred = f"{self.root}:deferred"
        self.unacked = f"{self.root}:unacked"
        self.meta = f"{self.root}:meta"
        self.wake = f"{self.root}:wake"
        self.dead = f"{self.root}:dead"
        self.workers = f"{self.root}:workers"
        self.stopping = f"{self.root}:stopping"
        self.cancels = f"{self.root}:cancels"
        self.ended = f"{self.root}:ended"
        self.releases = f"{self.root}:releases"

    def message(self, record_id: str) -> str:
        """A message's hash: plain field names; words and numbers plain, the rest JSON."""
        return f"{self.root}:message:{record_id}"

    def consumer(self, consumer: str) -> str:
        """What one consumer holds: a hash id → fence."""
        return f"{self.root}:consumer:{consumer}"

    def dirty(self, database: str) -> str:
        """What the mirror has to copy to one database: a sorted set of ids by revision."""
        return f"{self.root}:dirty:{database}"

    def waits(self, record_id: str) -> str:
        """For whom a deferred message waits: a hash parent → "policy:position"."""
        return f"{self.root}:waits:{record_id}"

    def dependents(self, record_id: str) -> str:
        """Who waits for a message: a hash child → the child's queue, "" for the same."""
        return f"{self.root}:dependents:{record_id}"

    def done(self, record_id: str) -> str:
        """Whoever waits for a result blocks on it: a list with a token once it is final."""
        return f"{self.root}:done:{record_id}"

    def count(self, minute: int) -> str:
        """The counters of one minute (minutes since 1970): a hash, kept for two days."""
        return f"{self.root}:count:{minute}"


class SharedKeys:
    """The keys outside the queues' slots."""

    def __init__(self, prefix: str) -> None:
        self.index = f"{prefix}:{{index}}"
        self.queues = f"{self.index}:queues"
        self.workers = f"{self.index}:workers"
        self.duties = f"{prefix}:{{duties}}"

    def worker(self, worker: str) -> str:
        """A worker's description: a hash that fades unless renewed."""
        return f"{self.index}:worker:{worker}"

    def duty(self, name: str) -> str:
        """Who has a duty now: a string with a time to live."""
        return f"{self.duties}:{name}"
