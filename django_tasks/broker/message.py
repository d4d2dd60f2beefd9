"""Message and Outcome: what travels, as dataclasses and as the fields of a Redis hash.

Field by field in docs/wire-format.md: words and numbers are plain, times are microseconds since
1970, ``args``, ``kwargs``, ``return_value``, ``metadata`` and ``attempt:<fence>`` are JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django_tasks.errors import UndecodableMessage
from django_tasks.states import Result

VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# The order in which claim and ack return a message's fields; `lua/_claim.lua` says the same.
CLAIM_FIELDS = (
    "id fence revision doubt era suspect expires database record ttl round attempt lost"
    " max_attempts max_lost task args kwargs priority release enqueued_at metadata"
    " description run_after version recorded backoff"
).split()


def to_us(moment: datetime | None) -> str:
    """Microseconds since 1970, as the broker writes a time; "" for None."""
    return "" if moment is None else str((moment - _EPOCH) // _MICROSECOND)


def from_us(text: str | bytes | None) -> datetime | None:
    """The aware UTC time that ``to_us`` wrote; None for nothing."""
    return _EPOCH + timedelta(microseconds=int(text)) if text else None


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def to_json(value: Any) -> str:
    """Compact ASCII JSON: NUL and lone surrogates travel as escapes."""
    return _encode(value)


@dataclass(slots=True, kw_only=True)
class Message:
    """One call as the broker holds it. Times are aware UTC; ``ttl`` is in seconds.

    Nobody changes one; it is not frozen, since that makes its making four times as slow."""

    id: str
    task: str
    queue: str
    args: str = "[]"  # JSON, decoded where the task is run
    kwargs: str = "{}"
    priority: int = 0
    run_after: datetime | None = None
    expires: datetime | None = None
    max_attempts: int = 1
    max_lost: int = 3
    backoff: str = ""  # JSON: this call's own first delay, factor, ceiling, jitter
    record: str = "first"
    database: str = "default"  # alias of the row's database; "" if there will be no row
    round: int = 1
    fence: int = 0
    revision: int = 0
    attempt: int = 0
    lost: int = 0
    suspect: bool = False
    enqueued_at: datetime | None = None
    description: str = ""  # travels only where no row has it yet
    release: str = ""
    ttl: int = 3600
    metadata: str = "{}"
    version: int = VERSION
    # Told by a claim:
    doubt: bool = False
    is_recorded: bool = False  # the mirror has seen its row
    broken: str = ""  # why the fields do not make a message of ours

    def to_fields(self) -> list[str]:
        """Field, value, field, value … as ``push`` takes them; what is empty is left out."""
        pairs = {
            "task": self.task,
            "args": self.args,
            "kwargs": self.kwargs,
            "priority": str(self.priority),
            "record": self.record,
            "database": self.database,
            "round": str(self.round),
            "max_attempts": str(self.max_attempts),
            "max_lost": str(self.max_lost),
            "ttl": str(self.ttl),
            "enqueued_at": to_us(self.enqueued_at),
            "version": str(self.version),
        }
        optional = {
            "run_after": to_us(self.run_after),
            "expires": to_us(self.expires),
            "fence": str(self.fence or ""),
            "revision": str(self.revision or ""),
            "attempt": str(self.attempt or ""),
            "lost": str(self.lost or ""),
            "suspect": "1" if self.suspect else "",
            "description": self.description,
            "release": self.release,
            "backoff": self.backoff,
            "metadata": "" if self.metadata == "{}" else self.metadata,
        }
        pairs.update((name, text) for name, text in optional.items() if text)
        return [text for pair in pairs.items() for text in pair]

    @classmethod
    def from_claim(cls, values: Sequence[bytes | None], queue: str) -> Message:
        """From one entry of a claim's reply. What can't be read is said in ``broken``."""
        try:
            return _decoded(values, queue)
        except (ValueError, OverflowError, KeyError) as error:
            given = dict(zip(CLAIM_FIELDS, values, strict=True))
            return cls(
                id=_text(given["id"]),
                queue=queue,
                task="?",
                fence=int(given["fence"] or 0),
                database=(given["database"] or b"default").decode("utf-8", "replace"),
                broken=f"{type(error).__name__}: {error}",
            )

    def decoded_arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments. Raises ``UndecodableMessage``."""
        try:
            args, kwargs = json.loads(self.args), json.loads(self.kwargs)
        except (ValueError, RecursionError) as error:
            raise UndecodableMessage(
                f"Message {self.id}: args or kwargs are not JSON ({error})."
            ) from error
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise UndecodableMessage(
                f"Message {self.id}: args must be a JSON list and kwargs a JSON object."
            )
        return args, kwargs


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "surrogatepass") if value else ""


