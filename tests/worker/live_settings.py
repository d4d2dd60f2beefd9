"""Settings of a worker that a test started: tests.settings, and what UNCUT_LIVE says (JSON)."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

_given = json.loads(os.environ["UNCUT_LIVE"])
DATABASES = {"default": {**_DATABASES["default"], **_given["database"]}}
DJANGO_TASKS = _given["tasks"]
globals().update(_given["settings"])
