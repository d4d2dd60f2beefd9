"""Settings of a worker that a test started: tests.settings, and what UNCUT_LIVE says (JSON)."""

from __future__ import annotations

import json
import os

from tests.mysql_driver import require_driver
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

_given = json.loads(os.environ["UNCUT_LIVE"])
DATABASES = {"default": {**_DATABASES["default"], **_given["database"]}, **_given["others"]}
if any(one["ENGINE"].endswith("mysql") for one in DATABASES.values()):
    require_driver()
DJANGO_TASKS = _given["tasks"]
globals().update(_given["settings"])
