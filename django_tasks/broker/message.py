"""Message and Outcome: what travels, as dataclasses and as the fields of a Redis hash.

Field by field in docs/wire-format.md: words and numbers are plain, times are microseconds since
1970, ``args``, ``kwargs``, ``return_value``, ``metadata``, ``headers`` and ``attempt:<fence>`` are
JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django_tasks.errors import UndecodableMessage
from django_tasks.states import Result

VERSION = 1

# What a field that is left out means; nothing for all others (lua/_message.lua says the same).
USUAL: dict[str, str | int] = {
    "args": "[]",
    "kwargs": "{}",
    "metadata": "{}",
    "priority": 0,
    "round": 1,
    "max_lost": 3,
    "ttl": 3600,
    "version": 1,
    "fence": 0,
    "revision": 0,
    "attempt": 0,
    "lost": 0,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime | None) -> str:
    """Microseconds since 1970, as the broker writes a time; "" for None."""
    return "" if moment is None else str((moment - _EPOCH) // _MICROSECOND)


def from_us(text: str | bytes | int | None) -> datetime | None:
    """The aware UTC time that ``to_us`` wrote; None for nothing."""
    return _EPOCH + timedelta(0, 0, int(text)) if text else None


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder().decode  # json.loads asks first what it was given


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
    headers: str = ""  # JSON of what middlewares sent along
    parents: str = ""  # whom it waits for: "<id>:<policy>:<position>", with spaces between
    dependents: str = ""  # who waits for it: "<id>:<queue>" ("" for the same queue)
    inputs: str = ""  # what it gets of its parents: "values:2", "list:1000", "error:1"
    version: int = VERSION
    # Told by a claim:
    doubt: bool = False
    is_recorded: bool = False  # the mirror has seen its row
    broken: str = ""  # why the fields do not make a message of ours
    given: dict[int, str] | None = None  # position → JSON of an input, of what has parents

    def to_fields(self) -> list[str]:
        """Field, value, field, value … as ``push`` takes them; what is empty, or as usual, is left
        out: half the memory, and half the time of whoever reads it."""
        fields = ["task", self.task, "record", self.record]
        usual = USUAL.get
        for name, value in (
            ("database", self.database),
            ("args", self.args),
            ("kwargs", self.kwargs),
            ("priority", self.priority),
            ("max_attempts", self.max_attempts),
            ("round", self.round),
            ("max_lost", self.max_lost),
            ("ttl", self.ttl),
            ("version", self.version),
            ("enqueued_at", to_us(self.enqueued_at)),
            ("run_after", to_us(self.run_after)),
            ("expires", to_us(self.expires)),
            ("fence", self.fence),
            ("revision", self.revision),
            ("attempt", self.attempt),
            ("lost", self.lost),
            ("suspect", "1" if self.suspect else ""),
            ("description", self.description),
            ("release", self.release),
            ("backoff", self.backoff),
            ("metadata", self.metadata),
            ("headers", self.headers),
            ("parents", self.parents),
            ("dependents", self.dependents),
            ("inputs", self.inputs),
        ):
            if value != usual(name, ""):
                fields += (name, str(value))
        return fields

    @classmethod
    def from_claim(cls, answer: Sequence[Any], queue: str) -> Message:
        """From one entry of a claim's reply: id, fence, doubt, fields. What can't be read is said
        in ``broken``."""
        record_id, fence, doubt, raw = answer
        try:
            return _decoded(_text(record_id), int(fence), doubt == b"1", raw, queue)
        except (ValueError, OverflowError) as error:
            given: dict[bytes, bytes] = dict(zip(raw[::2], raw[1::2], strict=True))
            return cls(
                id=_text(record_id),
                queue=queue,
                task="?",
                fence=int(fence),
                database=given.get(b"database", b"default").decode("utf-8", "replace"),
                broken=f"{type(error).__name__}: {error}",
            )

    def decoded_headers(self) -> dict[str, Any]:
        """What middlewares sent along. Raises ``UndecodableMessage``."""
        try:
            headers = _decode(self.headers)
        except (ValueError, RecursionError) as error:
            raise UndecodableMessage(
                f"Message {self.id}: headers are not JSON ({error})."
            ) from error
        if not isinstance(headers, dict):
            raise UndecodableMessage(f"Message {self.id}: headers must be a JSON object.")
        return headers

    def decoded_arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments. Raises ``UndecodableMessage``."""
        try:
            args = [] if self.args == "[]" else _decode(self.args)
            kwargs = {} if self.kwargs == "{}" else _decode(self.kwargs)
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


