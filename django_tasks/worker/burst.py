"""A burst in this very process: ``call_command("runworker", burst=True)``, for tests and scripts.

One child's loop in place: claim → execute → ack until nothing is left, then the mirror."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.worker.board import Board
from django_tasks.worker.child import Consumer
from django_tasks.worker.duties import Deliverer, record_databases
from django_tasks.worker.exchange import Exchange
from django_tasks.worker.keeper import is_mirrored, mirror_all


def burst(
    settings: TaskSettings,
    queues: Sequence[str],
    *,
    alias: str = "default",
    is_strict: bool = False,
    max_tasks: int | None = None,
) -> None:
    """Run what is ready until nothing is, and copy the outcomes to their rows.

    Raises ``BrokerError``, ``DatabaseError``."""
    broker = Broker(settings)
    name = f"{socket.gethostname().split('.')[0]}:{os.getpid()}-{os.urandom(3).hex()}:burst"
    databases = record_databases()

    def is_idle() -> bool:
        # Between two looks the mirror works: what a task's row says may be what the next one reads.
        while mirror_all(broker):
            pass
        for queue in queues:
            broker.beat([queue], [name])
            broker.promote(queue)
        return not any(broker.backlog(queue)["ready"] for queue in queues)

    def register() -> None:
        broker.beat(queues, [name], register=True)

    broker.announce(queues)
    deliverer = Deliverer(broker, [alias])
    while not deliverer.relay_passes:
        deliverer.relay()
    register()
    try:
        exchange = Exchange(name, list(queues), broker, Board(queues), is_strict, register)
        Consumer(exchange, settings, alias, max_tasks, idle=is_idle).run()
    finally:
        for queue in queues:
            broker.reap(queue, name)
        while not is_mirrored(broker, databases) and mirror_all(broker):
            pass
        broker.close()
