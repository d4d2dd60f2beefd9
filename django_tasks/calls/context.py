"""TaskContext: what a running task may ask and tell. The first argument of a task that takes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from django_tasks import framework
from django_tasks.calls import registry
from django_tasks.calls.progress import Progress, Reporter, read_report
from django_tasks.errors import InvalidWorkflow

if TYPE_CHECKING:
    from django_tasks.calls.handle import WorkflowHandle
    from django_tasks.calls.result import TaskResult

    # django-stubs has it neither frozen nor with a result of ours.
    FrameworkTaskContext: Any
else:
    FrameworkTaskContext = framework.TaskContext

logger = logging.getLogger("django_tasks.task")


class RunCancelled(BaseException):
    """Raised inside a running task that somebody cancelled. Clean up and let it pass; a task that
    does not end within ``CANCEL_GRACE`` seconds is ended with its process.

    No error, as asyncio's ``CancelledError`` is none: an ``except Exception`` does not stop it."""


@dataclass(frozen=True, kw_only=True)
class TaskContext(FrameworkTaskContext):  # type: ignore[misc, unused-ignore]
    """Django's ``TaskContext``. ``attempt``: which attempt this is, counted from 1; ``headers``:
    what middlewares sent along (docs/middleware.md).

    ``progress`` and ``log`` may be called at any rate, from any thread of the task: they cost
    microseconds, and what is shown is the newest, once a second. Nothing waits, so they need no
    twins for asyncio. Without a worker they are kept here, for who looks at ``report``."""

    number: int = 1
    headers: Mapping[str, Any] = field(default_factory=dict)
    reporter: Reporter = field(default_factory=Reporter, repr=False, compare=False)
    own: Any = field(default=None, repr=False, compare=False)  # OwnWorkflow, where a worker runs it

    @property
    def attempt(self) -> int:
        """Runs that ended by an error of the task, and this one. Lost runs are not counted."""
        return self.number

    @property
    def result(self) -> TaskResult:
        """The result of the call that runs: its ``id``, ``args``, ``enqueued_at``."""
        result: TaskResult = self.task_result
        return result

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Tell how far this run is: ``done`` of ``total``, in whatever is counted, and a few words
        (200 characters are kept). The next call replaces all of it.

        Below 0 and NaN count as 0, and 10^15 is the most. Raises ``TypeError`` for no number."""
        self.reporter.progress(done, total, text)

    def log(self, text: str, *args: Any) -> None:
        """Add a line to this run's log, ``text % args`` as with ``logging``: of a line 400
        characters are kept, of the lines the newest, fifty or some 5 kB. The whole line goes to
        the logger ``django_tasks.task`` as INFO."""
        line = _formatted(text, args)
        self.reporter.log(line)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", self.reporter.clean(line), extra=self._extra(), stacklevel=2)

    @property
    def workflow(self) -> WorkflowHandle:
        """The workflow that this call belongs to: ``context.workflow.add(clean.s(7))``. What a run
        adds has the same ids when it is run again, and is added once. A query, at the first use.

        Raises ``InvalidWorkflow`` if there is none."""
        handle: WorkflowHandle = self._own().handle
        return handle

    async def aworkflow(self) -> WorkflowHandle:
        """``workflow`` for asyncio."""
        return await sync_to_async(lambda: self.workflow)()

    def replace(self, call: Any) -> None:
        """Let another call (a chain, a chord) take this one's place once it has returned, whatever
        it returns: who waited for this call waits for that one, and its value is this one's.
        ``return context.replace(add.s(1, 2))`` says it in one line. A run that fails after it is
        not replaced. Raises ``InvalidWorkflow``."""
        self._own().replace(call)

    def _own(self) -> Any:
        if self.own is None:
            raise InvalidWorkflow("Only a task that a worker runs has a workflow of its own.")
        return self.own

    @property
    def report(self) -> Progress | None:
        """What this run told so far; None for nothing. For unit tests of a task."""
        return read_report(self.reporter.report) if self.reporter.report else None

    def _extra(self) -> dict[str, Any]:
        result = self.task_result
        if result is None:  # a context that a unit test made
            return {}
        return {
            "task_name": registry.name_of(result.task),
            "message_id": result.id,
            "queue": result.task.queue_name,
        }


def _formatted(text: str, args: tuple[Any, ...]) -> str:
    if not args:
        return str(text)
    try:
        is_named = len(args) == 1 and isinstance(args[0], Mapping) and args[0]
        return str(text) % (args[0] if is_named else args)
    except Exception:  # as logging has it: a line of a log ends no run
        return str(text)
