"""The task of random graphs: a node that ends as its deed says, and notes each of its runs."""

from __future__ import annotations

import os
import signal
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django_tasks import django_task

MAX_LOST = 2


class Refused(Exception):
    """What a node raises."""


def mark(value: str | None) -> str:
    """A parent's value in the value of its child: values stay small, however deep the graph."""
    return "-" if value is None else f"{zlib.crc32(value.encode()):08x}"


def value_of(own_id: str, parts: Iterable[str]) -> str:
    return "|".join([own_id, *parts])


def runs_of(folder: Path, record_id: str) -> int:
    """How often the body of this record began."""
    path = folder / f"graph-{record_id}"
    return path.stat().st_size if path.exists() else 0


def _noted(record_id: str) -> int:
    folder = Path(os.environ["UNCUT_LIVE_FOLDER"])
    runs = os.open(folder / f"graph-{record_id}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(runs, b".")
        return os.fstat(runs).st_size
    finally:
        os.close(runs)


def _flat(given: Any) -> Iterator[str | None]:
    if isinstance(given, list):
        for one in given:
            yield from _flat(one)
    else:
        yield given


@django_task(name="graph.node", takes_context=True, retries=0, backoff=0, max_lost=MAX_LOST)
def node(context: Any, *given: Any, deed: str, times: int) -> str:
    """``given``: the values of its parents as one argument, or who failed and how as three."""
    own_id = context.result.id
    runs = _noted(own_id)
    if deed == "lingers":  # so that there is something not to wait for
        threading.Event().wait(0.01 * times)
    if deed == "dies" or (deed == "dies once" and runs == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "fails" or (deed == "recovers" and runs <= times):
        raise Refused(f"no, says {own_id}")
    told = given if len(given) == 3 else [mark(one) for one in _flat(list(given))]
    return value_of(own_id, told)
