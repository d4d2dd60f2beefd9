"""Database connections: cared for as Django cares for them around a request.

Asking Django for the open connections costs more than a short task, twice a run. So who opens one
notes it here, and a run that opened none asks nothing (law 9)."""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created


class _Opened(threading.local):
    """Of this thread, since Django's connections are."""

    def __init__(self) -> None:
        self.connections: list[Any] = list(connections.all(initialized_only=True))


_here = _Opened()


def _note(*, connection: Any, **_: Any) -> None:
    if connection not in _here.connections:
        _here.connections.append(connection)


connection_created.connect(_note, dispatch_uid="django_tasks.bridge.connections")


def begin_run() -> frozenset[str]:
    """Close what is broken or older than CONN_MAX_AGE. Returns the aliases that are in a
    transaction already (a burst inside a test): they are left alone."""
    if not _here.connections:
        return frozenset()
    outer = frozenset(one.alias for one in _here.connections if one.in_atomic_block)
    _care(outer)
    return outer


def left_open(outer: frozenset[str]) -> list[str]:
    """Aliases on which the run left a transaction open."""
    opened = _here.connections
    if not opened:  # as most short tasks have it
        return []
    return [one.alias for one in opened if one.in_atomic_block and one.alias not in outer]


def end_run(outer: frozenset[str], *, is_cut: bool = False) -> None:
    """As ``begin_run``; what the run left in a transaction is closed, and so rolled back.
    ``is_cut``: a signal's exception may have come between a query and its answer, which the next
    run would take for its own: every connection is closed."""
    if _here.connections:
        _care(outer, is_cut=is_cut)


def open_transactions() -> list[str]:
    """Aliases with an ``atomic`` block open in this thread, save those of test cases."""
    return [
        one.alias
        for one in _here.connections
        if one.in_atomic_block
        and one.alias in connections
        and connections[one.alias] is one
        and not all(getattr(block, "_from_testcase", False) for block in one.atomic_blocks)
    ]


def usable(database: str) -> Any:
    """The connection, after it was closed if it broke: the next query opens another."""
    connection = connections[database]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    return connection


def _care(outer: frozenset[str], *, is_cut: bool = False) -> None:
    for connection in _here.connections:
        if connection.alias in outer:
            continue
        if connection.in_atomic_block:
            # Closed as it is, Django would take it for "closed in a transaction" for ever.
            connection.in_atomic_block = False
            connection.close()
        elif is_cut:
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()
    _here.connections = [one for one in _here.connections if one.connection is not None]
