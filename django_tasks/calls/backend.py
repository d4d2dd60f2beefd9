"""RedisBackend: what TASKS names. Signature → Draft → outbox → result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from django_tasks import framework
from django_tasks.calls import registry, result, workflows
from django_tasks.calls.arguments import normalize
from django_tasks.calls.canvas import Node, Values, lay_call
from django_tasks.calls.result import TaskResult
from django_tasks.calls.signature import Signature, checked_task
from django_tasks.calls.task import Task, require_task
from django_tasks.conf import task_settings
from django_tasks.errors import InvalidTaskOptions, InvalidWorkflow, NotATask
from django_tasks.framework import BaseTaskBackend, task_enqueued
from django_tasks.states import Recording

if TYPE_CHECKING:
    from django_tasks.bridge.outbox import Draft


class RedisBackend(BaseTaskBackend):
    """``TASKS = {"default": {"BACKEND": "django_tasks.RedisBackend"}}``."""

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        # Django's default is the one queue "default"; ours is any name.
        super().__init__(alias, {**params, "QUEUES": params.get("QUEUES") or []})

    def validate_task(self, task: Any) -> None:
        """Raises ``InvalidTaskOptions`` for what can't be enqueued here."""
        known = getattr(task, "__dict__", {})  # a plain ``django.tasks`` one has none
        if known.get("_valid_for") is not self:  # TASKS may have changed since
            checked_task(task, super().validate_task)
            known["_valid_for"] = self
        if task_settings(self.alias).record != Recording.FIRST:
            _require_row(task)
        registry.register(task)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """A row now, a message after commit. Raises ``TaskArgumentError``, ``InvalidTask``."""
        self.validate_task(task)
        call = Signature(task, tuple(args), dict(kwargs))
        options = getattr(task, "options", None)
        if options is not None and options.is_joined:
            nodes: list[Node] = []
            joined: TaskResult = self.enqueue_workflow(nodes, lay_call(call, nodes), "graph", "")
            return joined
        return self.enqueue_drafts([(task, call.draft())])[0]

    def enqueue_drafts(self, drafts: Sequence[tuple[Any, Draft]]) -> list[TaskResult]:
        """Pairs of a task and the draft of one call of it; results in order."""
        from django_tasks.bridge import outbox

        outbox.enqueue([draft for _, draft in drafts])
        results = [self.result_of(task, draft) for task, draft in drafts]
        if task_enqueued.receivers:
            for one in results:
                task_enqueued.send(sender=type(self), task_result=one)
        return results

    def result_of(self, task: Any, draft: Draft) -> TaskResult:
        """Of a call that is, or is going to be, enqueued."""
        database = "" if draft.recording == "never" else draft.database
        return result.of_new(draft.record, task, self.alias, database)

    def enqueue_workflow(self, nodes: list[Node], shape: Values, kind: str, name: str) -> Any:
        """The nodes of a chain, group or chord (canvas.py). Raises ``InvalidWorkflow``."""
        return workflows.enqueue(self, nodes, shape, kind, name)

    async def aenqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult:
        """``enqueue`` for asyncio."""
        return await sync_to_async(self.enqueue, thread_sensitive=True)(task, args, kwargs)

    def get_result(self, result_id: Any) -> TaskResult:
        """Raises ``ResultNotFound`` (a ``TaskResultDoesNotExist``) for unknown ids."""
        return result.load(result_id, self.alias)


def _require_row(task: Any) -> None:
    options = getattr(task, "options", None)
    if options is not None and options.atomic and not options.record:
        raise InvalidTaskOptions(
            f"{task.module_path}: atomic=True needs a row that is there when the task runs, and the"
            " setting RECORD says otherwise. Write record='first' beside it."
        )


def enqueue_many(signatures: Iterable[Signature]) -> list[Any]:
    """Enqueue many calls at once: one INSERT, pushes in chunks after commit. Results in order.

    All or nothing: an argument that is wrong raises ``TaskArgumentError``, and a task that its
    backend does not take ``InvalidTask``, before any is written.
    """
    made = list(signatures)
    by_alias: dict[str, list[int]] = {}
    for position, signature in enumerate(made):
        if not isinstance(signature, Signature):
            if not isinstance(signature, framework.Task):
                require_task(signature)
            raise NotATask(
                f"enqueue_many() wants calls not yet made, like add.s(1, 2), not {signature!r}."
            )
        by_alias.setdefault(signature.task.backend, []).append(position)
    backends = {alias: made[first].task.get_backend() for alias, (first, *_) in by_alias.items()}
    # Every call is checked before any is written, whatever its alias.
    for task in {id(signature.task): signature.task for signature in made}.values():
        backends[task.backend].validate_task(task)
    drafts = {}
    for position, one in enumerate(made):
        if isinstance(backends[one.task.backend], RedisBackend):
            options = getattr(one.task, "options", None)
            if options is not None and options.is_joined:
                raise InvalidWorkflow(
                    f"{one.task.func.__name__}() is joined to other calls: enqueue it by itself, or"
                    " all of them by group(…).enqueue()."
                )
            drafts[position] = (one.task, one.draft())
        else:
            options = getattr(one.task, "options", None)
            normalize(
                one.task.func,
                one.task.takes_context,
                one.args,
                one.kwargs,
                options.sensitive if options else (),
            )
    results: list[Any] = [None] * len(made)
    for alias, positions in by_alias.items():
        backend = backends[alias]
        if isinstance(backend, RedisBackend):
            enqueued: list[Any] = list(backend.enqueue_drafts([drafts[one] for one in positions]))
        else:  # Immediate or Dummy, in tests
            chosen = [made[position] for position in positions]
            enqueued = [one.task.enqueue(*one.args, **one.kwargs) for one in chosen]
        for position, given in zip(positions, enqueued, strict=True):
            results[position] = given
    return results
