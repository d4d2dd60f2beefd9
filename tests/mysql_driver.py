"""MySQL's driver for the tests: mysqlclient where it was built, else PyMySQL in its place."""

from __future__ import annotations

import importlib
from typing import Any


def require_driver() -> None:
    """From now on ``import MySQLdb`` works. Raises ``ImportError`` where neither is installed."""
    try:
        importlib.import_module("MySQLdb")
    except ImportError:
        pymysql: Any = importlib.import_module("pymysql")
        # Django asks for a mysqlclient of its time; PyMySQL says it is an older one.
        pymysql.version_info = (2, 2, 99, "final", 0)
        pymysql.install_as_MySQLdb()
