"""Signals around a task's life: the framework's own where Django has them.

``task_enqueued``, ``task_started`` and ``task_finished`` are sent with ``task_result``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_tasks.framework import HAS_TASKS_FRAMEWORK, task_enqueued, task_finished, task_started

__all__ = ["quieten_framework_log", "send", "task_enqueued", "task_finished", "task_started"]


def send(signal: Any, sender: type, task_result: Any) -> list[tuple[Any, Any]]:
    """Send to every receiver; one that raises does not stop a task. Returns what they raised."""
    answers = signal.send_robust(sender=sender, task_result=task_result)
    return [(receiver, error) for receiver, error in answers if isinstance(error, Exception)]


def quieten_framework_log() -> Callable[[], None]:
    """In a worker: one failure is one ERROR, ours, with the record's id; Django's own receivers
    would log each a second time, and also what a task lists in ``throws``. Returns what undoes
    it, for a burst in a process that does other things too."""
    connected: list[tuple[Any, Any, str | None]]
    if HAS_TASKS_FRAMEWORK:
        from django.tasks import signals

        connected = [
            (task_started, signals.log_task_started, None),
            (task_finished, signals.log_task_finished, None),
        ]
    else:
        # Imported now, since it connects its receiver when it is.
        from django_tasks.framework_5_2_backends import LOG_UID, log_task_finished

        connected = [(task_finished, log_task_finished, LOG_UID)]
    # Those that another has silenced already are not ours to let speak again.
    silenced = [one for one in connected if one[0].disconnect(one[1], dispatch_uid=one[2])]

    def undo() -> None:
        for signal, receiver, uid in silenced:
            signal.connect(receiver, dispatch_uid=uid)

    return undo
