"""Tasks of the campaigns: each run writes into the journal when it begins and when it ends."""

from __future__ import annotations

import os
import threading

from django.conf import settings

from django_tasks import django_task
from django_tasks.worker import duties
from tests.worker.live_tasks import note, wait_for_file

if "UNCUT_LIVE_FOLDER" in os.environ:  # in a worker: a rebuild that lasts long enough to be met
    duties.REBUILD_PAUSE = getattr(settings, "UNCUT_REBUILD_PAUSE", duties.REBUILD_PAUSE)


@django_task(retries=0, max_lost=1000)
def step(key: str, seconds: float = 0.0) -> None:
    note(f"began {key}")
    threading.Event().wait(seconds)
    note(f"ended {key}")


@django_task(retries=0, max_lost=1000)
def hold(key: str) -> None:
    """Runs until the campaign lets it go."""
    note(f"began {key}")
    wait_for_file(f"go-{key}")
    note(f"ended {key}")