def _decoded(values: Sequence[bytes | None], queue: str) -> Message:
    # In the order of CLAIM_FIELDS.
    record_id, fence, revision, doubt, _, suspect, expires, database, record, ttl = values[:10]
    round_, attempt, lost, max_attempts, max_lost, task, args, kwargs, priority = values[10:19]
    release, enqueued_at, metadata, description, run_after, version, recorded, backoff = values[19:]
    if not task:
        raise UndecodableMessage("the message names no task")
    return Message(
        id=_text(record_id),
        task=task.decode(),
        queue=queue,
        args=_text(args) or "[]",
        kwargs=_text(kwargs) or "{}",
        priority=int(priority or 0),
        run_after=from_us(run_after),
        expires=from_us(expires),
        max_attempts=int(max_attempts or 1),
        max_lost=int(max_lost or 3),
        backoff=_text(backoff),
        record=_text(record) or "first",
        database=_text(database),
        round=int(round_ or 1),
        fence=int(fence or 0),
        revision=int(revision or 0),
        attempt=int(attempt or 0),
        lost=int(lost or 0),
        suspect=suspect == b"1",
        enqueued_at=from_us(enqueued_at),
        description=_text(description),
        release=_text(release),
        ttl=int(ttl or 3600),
        metadata=_text(metadata) or "{}",
        version=int(version or VERSION),
        doubt=doubt == b"1",
        is_recorded=recorded == b"1",
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended. ``word``: what the ack makes of it; ``delay``, ``run``: seconds;
    ``fields``: what the ack writes into the message; ``arguments``: all of it, as ``ack`` takes
    it. Raises ``ValueError`` for what has no such form."""

    message: Message
    word: str
    delay: float = 0.0
    run: float = 0.0
    fields: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(init=False)

    def __post_init__(self) -> None:
        # Made at once: what can't be told ends where the run ended, not where it is sent.
        arguments = [
            self.message.id,
            str(self.message.fence),
            self.word,
            str(round(self.delay * 1_000_000)),
            str(round(self.run * 1_000_000)),
            str(2 * len(self.fields)),
            *(text for pair in self.fields.items() for text in pair),
        ]
        object.__setattr__(self, "arguments", arguments)

    @classmethod
    def successful(cls, message: Message, return_value: Any = None) -> Outcome:
        """The task returned; ``return_value`` must have a JSON form."""
        return cls(message, Result.SUCCEEDED.value, fields={"return_value": to_json(return_value)})

    @classmethod
    def forgotten(cls, message: Message, word: str) -> Outcome:
        """Not run at all: its row is final ("settled") or was deleted ("dropped")."""
        return cls(message, word)

    @property
    def id(self) -> str:
        return self.message.id

    def to_bytes(self) -> bytes:
        """For the board; b"" where a text holds the character that parts them."""
        joined = _PARTED.join(self.arguments)
        if joined.count(_PARTED) != len(self.arguments) - 1:
            return b""
        return joined.encode("utf-8", "surrogatepass")


_PARTED = "\0"


@dataclass(frozen=True, slots=True)
class Report:
    """An outcome as a board holds it: what a supervisor sends for a child that is stuck or dead."""

    raw: bytes

    @property
    def id(self) -> str:
        return self.arguments[0]

    @property
    def arguments(self) -> list[str]:
        """As ``ack`` takes it."""
        return self.raw.decode("utf-8", "surrogatepass").split(_PARTED)
