"""What a database's error means for who writes a batch: try again, wait, or leave a value out.

Drivers call nearly everything of MySQL an ``OperationalError``, so the numbers decide there."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

# Two transactions stood in each other's way, and this one was undone: deadlock, "record has
# changed since last read" (innodb_snapshot_isolation), serialization failure.
_CONFLICTS = frozenset((1213, 1020, "40P01", "40001"))
# The connection is gone: restarted, idle for longer than wait_timeout, killed, shutting down; also
# what becomes of it when a statement is over max_allowed_packet.
_LOST = frozenset((2006, 2013, 2055, 1053, 1927, "57P01", "57P02", "08006", "08003"))
# What libpq says of a server that went without a word.
_LOST_WORDS = ("closed the connection", "connection is lost", "connection is closed", "been closed")
# What it was given: packet too large, wrong datetime, bytes or characters that the column lacks,
# and what JSON may not be (3140 to 3158: no JSON, too deep, too large, …).
_REFUSED = frozenset((1153, 1292, 1300, 1366, *range(3140, 3159)))


def code_of(error: BaseException) -> int | str | None:
    """MySQL's number or PostgreSQL's SQLSTATE."""
    state = getattr(error.__cause__, "sqlstate", None)
    if isinstance(state, str) and not (error.args and isinstance(error.args[0], int)):
        return state
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def is_passing(error: BaseException) -> bool:
    """The same statement may succeed at once: after a conflict, or on another connection."""
    return code_of(error) in _CONFLICTS or is_lost(error)


def is_lost(error: BaseException) -> bool:
    """The connection broke."""
    if code_of(error) in _LOST or isinstance(error, InterfaceError):
        return True
    text = str(error)
    return isinstance(error, OperationalError) and any(words in text for words in _LOST_WORDS)


def is_refusal(error: BaseException) -> bool:
    """A value is what is wrong; false for all but ``OperationalError``, which hides them."""
    return isinstance(error, OperationalError) and code_of(error) in _REFUSED


def is_one_lock(error: BaseException) -> bool:
    """SQLite's one lock, not a row's."""
    return "database is locked" in str(error)
