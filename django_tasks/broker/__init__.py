"""Redis: the one place that talks to it. It knows no ORM."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_tasks.broker.broker import Broker, get_broker

__all__ = ["Broker", "get_broker"]


def __getattr__(name: str) -> object:
    # Lazily, so that the embedded server's watcher starts without redis-py.
    if name in __all__:
        from django_tasks.broker import broker

        return getattr(broker, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
