"""Settings of the benchmark's project, for the benchmark itself and for the workers it starts.

``UNCUT_BENCH`` (JSON, set by ``project.prepare``) says which database and which broker."""

from __future__ import annotations

import json
import os

_given = json.loads(os.environ["UNCUT_BENCH"])


def _sqlite(path: str) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }


SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEBUG = False
INSTALLED_APPS = ["django_tasks"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_SQLITE = f"{_given['folder']}/{_given['name']}"
DATABASES = {
    # CONN_MAX_AGE as a production site has it: an enqueue does not pay for a connection.
    "default": {**_given["postgres"], "CONN_MAX_AGE": None}
    if _given["postgres"]
    else _sqlite(f"{_SQLITE}.sqlite3"),
    "sqlite": _sqlite(f"{_SQLITE}-2.sqlite3"),
}
DJANGO_TASKS = {
    "BROKER": _given["broker"],
    "PREFIX": _given["prefix"],
    "MODULES": ["benchmarks.tasks"],
}
