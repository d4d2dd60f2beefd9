"""The states of a record and of its message, and how they look in Django's four.

``docs/states.md`` draws them; a test compares the drawing with TRANSITIONS."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from django_tasks.framework import TaskResultStatus


class State(TextChoices):
    """Where a task is."""

    PENDING = "PENDING", _("Pending")  # a row; the broker has not (yet) seen it
    DEFERRED = "DEFERRED", _("Deferred")  # waits for parents
    SCHEDULED = "SCHEDULED", _("Scheduled")  # waits for a time
    READY = "READY", _("Ready")  # waits for a worker
    RUNNING = "RUNNING", _("Running")  # claimed by a consumer, not yet acknowledged
    SUCCESSFUL = "SUCCESSFUL", _("Successful")
    FAILED = "FAILED", _("Failed")
    CANCELLED = "CANCELLED", _("Cancelled")
    EXPIRED = "EXPIRED", _("Expired")


FINAL = frozenset({State.SUCCESSFUL, State.FAILED, State.CANCELLED, State.EXPIRED})
WAITING = frozenset({State.PENDING, State.DEFERRED, State.SCHEDULED, State.READY})

# from → to; what brings it about stands in docs/contributing/design.md ("States").
TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset(
        {State.DEFERRED, State.SCHEDULED, State.READY, State.CANCELLED, State.EXPIRED}
    ),
    State.DEFERRED: frozenset({State.READY, State.SCHEDULED, State.CANCELLED, State.EXPIRED}),
    State.SCHEDULED: frozenset({State.READY, State.CANCELLED, State.EXPIRED}),
    State.READY: frozenset({State.RUNNING, State.CANCELLED, State.EXPIRED}),
    State.RUNNING: frozenset(
        {
            State.SUCCESSFUL,
            State.FAILED,
            State.SCHEDULED,
            State.READY,
            State.CANCELLED,
            State.EXPIRED,
        }
    ),
    State.SUCCESSFUL: frozenset({State.PENDING}),
    State.FAILED: frozenset({State.PENDING}),
    State.CANCELLED: frozenset({State.PENDING}),
    State.EXPIRED: frozenset({State.PENDING}),
}


class Policy(TextChoices):
    """After which end of its parent a dependent runs; after any other it is cancelled."""

    SUCCESS = "success", _("after success")
    FAILURE = "failure", _("after failure")
    CANCELLED = "cancelled", _("after cancellation")
    ANY = "any", _("in any case")
    EARLY = "early", _("in any case, and at once if it does not succeed")


class Recording(StrEnum):
    """Where a call is written (law 2): ``@django_task(record=…)``."""

    FIRST = "first"  # a row in the caller's transaction, a message after commit
    AFTER = "after"  # a message after commit, the row by the mirror
    NEVER = "never"  # the broker only

    __str__ = str.__str__

    @classmethod
    def values(cls) -> tuple[str, ...]:
        """The words as a person writes them."""
        return tuple(word.value for word in cls)


class Result(StrEnum):
    """How one run of a task ended: the ``outcome`` of a TaskAttempt."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    SNOOZED = "snoozed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    LOST = "lost"
    STOPPED = "stopped"


_DJANGO = {
    State.RUNNING: TaskResultStatus.RUNNING,
    State.SUCCESSFUL: TaskResultStatus.SUCCESSFUL,
    State.FAILED: TaskResultStatus.FAILED,
    State.CANCELLED: TaskResultStatus.FAILED,
    State.EXPIRED: TaskResultStatus.FAILED,
}


def django_status(state: str) -> TaskResultStatus:
    """The state as one of the four that ``django.tasks`` knows."""
    return _DJANGO.get(State(state), TaskResultStatus.READY)
