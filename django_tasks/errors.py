"""Every error of the package, under one base class.

::

    TaskQueueError
    ├── InvalidTaskOptions        also django's InvalidTask, TypeError: an option is wrong
    ├── NotATask                  also TypeError: a plain function where a task is wanted
    ├── TaskArgumentError         also TypeError: the call is wrong
    │   ├── ArgumentMismatch      the arguments do not fit the function's parameters
    │   ├── ArgumentNotSerializable   an argument has no JSON form
    │   └── ArgumentsTooLarge     over MAX_ARGUMENT_BYTES, or MAX_INPUT_BYTES from others
    ├── MiddlewareError           headers that can't travel, a middleware that did not proceed
    ├── InvalidWorkflow           also ValueError: calls can't be joined like this
    ├── UnknownTask               a name that no registered task has
    ├── ReturnValueNotSerializable    also TypeError: what a task returned has no JSON form
    ├── InvalidFilter             also ValueError: nothing can be asked of records like this
    ├── UndecodableMessage        the broker's bytes are not a message of ours
    ├── ResultNotFound            also django's TaskResultDoesNotExist
    ├── TaskFailed                raised by get() for a task that ended without success
    │   ├── TaskCancelled
    │   │   └── ParentCancelled   what it waited for was cancelled
    │   │       ├── ParentFailed      … or failed
    │   │       └── NotNeeded         … or succeeded, which this was to make up for
    │   └── TaskExpired
    ├── InvalidDeed               also ValueError: a deed on records can't be done so
    ├── ResultTimeout             also TimeoutError: get() waited long enough
    │   └── ResultInsideTransaction   get() inside the very transaction that enqueued the task
    ├── InvalidSettings           also django's ImproperlyConfigured
    ├── BrokenInstallation        also ImproperlyConfigured: overwritten by another package
    ├── BrokerError
    │   ├── BrokerUnavailable     the broker does not answer
    │   └── BrokerUnusable        also ImproperlyConfigured: its address is wrong, it can't serve us
    │       └── EmbeddedServerUnavailable
    └── WorkerCannotStart         runworker exits with 2
"""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_tasks.framework import InvalidTask, TaskResultDoesNotExist


class TaskQueueError(Exception):
    """Base of every error that this package raises."""


class InvalidTaskOptions(TaskQueueError, InvalidTask, TypeError):
    """An option of a task is unknown, malformed or contradicts another."""


class NotATask(TaskQueueError, TypeError):
    """A plain function was passed where a task is wanted."""


class TaskArgumentError(TaskQueueError, TypeError):
    """The arguments of a call are wrong."""


class ArgumentMismatch(TaskArgumentError):
    """The arguments do not fit the parameters of the task's function."""


class ArgumentNotSerializable(TaskArgumentError):
    """An argument has no JSON form. ``name``: the parameter; ``value``: what was passed."""

    def __init__(self, message: str, *, name: str = "", value: Any = None) -> None:
        super().__init__(message)
        self.name = name
        self.value = value


class ArgumentsTooLarge(TaskArgumentError):
    """The arguments take more bytes than ``MAX_ARGUMENT_BYTES``, or what a call is given by those
    that it waits for more than ``MAX_INPUT_BYTES``. ``size``, ``limit``: bytes."""

    def __init__(self, message: str, *, size: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class MiddlewareError(TaskQueueError, RuntimeError):
    """A middleware gave headers that can't travel, or did not proceed, or did so twice."""


class UnknownTask(TaskQueueError, LookupError):
    """No registered task has this name."""


class ReturnValueNotSerializable(TaskQueueError, TypeError):
    """What a task returned has no JSON form."""


class InvalidFilter(TaskQueueError, ValueError):
    """Nothing can be asked of records like this: an unknown state, no date, no such filter."""


class UndecodableMessage(TaskQueueError, ValueError):
    """The fields that the broker holds do not make a message."""


class ResultNotFound(TaskQueueError, TaskResultDoesNotExist):
    """No record and no message has this id."""


class TaskFailed(TaskQueueError):
    """A task ended without success.

    ``record_id``: the record's id; ``error_class``: dotted name of the original exception;
    ``error_message``: its text; ``traceback``: as text, "" where there is none.
    """

    def __init__(
        self, record_id: str, error_class: str, error_message: str, traceback: str = ""
    ) -> None:
        self.record_id = record_id
        self.error_class = error_class
        self.error_message = error_message
        self.traceback = traceback
        super().__init__(record_id, error_class, error_message, traceback)

    def __str__(self) -> str:
        reason = ": ".join(part for part in (self.error_class, self.error_message) if part)
        return f"Task {self.record_id} {self._ended}" + (f": {reason}" if reason else "")

    @property
    def cause_id(self) -> str:
        """The record that raised: itself, or what it waited for."""
        return self.record_id

    _ended = "failed"


class TaskCancelled(TaskFailed):
    """A task was cancelled before it could succeed."""

    _ended = "was cancelled"


class TaskExpired(TaskFailed):
    """A task's ``expires`` passed before it was started."""

    _ended = "expired before it was started"


class ParentCancelled(TaskCancelled):
    """It could not run any more, since what it waited for was cancelled."""

    @property
    def cause_id(self) -> str:
        return cause_of(self.error_class, self.error_message) or self.record_id


class ParentFailed(ParentCancelled):
    """It could not run any more, since what it waited for failed."""


class NotNeeded(ParentCancelled):
    """It was to run if what it waited for did not succeed, which it did."""


ENDED_BY_PARENTS = {one.__name__: one for one in (ParentCancelled, ParentFailed, NotNeeded)}
# As lua/_release.lua says it: "parent A failed", "parent A failed, since B did".
_ENDED_BY = re.compile(r"parent (\S+) (?:failed|was cancelled|succeeded)(?:, since (\S+) did)?")


def cause_of(error_class: str, error_message: str) -> str | None:
    """The record since whose end another one was cancelled; None where that was no parent's: a
    task may itself have raised an error of ours, and then been cancelled by a person."""
    module, _, name = error_class.rpartition(".")
    said = _ENDED_BY.fullmatch(error_message)
    if module != __name__ or name not in ENDED_BY_PARENTS or said is None:
        return None
    return said[2] or said[1]


class InvalidWorkflow(TaskQueueError, ValueError):
    """Calls can't be joined like this; nothing was written."""


class InvalidDeed(TaskQueueError, ValueError):
    """What was asked of retry(), cancel() and the like makes no sense; nothing was done."""


class ResultTimeout(TaskQueueError, TimeoutError):
    """The task was not final when ``get(timeout=…)`` stopped waiting. It may still run."""


class ResultInsideTransaction(ResultTimeout):
    """``get()`` was called inside the transaction that enqueued the task: it would never end."""


class InvalidSettings(TaskQueueError, ImproperlyConfigured):
    """``DJANGO_TASKS`` or a ``TASKS`` alias of ours is wrong."""


class BrokenInstallation(TaskQueueError, ImproperlyConfigured):
    """Files of this package were overwritten or deleted by another distribution."""


class BrokerError(TaskQueueError):
    """The broker can't be used, now or at all."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """The broker does not answer now; it may later."""


class BrokerUnusable(BrokerError, ImproperlyConfigured):
    """The broker's address is wrong, or the server is too old: waiting will not help."""


class EmbeddedServerUnavailable(BrokerUnusable):
    """``embedded://`` finds no server program that runs here."""


class WorkerCannotStart(TaskQueueError):
    """``runworker`` cannot start; the message is the one clear line that it prints."""