# Field → the attribute it is read into, and how. Most messages have a third of them.
READERS: dict[bytes, tuple[str, Callable[[bytes], Any]]] = {
    b"task": ("task", bytes.decode),
    b"record": ("record", _text),
    b"database": ("database", _text),
    b"args": ("args", _text),
    b"kwargs": ("kwargs", _text),
    b"priority": ("priority", int),
    b"run_after": ("run_after", from_us),
    b"expires": ("expires", from_us),
    b"max_attempts": ("max_attempts", int),
    b"max_lost": ("max_lost", int),
    b"backoff": ("backoff", _text),
    b"round": ("round", int),
    b"attempt": ("attempt", int),
    b"lost": ("lost", int),
    b"suspect": ("suspect", b"1".__eq__),
    b"enqueued_at": ("enqueued_at", from_us),
    b"description": ("description", _text),
    b"release": ("release", _text),
    b"ttl": ("ttl", int),
    b"metadata": ("metadata", _text),
    b"headers": ("headers", _text),
    b"parents": ("parents", _text),
    b"dependents": ("dependents", _text),
    b"inputs": ("inputs", _text),
    b"version": ("version", int),
    b"recorded": ("is_recorded", b"1".__eq__),
}


def _decoded(record_id: str, fence: int, doubt: bool, raw: Sequence[bytes], queue: str) -> Message:
    read: dict[str, Any] = {"database": ""}
    pairs = iter(raw)
    for name, value in zip(pairs, pairs, strict=True):
        if name in READERS and value:
            attribute, reader = READERS[name]
            read[attribute] = reader(value)
    if "inputs" in read:
        read["given"] = {
            int(name[3:]): _text(value)
            for name, value in zip(raw[::2], raw[1::2], strict=True)
            if name.startswith(b"in:")
        }
    if "task" not in read:
        raise UndecodableMessage("the message names no task")
    return Message(id=record_id, queue=queue, fence=fence, revision=fence, doubt=doubt, **read)


@dataclass(slots=True)
class Outcome:
    """How one run ended. ``word``: what the ack makes of it; ``delay``, ``run``: seconds;
    ``fields``: what the ack writes into the message; ``arguments``: all of it, as ``ack`` takes
    it. Raises ``ValueError`` for what has no such form. Nobody changes one (as a ``Message``)."""

    message: Message
    word: str
    delay: float = 0.0
    run: float = 0.0
    fields: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(init=False)

    def __post_init__(self) -> None:
        # Made at once: what can't be told ends where the run ended, not where it is sent.
        self.arguments = [
            self.message.id,
            str(self.message.fence),
            self.word,
            str(round(self.delay * 1_000_000)),
            str(round(self.run * 1_000_000)),
            str(2 * len(self.fields)),
        ]
        for pair in self.fields.items():
            self.arguments += pair

    @classmethod
    def successful(cls, message: Message, return_value: Any = None) -> Outcome:
        """The task returned; ``return_value`` must have a JSON form."""
        return cls(message, Result.SUCCEEDED.value, fields={"return_value": to_json(return_value)})

    @classmethod
    def forgotten(cls, message: Message, word: str, how: str = "", cause: str = "") -> Outcome:
        """Not run at all: its row is final ("settled") or was deleted ("dropped"). ``how``,
        ``cause``: what the row's end means to its dependents, where that is known."""
        return cls(message, word, fields={"how": how, "cause": cause} if how else {})

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
