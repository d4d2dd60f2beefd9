"""The project that a browser looks at: its site is a process, its workers are, its broker is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

from django_tasks.models import TaskAttempt, TaskDependency, TaskRecord, Workflow
from tests.servers import Server
from tests.worker.running import MODULES, ROOT, Site

READS = ("view_queue", "view_taskrecord", "view_taskattempt", "view_workflow")
# Who looks → what he may, None: everything. A "visitor" has not logged in.
ROLES: dict[str, tuple[str, ...] | None] = {
    "chief": None,
    "reader": READS,
    "retrier": (*READS, "retry_taskrecord"),
    "stranger": (),
}


@dataclass
class Project(Site):
    """One for all tests; each finds it empty (``clear``)."""

    server: Server | None = None
    web: Any = field(default=None)
    address: str = ""

    def __post_init__(self) -> None:
        shop = {"PREFIX": "shop", "RELEASE": "2026.11.3"}  # it has its server for itself
        self.tasks = {"MODULES": [*MODULES, "tests.browser.shop_tasks"], **shop, **self.tasks}
        super().__post_init__()

    def environment(self) -> dict[str, str]:
        given = super().environment()
        return {**given, "DJANGO_SETTINGS_MODULE": "tests.browser.site_settings"}

    def serve(self) -> None:
        """Returns once the site answers."""
        with (self.folder / "web-log").open("wb") as log:
            self.web = subprocess.Popen(
                [sys.executable, "-m", "tests.browser.serve"],
                cwd=ROOT,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        port = self.web.stdout.readline().strip()
        assert port, (self.folder / "web-log").read_text()
        self.address = f"http://127.0.0.1:{int(port)}"

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers.clear()

    def clear(self) -> None:
        """No worker, no message, no row."""
        self.stop_workers()
        assert self.server is not None
        self.server.flush()
        TaskAttempt.objects.all().delete()
        TaskDependency.objects.all().delete()
        Workflow.objects.all().delete()
        TaskRecord.objects.all().delete()

    def stop(self) -> None:
        self.web.terminate()  # first: it goes, whatever fails below
        self.web.communicate()
        self.clear()
        User.objects.filter(username__in=ROLES).delete()
        super().stop()

    def session(self, role: str) -> str:
        """The key of a session in which one of the role is logged in."""
        allowed = ROLES[role]
        user, _ = User.objects.get_or_create(
            username=role, defaults={"is_staff": True, "is_superuser": allowed is None}
        )
        user.user_permissions.set(Permission.objects.filter(codename__in=allowed or ()))
        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value
