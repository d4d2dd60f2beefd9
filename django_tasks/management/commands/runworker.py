"""``manage.py runworker``: executes tasks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import autoreload

import django_tasks
from django_tasks.broker import Broker
from django_tasks.broker.connection import redacted
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import task_settings
from django_tasks.errors import TaskQueueError
from django_tasks.installation import require_whole_installation
from django_tasks.task_signals import quieten_framework_log
from django_tasks.worker.burst import burst as burst_here
from django_tasks.worker.health import boot_line, set_title
from django_tasks.worker.processes import end_with_parent
from django_tasks.worker.supervisor import Plan, Supervisor

CANNOT_START = 2
_PARENT = "DJANGO_TASKS_RELOADER"  # pid of the reloader that started this supervisor


class Command(BaseCommand):
    # What is wrong with our settings is one line and exit code 2, not a list of checks and 1.
    requires_system_checks: list[str] = []
    help = "Run tasks: a supervisor, its children and its keeper, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="QUEUE", help="Queues to serve.")
        parser.add_argument("--queues", default="", help="The same, separated by commas.")
        parser.add_argument(
            "--strict",
            action="store_true",
            help="Serve the queues in the order given; else in turn.",
        )
        parser.add_argument(
            "--processes", type=int, default=None, help="Children (default: one per core)."
        )
        parser.add_argument(
            "--burst", action="store_true", help="End when nothing is ready and all is mirrored."
        )
        parser.add_argument(
            "--max-tasks",
            type=int,
            default=None,
            help="Replace a child after so many tasks (in a burst inside a process: end).",
        )
        parser.add_argument(
            "--grace",
            type=float,
            default=30.0,
            help="Seconds that running tasks have to end after the first SIGTERM (default 30).",
        )
        parser.add_argument(
            "--backend", default="default", help="Alias of TASKS to serve (default: default)."
        )
        parser.add_argument(
            "--reload", action="store_true", help="Start anew when a source file changes."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._start(options)
        except TaskQueueError as error:
            raise CommandError(str(error), returncode=CANNOT_START) from error

    def _start(self, options: dict[str, Any]) -> None:
        require_whole_installation()
        if options["reload"]:
            _run_with_reloader(options["backend"])
            return
        alias = options["backend"]
        settings = task_settings(alias)
        self._check_numbers(options)
        registry.discover([alias])
        queues = _queues(options, alias)
        let_framework_log = quieten_framework_log()
        if options["burst"] and not _is_command_line(self):
            try:
                burst_here(
                    settings,
                    queues,
                    alias=alias,
                    is_strict=options["strict"],
                    max_tasks=options["max_tasks"],
                )
            finally:
                let_framework_log()
            return
        processes = options["processes"] or _cores()
        _show_log(options["verbosity"])
        broker = Broker(settings)
        server = broker.ping()
        broker.announce(queues)
        broker.close()
        address = redacted(settings.broker)
        self.stdout.write(boot_line(django_tasks.__version__, queues, processes, address, server))
        set_title(f"uncut: supervisor of {', '.join(queues)}")
        parent = os.environ.pop(_PARENT, None)
        plan = Plan(
            queues=queues,
            processes=processes,
            alias=alias,
            is_strict=options["strict"],
            is_burst=options["burst"],
            max_tasks=options["max_tasks"],
            grace=options["grace"],
            parent=int(parent) if parent else None,
        )
        Supervisor(plan, settings).run()

    def _check_numbers(self, options: dict[str, Any]) -> None:
        for name, least in (("processes", 1), ("max_tasks", 1), ("grace", 0)):
            value = options[name]
            if value is not None and value < least:
                raise CommandError(
                    f"--{name.replace('_', '-')} is {value}; it must be at least {least}.",
                    returncode=CANNOT_START,
                )


def _queues(options: dict[str, Any], alias: str) -> list[str]:
    """Those named; else `default` and every queue that a registered task names."""
    named = [*options["names"], *(name.strip() for name in options["queues"].split(","))]
    chosen = [checked_queue(name) for name in dict.fromkeys(named) if name]
    return chosen or registry.queue_names(alias)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_command_line(command: BaseCommand) -> bool:
    """Whether ``manage.py runworker`` was typed, rather than ``call_command`` called."""
    return bool(getattr(command, "_called_from_command_line", False))


def _show_log(verbosity: int) -> None:
    """A worker's log goes to stderr, unless the project's LOGGING says where."""
    ours = logging.getLogger("django_tasks")
    if ours.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours.addHandler(handler)
    levels = {0: logging.WARNING, 1: logging.INFO}
    ours.setLevel(levels.get(verbosity, logging.DEBUG))


def _run_with_reloader(alias: str) -> None:
    """The reloader runs its target in a thread, where no signal can be handled and no fork is
    sound: so the supervisor is a subprocess of it, ended when a file changes."""
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        end_with_parent(os.getppid())  # the process that starts this one anew
    autoreload.run_with_reloader(_run_subprocess, alias)


def _run_subprocess(alias: str) -> None:
    try:
        # What is watched is what is imported here, and files that can't be imported.
        autoreload.check_errors(registry.discover)([alias])
    except Exception:
        pass  # the supervisor says why
    # Django's own way to say how this program was started (manage.py, -m django, an .exe).
    command = [one for one in autoreload.get_child_arguments() if one != "--reload"]
    environment = {**os.environ, _PARENT: str(os.getpid())}
    environment.pop(autoreload.DJANGO_AUTORELOAD_ENV, None)
    process = subprocess.Popen(command, env=environment)
    code = process.wait()
    if code in (0, CANNOT_START):
        os._exit(code)
    print("The worker starts again when a file changes.", file=sys.stderr)
