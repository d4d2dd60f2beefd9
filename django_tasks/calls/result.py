"""TaskResult: what became of a call. Read from the broker while it is fresh, from the row after."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from asgiref.sync import sync_to_async
from django.conf import settings

from django_tasks import framework
from django_tasks.calls.lookup import find, from_snapshot
from django_tasks.calls.progress import Progress
from django_tasks.errors import (
    ENDED_BY_PARENTS,
    BrokerError,
    ResultInsideTransaction,
    ResultNotFound,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    cause_of,
)
from django_tasks.framework import to_django
from django_tasks.states import FINAL, State, django_status

if TYPE_CHECKING:
    from django_tasks.broker.snapshot import Snapshot
    from django_tasks.models import TaskRecord

    # django-stubs has it not frozen, and without what is private.
    FrameworkTaskResult: Any
else:
    FrameworkTaskResult = framework.TaskResult

REFRESHED = (
    "status errors _return_value finished_at started_at last_attempted_at enqueued_at worker_ids"
    " state error_class error_message traceback progress replaced_by"
).split()
_ENDINGS = {State.CANCELLED: TaskCancelled, State.EXPIRED: TaskExpired}

# What is the same of every call that was just enqueued.
_NEW = (
    ("status", django_status(State.PENDING)),
    ("started_at", None),
    ("finished_at", None),
    ("last_attempted_at", None),
    ("_return_value", None),
    ("state", State.PENDING.value),
    ("error_class", ""),
    ("error_message", ""),
    ("traceback", ""),
    ("progress", None),
    ("replaced_by", ""),
)

LOOK = 0.15  # seconds of one wait for the broker's word; below a producer's time-out
AWAY_LOOK = 0.05  # seconds between looks at the row while the broker is away


@dataclass(frozen=True, kw_only=True)
class TaskResult(FrameworkTaskResult):  # type: ignore[misc, unused-ignore]
    """Django's ``TaskResult``, and ``get``; ``state`` is the word of docs/states.md, of which
    ``status`` is Django's coarser one. ``database``: alias of its row, "" if it has none.
    ``progress``: what its run told, of several the last; None while that told nothing;
    ``replaced_by``: the record whose value is its own (``context.replace``), "" for none."""

    state: str = State.PENDING
    database: str = "default"
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""
    progress: Progress | None = None
    replaced_by: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not settings.USE_TZ:
            for name in ("enqueued_at", "started_at", "finished_at", "last_attempted_at"):
                object.__setattr__(self, name, to_django(getattr(self, name)))

    def get(self, timeout: float | None = None) -> Any:
        """Wait until the task is final, at most ``timeout`` seconds (None: for ever); return what
        it returned.

        Raises ``TaskFailed`` (``TaskCancelled``, ``TaskExpired``), ``ResultTimeout``."""
        began, is_known = time.monotonic(), self._is_new()
        for wait in waits(timeout):
            if not is_known or wait is None:
                self._look()
            if self.replaced_by:
                return self._replacement().get(rest_of(timeout, began))
            if self.state in FINAL:
                return self._outcome()
            if wait is None:
                self._give_up(timeout)
            is_known = self._adopt(self._wait(wait))
        return None  # _waits ends with None only

    async def aget(self, timeout: float | None = None) -> Any:
        """``get`` for asyncio."""
        began, is_known = time.monotonic(), await sync_to_async(self._is_new)()
        for wait in waits(timeout):
            if not is_known or wait is None:
                await self._alook()
            if self.replaced_by:
                replacement = await sync_to_async(self._replacement)()
                return await replacement.aget(rest_of(timeout, began))
            if self.state in FINAL:
                return self._outcome()
            if wait is None:
                self._give_up(timeout)
            found = await sync_to_async(self._wait, thread_sensitive=False)(wait)
            is_known = await sync_to_async(self._adopt)(found)
        return None

    def _replacement(self) -> TaskResult:
        return load(self.replaced_by, self.task.backend)

    def _is_new(self) -> bool:
        """Nobody looked yet, and the broker may know it: then to wait tells as much as to look."""
        from django_tasks.bridge import outbox

        return self.state == State.PENDING and not outbox.is_open(self.id)

    def _wait(self, seconds: float) -> Snapshot | None:
        """Until the broker says that it is final, at most so long; what it says. None if it is away
        or knows nothing. In a thread of its own: nothing here may open a database connection."""
        from django_tasks.broker import get_broker

        began = time.monotonic()
        try:
            snapshot = get_broker(self.task.backend).watch(self.task.queue_name, self.id, seconds)
        except BrokerError:
            snapshot = None
        if snapshot is None or snapshot.is_stub or snapshot.is_settled:
            time.sleep(max(0.0, min(seconds, AWAY_LOOK) - (time.monotonic() - began)))
            return None
        return snapshot

    def _adopt(self, snapshot: Snapshot | None) -> bool:
        """Whether we know now what there is to know; else it is time to look at the row."""
        if snapshot is not None:
            self._take(from_snapshot(snapshot, self))
        return snapshot is not None

    def cancel(self, *, terminate: bool = False) -> bool:
        """Cancel it: at once where it waits. Where it runs, ``RunCancelled`` is raised in the task
        (a coroutine is cancelled), and its process is replaced if it goes on for ``CANCEL_GRACE``
        seconds; ``terminate``: at once. False if it has ended. No rollback undoes it.

        Raises ``BrokerUnavailable``."""
        from django_tasks.bridge.actions import cancel_call

        queue = self.task.queue_name
        return cancel_call(self.task.backend, queue, self.id, self.database, terminate)

    async def acancel(self, *, terminate: bool = False) -> bool:
        """``cancel`` for asyncio."""
        return await sync_to_async(self.cancel)(terminate=terminate)

    def forget(self) -> bool:
        """Nobody will read it again: the broker lets it go, once its row says the same; the row
        stays. False while it is not final, or not copied yet (then it leaves by itself).

        Raises ``BrokerUnavailable``."""
        from django_tasks.broker import get_broker

        return get_broker(self.task.backend).forget(self.task.queue_name, [self.id]) > 0

    async def aforget(self) -> bool:
        """``forget`` for asyncio."""
        return await sync_to_async(self.forget)()

    def refresh(self) -> None:
        """Read again where the task is. Raises ``ResultNotFound``."""
        self._take(find(self.id, self.task.backend, self.task.queue_name, self.database, self))

    def _take(self, fresh: Mapping[str, Any]) -> None:
        for name in REFRESHED:
            object.__setattr__(self, name, fresh[name])

    async def arefresh(self) -> None:
        """``refresh`` for asyncio."""
        await sync_to_async(self.refresh)()

    def _look(self) -> None:
        # First a look: a burst inside the transaction of a test may have run it.
        try:
            self.refresh()
        except ResultNotFound:
            self._require_progress()
            raise
        if self.state not in FINAL:
            self._require_progress()

    async def _alook(self) -> None:
        try:
            await self.arefresh()
        except ResultNotFound:
            await sync_to_async(self._require_progress)()
            raise
        if self.state not in FINAL:
            await sync_to_async(self._require_progress)()

    def _outcome(self) -> Any:
        if self.state == State.SUCCESSFUL:
            return self._return_value
        ending = _ENDINGS.get(State(self.state), TaskFailed)
        if ending is TaskCancelled and cause_of(self.error_class, self.error_message):
            ending = ENDED_BY_PARENTS[self.error_class.rpartition(".")[2]]
        raise ending(self.id, self.error_class, self.error_message, self.traceback)

    def _give_up(self, timeout: float | None) -> NoReturn:
        raise ResultTimeout(
            f"Task {self.id} is {self.state} after {timeout:g} s of waiting. It goes on; ask again"
            " with get(), or see whether a worker serves the queue"
            f" {self.task.queue_name!r} (python manage.py runworker)."
        )

    def _require_progress(self) -> None:
        """Raises ``ResultTimeout`` at once where no waiting helps."""
        from django_tasks.bridge import outbox

        if outbox.is_open(self.id):
            raise ResultInsideTransaction(
                f"Task {self.id} was enqueued in the transaction that is still open here, and"
                " starts after its commit: get() would wait for ever. Call get() after the"
                " `atomic` block, or in another request."
            )


def waits(timeout: float | None) -> Iterator[float | None]:
    """How long to wait between looks, in seconds; None once the time is over."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LOOK if end is None else end - time.monotonic()
        if left <= 0:
            yield None
            return
        yield max(min(left, LOOK), 0.001)


def rest_of(timeout: float | None, began: float) -> float | None:
    """Of a time-out that began then (monotonic), what is left."""
    return None if timeout is None else max(timeout - (time.monotonic() - began), 0.0)


def load(record_id: str, alias: str) -> TaskResult:
    """The result with this id. Raises ``ResultNotFound``."""
    found = find(record_id, alias)
    value = found.pop("_return_value")
    result = TaskResult(**found)
    object.__setattr__(result, "_return_value", value)
    return result


def of_new(record: TaskRecord, task: Any, alias: str, database: str) -> TaskResult:
    """The result of a call that was just enqueued. Without ``__init__``, which would normalise the
    arguments once more: of many calls at once, a tenth of the whole time."""
    result = object.__new__(TaskResult)
    for name, value in (
        *_NEW,
        ("task", task),
        ("id", str(record.id)),
        ("enqueued_at", record.enqueued_at),
        # Copies: who changes a result's does not change what is pushed after the commit.
        ("args", deepcopy(record.args) if record.args else []),
        ("kwargs", deepcopy(record.kwargs) if record.kwargs else {}),
        ("backend", alias),
        ("errors", []),
        ("worker_ids", []),
        ("database", database),
    ):
        object.__setattr__(result, name, value)
    return result
