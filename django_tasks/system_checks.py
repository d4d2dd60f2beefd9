"""``manage.py check``: what is wrong with the settings before a worker finds out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections

from django_tasks.broker.connection import check_address
from django_tasks.calls.backend import RedisBackend
from django_tasks.calls.middleware import plan_of
from django_tasks.conf import DEFAULT_ALIAS, task_settings
from django_tasks.errors import BrokerUnusable, InvalidSettings
from django_tasks.framework import task_backends

SQLITE_OPTIONS = (
    'OPTIONS = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",'
    ' "transaction_mode": "IMMEDIATE", "timeout": 20}'
)


def connect() -> None:
    """Called once, when the apps are ready."""
    checks.register(check_settings, "django_tasks")
    checks.register(check_sqlite, "django_tasks")


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """E002: ``DJANGO_TASKS`` or the ``OPTIONS`` of an alias of ours can't be read. W001: the
    embedded broker in production. W003: an address at which no broker can be asked."""
    found: dict[str, checks.CheckMessage] = {}  # by text: two aliases may share one fault
    for alias in _our_aliases():
        try:
            chosen = task_settings(alias)
            plan_of(chosen.middleware)
        except InvalidSettings as error:
            found[str(error)] = checks.Error(str(error), id="django_tasks.E002")
            continue
        try:
            check_address(chosen)
        except BrokerUnusable as error:
            found[str(error)] = checks.Warning(
                f"{error} Enqueued calls wait in the database.", id="django_tasks.W003"
            )
        if chosen.broker.startswith("embedded://") and not settings.DEBUG:
            found["embedded"] = checks.Warning(
                "DJANGO_TASKS['BROKER'] is embedded://, a server for development, and DEBUG is"
                " off.",
                hint="Set BROKER to the URL of a Redis or Valkey server of your own.",
                id="django_tasks.W001",
            )
    return list(found.values())


def _our_aliases() -> list[str]:
    # On Django 5.2 nobody asks backends for their checks.
    if not settings.is_overridden("TASKS"):  # type: ignore[misc]
        return [DEFAULT_ALIAS]
    return [alias for alias in task_backends if isinstance(task_backends[alias], RedisBackend)]


def check_sqlite(**_: Any) -> list[checks.CheckMessage]:
    """W002: SQLite as Django configures it loses writes to "database is locked" as soon as a
    worker and a view write at the same time."""
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "sqlite":
        return []
    options = connection.settings_dict.get("OPTIONS") or {}
    if (
        options.get("transaction_mode") == "IMMEDIATE"
        and "wal" in str(options.get("init_command", "")).lower()
    ):
        return []
    return [
        checks.Warning(
            "The records are in SQLite without WAL and IMMEDIATE transactions: a worker and a view"
            " that write at the same time fail with 'database is locked'.",
            hint=f"Set DATABASES['{DEFAULT_DB_ALIAS}'] {SQLITE_OPTIONS}.",
            id="django_tasks.W002",
        )
    ]
