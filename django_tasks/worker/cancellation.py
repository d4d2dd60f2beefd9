"""The end of a run that somebody cancelled: an exception in the task, or its cancellation.

Its supervisor names the run on the board and sends a signal; this process knows which run is in its
body. A task that does not end within the grace period goes with its process (heart.py)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from django_tasks.calls.context import RunCancelled

if TYPE_CHECKING:
    from django_tasks.worker.board import Board

SIGNAL = signal.SIGUSR1

TOLD = "This run was cancelled."


@dataclass(slots=True)
class _Coroutine:
    """A coroutine task in its loop, which may be another thread's."""

    loop: asyncio.AbstractEventLoop | None = None
    running: asyncio.Task[Any] | None = None
    is_asked: bool = False

    def cancel(self) -> None:
        self.is_asked = True
        if self.loop is not None and self.running is not None:
            try:
                self.loop.call_soon_threadsafe(self.running.cancel)
            except RuntimeError:
                pass  # the loop is closed: it ended by itself

    async def run(self, body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.loop, self.running = asyncio.get_running_loop(), asyncio.current_task()
        if self.is_asked:  # before it could be told
            raise RunCancelled(TOLD)
        try:
            return await body(*args, **kwargs)
        except asyncio.CancelledError as end:
            if self.is_asked:
                raise RunCancelled(TOLD) from end
            raise


_fence = 0  # of the run whose body is being executed; 0 between bodies
_asked = -1  # of the run that was last asked to end
_coroutine: _Coroutine | None = None  # that it is executed in


def obey(board: Board) -> None:
    """From now on the signal ends the run that the board names."""

    def end_run(*_: object) -> None:
        global _fence, _asked
        _asked = board.cancelled
        if not _fence or _asked != _fence:
            return  # it ended by itself meanwhile, or did not begin yet: call() looks
        _fence = 0  # once: another signal, whoever sends it, is nothing to a task that tidies up
        if _coroutine is None:
            raise RunCancelled(TOLD)
        _coroutine.cancel()

    signal.signal(SIGNAL, end_run)


def call(fence: int, body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The body's value; a cancel of the run with this fence ends it by an exception."""
    global _fence
    try:
        _fence = fence
        if _asked == fence:  # told after it was put on the board, and before this line
            raise RunCancelled(TOLD)
        return body(*args, **kwargs)
    finally:
        _fence = 0


def was_asked(fence: int) -> bool:
    """Whether the run with this fence was told to end, however it did."""
    return _asked == fence


def call_coroutine(body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A coroutine function, run to its end, and cancelled as asyncio does it, so that what it
    awaits hears of it. Inside of ``call``."""
    global _coroutine
    _coroutine = _Coroutine()
    try:
        return async_to_sync(_coroutine.run)(body, *args, **kwargs)
    finally:
        _coroutine = None
