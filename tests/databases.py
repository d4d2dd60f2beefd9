"""Databases beside the one that the tests run on: on another server where there is one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, connections

from django_tasks.models import TaskAttempt, TaskDependency, TaskRecord, Workflow
from tests.mysql_driver import require_driver
from tests.settings import SERVERS

_OTHER = {"postgresql": "mysql", "mysql": "postgres"}


@contextmanager
def other_database(folder: Path, alias: str = "other", *, on_server: bool) -> Iterator[str]:
    """The alias of a further database that has our tables. ``on_server``: on the other server (of
    PostgreSQL and MariaDB) if the tests run on one and the other is there; else a file."""
    chosen = _server_settings() if on_server else None
    if chosen is None:
        chosen = {**SERVERS["sqlite"], "NAME": str(folder / f"{alias}.sqlite3")}
    connections.databases[alias] = _completed(chosen)
    made: Any = connections[alias]
    is_on_server = made.vendor != "sqlite"
    if is_on_server:
        made.settings_dict["TEST"]["NAME"] = f"test_uncut_{os.getpid()}_{uuid.uuid4().hex[:6]}"
        name = made.creation._create_test_db(verbosity=0, autoclobber=True, keepdb=False)
        made.settings_dict["NAME"] = name
    try:
        made.connect()  # directly: a test may not connect to an alias its marker does not name
        with made.schema_editor() as editor:
            editor.create_model(TaskRecord)
            editor.create_model(TaskAttempt)
            editor.create_model(Workflow)
            editor.create_model(TaskDependency)
        yield alias
    finally:
        made.close()
        connections[alias].close()  # a test may have made it anew
        if is_on_server:
            made.creation._destroy_test_db(made.settings_dict["NAME"], verbosity=0)
        del connections[alias]
        del connections.databases[alias]


def _completed(chosen: dict[str, Any]) -> dict[str, Any]:
    """With the keys that Django adds at its start."""
    known = settings.DATABASES["default"]
    plain = {"OPTIONS": {}, "PASSWORD": "", "USER": "", "HOST": "", "PORT": "", "CONN_MAX_AGE": 0}
    test = {**known["TEST"], "NAME": None, "MIRROR": None, "CHARSET": None, **chosen["TEST"]}
    return {**known, **plain, **chosen, "TEST": test}


def _server_settings() -> dict[str, Any] | None:
    name = _OTHER.get(connection.vendor)
    if name is None:
        return None
    chosen = _completed(SERVERS[name])
    try:
        if name == "mysql":
            require_driver()
        connections.databases["probe"] = chosen
        probe: Any = connections.create_connection("probe")
        probe.connect()
        probe.close()
    except (ImportError, DatabaseError):
        return None
    finally:
        connections.databases.pop("probe", None)
    return chosen
