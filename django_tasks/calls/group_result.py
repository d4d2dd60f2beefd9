"""GroupResult: what became of the calls of a group, one after the other and as a whole."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NoReturn

from asgiref.sync import sync_to_async
from django.utils import timezone

from django_tasks.calls.lookup import MANY, find_all
from django_tasks.calls.progress import Progress
from django_tasks.calls.result import TaskResult, waits
from django_tasks.errors import ResultTimeout
from django_tasks.states import FINAL, State


class GroupResult:
    """``id``: of its workflow; ``results``: its members', in order; one of a group inside of it is
    a ``GroupResult`` too."""

    def __init__(self, workflow_id: str, results: Sequence[Any]) -> None:
        self.id = workflow_id
        self.results = list(results)

    def __repr__(self) -> str:
        return f"<GroupResult {self.id} of {len(self.results)}>"

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> Any:
        return self.results[place]

    def get(self, timeout: float | None = None) -> list[Any]:
        """Wait for all, at most ``timeout`` seconds; their values in order.

        Raises what the first that did not succeed raises, at once; ``ResultTimeout``."""
        for one in self.as_completed(timeout):
            one._outcome()
        return self._values()

    async def aget(self, timeout: float | None = None) -> list[Any]:
        """``get`` for asyncio."""
        async for one in self.aas_completed(timeout):
            one._outcome()
        return await sync_to_async(self._values)()

    def as_completed(self, timeout: float | None = None) -> Iterator[TaskResult]:
        """The members' results, each as soon as it is final, in the order in which they ended.
        Raises ``ResultTimeout``."""
        left = self._members()
        for wait in waits(timeout):
            ended, left = _looked_at(left)
            yield from ended
            if not left:
                return
            if wait is None:
                self._give_up(timeout, len(left))
            left[0]._wait(wait)

    async def aas_completed(self, timeout: float | None = None) -> AsyncIterator[TaskResult]:
        """``as_completed`` for asyncio."""
        left = self._members()
        for wait in waits(timeout):
            ended, left = await sync_to_async(_looked_at)(left)
            for one in ended:
                yield one
            if not left:
                return
            if wait is None:
                self._give_up(timeout, len(left))
            await sync_to_async(left[0]._wait, thread_sensitive=False)(wait)

    def refresh(self) -> None:
        """Read again where those are that were not final."""
        for one, values in find_all([one for one in self._members() if one.state not in FINAL]):
            one._take(values)

    async def arefresh(self) -> None:
        """``refresh`` for asyncio."""
        await sync_to_async(self.refresh)()

    @property
    def completed(self) -> int:
        """How many are final now, whichever way they ended. It looks."""
        self.refresh()
        return sum(one.state in FINAL for one in self._members())

    @property
    def progress(self) -> Progress:
        """``done`` of ``total`` members are final now, ``fraction`` from 0 to 1. It looks."""
        members = self._members()
        return Progress(done=self.completed, total=len(members), text="", at=timezone.now())

    @property
    def first_error(self) -> TaskResult | None:
        """The result of the member that was the first to end without success, None while there is
        none. It looks."""
        self.refresh()
        wrong = [one for one in self._members() if one.state in FINAL and not _is_fine(one)]
        return min(wrong, key=_end_of, default=None)

    def cancel(self, *, terminate: bool = False) -> int:
        """Cancel those that have not ended, the last first; as ``TaskResult.cancel``. Returns how
        many were cancelled or told to end. Raises ``BrokerUnavailable``."""
        from django_tasks.bridge import actions
        from django_tasks.models import TaskRecord

        by_database: dict[str, list[str]] = {}
        for one in reversed(self._members()):
            by_database.setdefault(one.database, []).append(one.id)
        cancelled = 0
        for database, ids in by_database.items():
            for start in range(0, len(ids), MANY):
                rows = TaskRecord.objects.using(database).filter(pk__in=ids[start : start + MANY])
                done = actions.cancel(rows, terminate=terminate, is_newest_first=True)
                cancelled += done.changed + done.told
        return cancelled

    async def acancel(self, *, terminate: bool = False) -> int:
        """``cancel`` for asyncio."""
        return await sync_to_async(self.cancel)(terminate=terminate)

    def forget(self) -> int:
        """Nobody will read them again: the broker lets them go, once their rows say the same; the
        rows stay. Returns how many left at once. Raises ``BrokerUnavailable``."""
        from django_tasks.broker import get_broker

        places: dict[tuple[str, str], list[str]] = {}
        for one in self._members():
            places.setdefault((one.task.backend, one.task.queue_name), []).append(one.id)
        return sum(
            get_broker(alias).forget(queue, ids[start : start + MANY])
            for (alias, queue), ids in places.items()
            for start in range(0, len(ids), MANY)
        )

    async def aforget(self) -> int:
        """``forget`` for asyncio."""
        return await sync_to_async(self.forget)()

    def _members(self) -> list[TaskResult]:
        """Those of groups inside of it too; of one that was replaced, what replaced it."""
        found: list[TaskResult] = []
        for place, one in enumerate(self.results):
            if isinstance(one, GroupResult):
                found += one._members()
            else:
                while one.replaced_by:
                    one = self.results[place] = one._replacement()
                found.append(one)
        return found

    def _values(self) -> list[Any]:
        self._members()  # who was replaced
        return [
            one._values() if isinstance(one, GroupResult) else one._outcome()
            for one in self.results
        ]

    def _give_up(self, timeout: float | None, left: int) -> NoReturn:
        raise ResultTimeout(
            f"{left} of the group's {len(self._members())} calls were not final after"
            f" {timeout:g} s. They go on; ask again."
        )


def _looked_at(results: Sequence[TaskResult]) -> tuple[list[TaskResult], list[TaskResult]]:
    """(those that are final, in the order in which they ended; the others). Raises
    ``ResultInsideTransaction`` where no waiting helps."""
    heard = set()
    for one, values in find_all(results):
        one._take(values)
        heard.add(one.id)
    for one in results:
        if one.id not in heard:
            one._look()  # raises what is to be said of it
    ended: list[TaskResult] = []
    left: list[TaskResult] = []
    for one in results:
        while one.replaced_by:
            one = one._replacement()
        (ended if one.state in FINAL else left).append(one)
    if left:
        left[0]._require_progress()
    return sorted(ended, key=_end_of), left


def _is_fine(result: TaskResult) -> bool:
    return result.state == State.SUCCESSFUL


def _end_of(result: TaskResult) -> float:
    return result.finished_at.timestamp() if result.finished_at else time.time()
