"""`manage.py demo`: a database, a worker, an audit and its report; in a terminal also the site."""

from __future__ import annotations

import secrets
import signal
import socket
import sys
from types import FrameType
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from demo_project.audit.progress import watch
from demo_project.audit.tasks import start_audit
from demo_project.audit.terminal import ProgressBar, report_text
from demo_project.audit.worker_process import WorkerProcess, running_worker
from demo_project.settings import BASE_DIR, VAR
from django_tasks.broker import get_broker
from django_tasks.errors import TaskQueueError

FIRST_PORT = 8000
PORTS = 20  # tried one after the other; the first that is free serves


class Command(BaseCommand):
    help = (
        "Migrate, start a worker, audit this environment, print the report. In a terminal, then"
        " serve the site and the admin until Ctrl-C. Exits with 0 if the report was written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeout", type=float, default=120.0, help="Seconds to wait (120).")
        parser.add_argument("--no-serve", action="store_true", help="End after the report.")

    def handle(self, *args: Any, timeout: float, no_serve: bool, **options: Any) -> None:
        # So that SIGTERM, too, leaves through the blocks that stop the worker.
        signal.signal(signal.SIGTERM, _leave)
        try:
            self._show(timeout, is_served=self.stdout.isatty() and not no_serve)
        except KeyboardInterrupt:
            _leave(signal.SIGINT, None)

    def _show(self, timeout: float, *, is_served: bool) -> None:
        try:
            get_broker().ping()  # starts the embedded server; says at once what is wrong
        except TaskQueueError as error:
            raise CommandError(str(error)) from error
        call_command("migrate", interactive=False, verbosity=0)
        with running_worker(BASE_DIR / "manage.py", VAR / "worker.log") as worker:
            self._audit(worker, timeout)
            if is_served:
                self._serve()

    def _audit(self, worker: WorkerProcess, timeout: float) -> None:
        audit = start_audit()
        bar = ProgressBar(self.stdout)
        try:
            for progress in watch(audit.pk, timeout=timeout):
                bar.show(progress)
                if not progress.is_finished:
                    worker.check()
        finally:
            bar.close()
        audit.refresh_from_db()
        self.stdout.write(f"\n{report_text(audit.report, audit.seconds)}\n\n")

    def _serve(self) -> None:
        password = secrets.token_urlsafe(9)
        admin, _ = get_user_model().objects.get_or_create(username="admin")
        admin.is_staff = admin.is_superuser = admin.is_active = True
        admin.set_password(password)
        admin.save()
        address = f"127.0.0.1:{_free_port()}"
        self.stdout.write(
            f"Site   http://{address}/\n"
            f"Admin  http://{address}/admin/  user admin, password {password} (new at each start)\n"
            "Ctrl-C stops the site and the worker.\n"
        )
        self.stdout.flush()
        call_command("runserver", address, use_reloader=False)


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe:
            # As runserver does: a port that only waits out its last connections is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CommandError(
        f"No port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free on 127.0.0.1, so the site"
        " can't be served. End what holds them, or use --no-serve."
    )
