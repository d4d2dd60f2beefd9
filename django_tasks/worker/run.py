"""Run: one execution of one message, and what is known of it step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from django_tasks.broker.message import Message
from django_tasks.calls.arguments import describe, redacted
from django_tasks.calls.options import TaskOptions
from django_tasks.calls.own_workflow import OwnWorkflow
from django_tasks.calls.progress import Reporter
from django_tasks.calls.result import TaskResult
from django_tasks.calls.retries import RetryPolicy, to_backoff
from django_tasks.calls.sensitive import scrubbed
from django_tasks.conf import TaskSettings
from django_tasks.worker.telling import log_fields

Tell = Callable[[Message, bytes], object]  # where goes what a run tells of its progress
_PLAIN_OPTIONS = TaskOptions()


@dataclass(slots=True)
class Run:
    """One execution of one message: what is known of it, step by step. Middlewares see it."""

    message: Message
    consumer: str
    settings: TaskSettings
    alias: str = "default"
    started: float = field(default_factory=time.time)
    task: Any = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    result: TaskResult | None = None
    tell: Tell | None = None
    reporter: Reporter | None = None  # of a task that takes a context, as the next
    own: OwnWorkflow | None = None
    # Told once it is not being handled any more: who hears of it may log it as it is (Django does).
    untold: BaseException | None = None

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def extra(self) -> dict[str, Any]:
        return log_fields(self.message)

    @property
    def attempt(self) -> int:
        return self.message.attempt + 1

    @property
    def options(self) -> TaskOptions:
        options: TaskOptions = getattr(self.task, "options", _PLAIN_OPTIONS)
        return options

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often and how soon: as the call was enqueued; for which errors: as the code says."""
        policy = replace(self.options.retry_policy, retries=self.message.max_attempts - 1)
        if self.message.backoff:
            policy = replace(policy, backoff=to_backoff(json.loads(self.message.backoff)))
        return policy

    def __str__(self) -> str:
        name = self.task.func.__name__ if self.task is not None else self.message.task
        shown = redacted(self.task, self.args, self.kwargs)
        return f"{describe(name, *shown)} {self.message.id}"

    def shown(self, text: str) -> str:
        """A text of an error, without the values of sensitive arguments."""
        return scrubbed(text, self.task, self.args, self.kwargs)
