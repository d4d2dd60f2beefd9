"""Tasks that tests of the outbox enqueue, and how they look what became of the calls."""

from __future__ import annotations

from django_tasks import django_task
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord


@django_task(record="after")
def noted(number: int) -> int:
    return number


@django_task(record="never")
def thrown_away(number: int) -> int:
    return number


class Undo(Exception):
    """Raised to roll back."""


def numbers(queue: TaskSettings, name: str = "default", limit: int = 1000) -> list[int]:
    """First arguments of the messages that are ready, in the line's order."""
    get_broker().settle()  # nobody waited for what was enqueued here
    broker = Broker(queue)
    broker.beat([name], ["reader"], register=True)
    found = [message.decoded_arguments()[0][0] for message in broker.claim(name, "reader", limit)]
    broker.close()
    return found


def rows() -> list[int]:
    """First arguments of the rows, oldest first."""
    return [record.args[0] for record in TaskRecord.objects.order_by("id")]
