"""Signals around a task's life: the framework's own where Django has them.

``task_enqueued``, ``task_started`` and ``task_finished`` are sent with ``task_result``."""

from __future__ import annotations

from typing import Any

from django_tasks.framework import HAS_TASKS_FRAMEWORK, task_enqueued, task_finished, task_started

__all__ = ["quieten_framework_log", "send", "task_enqueued", "task_finished", "task_started"]


def send(signal: Any, sender: type, task_result: Any) -> list[tuple[Any, Any]]:
    """Send to every receiver; one that raises does not stop a task. Returns what they raised."""
    answers = signal.send_robust(sender=sender, task_result=task_result)
    return [(receiver, error) for receiver, error in answers if isinstance(error, Exception)]


def quieten_framework_log() -> None:
    """In a worker: one failure is one ERROR, ours, with the record's id; Django's own receivers
    would log each a second time, and also what a task lists in ``throws``."""
    if HAS_TASKS_FRAMEWORK:
        from django.tasks import signals

        task_started.disconnect(signals.log_task_started)
        task_finished.disconnect(signals.log_task_finished)
    else:
        task_finished.disconnect(dispatch_uid="django_tasks.framework")
