"""``manage.py runworker``: executes tasks."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import traceback
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from django.utils import autoreload

import django_tasks
from django_tasks.broker import Broker
from django_tasks.broker.connection import redacted
from django_tasks.calls import registry
from django_tasks.calls.middleware import plan_of
from django_tasks.calls.options import checked_queue
from django_tasks.conf import task_settings
from django_tasks.errors import InvalidSettings, TaskQueueError, WorkerCannotStart
from django_tasks.framework import known_aliases
from django_tasks.installation import require_whole_installation
from django_tasks.models import TaskRecord
from django_tasks.task_signals import quieten_framework_log
from django_tasks.worker.burst import burst as burst_here
from django_tasks.worker.duties import record_databases
from django_tasks.worker.health import boot_line, set_title
from django_tasks.worker.processes import end_with_parent, fork, kill, let_go_of_databases
from django_tasks.worker.supervisor import Plan, Supervisor

CANNOT_START = 2
NO_TABLE = 3  # what the child that looks for our table exits with
PATIENCE = 5.0  # seconds that a database has to answer it
MOST = 1_000_000_000  # seconds, processes, tasks: of a number that is meant
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
            "--max-memory",
            type=int,
            default=None,
            metavar="MB",
            help="Replace a child that has more in memory, once it reported what it ran.",
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

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except CommandError as error:  # --traceback: Django raises it, and Python would exit with 1
            traceback.print_exc()
            sys.exit(error.returncode)

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
        _require_alias(alias)
        settings = task_settings(alias)
        _require_numbers(options)
        _import_tasks(alias)
        plan_of(settings.middleware)  # before any message meets it
        queues = _queues(options, alias)
        is_here = options["burst"] and not _is_command_line(self)
        _require_tables(is_here=is_here)
        let_framework_log = quieten_framework_log()
        if is_here:
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
            max_memory=options["max_memory"] and options["max_memory"] * 1_000_000,
            grace=options["grace"],
            parent=int(parent) if parent else None,
        )
        Supervisor(plan, settings).run()


def _require_alias(alias: str) -> None:
    known = known_aliases()
    if alias not in known:
        raise WorkerCannotStart(
            f"--backend is {alias!r}, and TASKS has no such alias. It has:"
            f" {', '.join(map(repr, known)) or 'none'}."
        )


def _require_numbers(options: dict[str, Any]) -> None:
    for name, least in (("processes", 1), ("max_tasks", 1), ("max_memory", 1), ("grace", 0)):
        value = options[name]
        if value is not None and not least <= value < MOST:  # also NaN
            raise WorkerCannotStart(
                f"--{name.replace('_', '-')} is {value}; it must be at least {least} and less than"
                f" {MOST:,}."
            )


def _import_tasks(alias: str) -> None:
    """As ``registry.discover``; what a module raises is told in one line with its place."""
    for module in registry.task_modules([alias]):
        try:
            registry.load(module)
        except InvalidSettings:
            raise
        except Exception as error:
            kind = type(error).__name__
            text = " ".join(str(getattr(error, "msg", error)).split())
            raise WorkerCannotStart(
                f"The tasks in {module!r} can't be imported: {kind}: {text} ({_place_of(error)})"
            ) from error


def _place_of(error: Exception) -> str:
    """The file and line of a module, the innermost, that was imported when it was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if frame.name == "<module>"] or frames
    return f"{inner[-1].filename}, line {inner[-1].lineno}"


def _require_tables(*, is_here: bool) -> None:
    """Raises ``WorkerCannotStart`` for a database without our tables. One that is away may come
    back, and workers wait for it."""
    for database in record_databases():
        if not (_has_table(database) if is_here else _has_table_by_a_child(database)):
            raise WorkerCannotStart(
                f"The database {database!r} has no table {TaskRecord._meta.db_table!r}. Run:"
                f" python manage.py migrate --database {database}"
            )


def _has_table(database: str) -> bool:
    """Whether our table is there, as far as anybody answers."""
    try:
        tables = connections[database].introspection.table_names()
    except DatabaseError:
        return True
    return TaskRecord._meta.db_table in tables


def _has_table_by_a_child(database: str) -> bool:
    """The same without a connection of this process: what databases' libraries do (threads) is
    not to be there when it forks. Who does not answer in time is away."""
    let_go_of_databases()
    reading, writing = os.pipe()  # open for as long as the child lives
    child = fork(lambda: None if _has_table(database) else os._exit(NO_TABLE))
    os.close(writing)
    select.select([reading], [], [], PATIENCE)
    os.close(reading)
    kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != NO_TABLE


def _queues(options: dict[str, Any], alias: str) -> list[str]:
    """Those named; else `default` and every queue that a registered task names."""
    given = options["queues"] or ()  # from call_command also a list
    listed = given.split(",") if isinstance(given, str) else given
    named = [*options["names"], *(name.strip() for name in listed)]
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
    is_curable = False  # by an edit
    try:
        # What is watched is what is imported here, and files that can't be imported.
        autoreload.check_errors(registry.discover)([alias])
    except InvalidSettings:
        pass  # the supervisor says why
    except Exception:
        is_curable = True
    # Django's own way to say how this program was started (manage.py, -m django, an .exe).
    command = [one for one in autoreload.get_child_arguments() if one != "--reload"]
    environment = {**os.environ, _PARENT: str(os.getpid())}
    environment.pop(autoreload.DJANGO_AUTORELOAD_ENV, None)
    process = subprocess.Popen(command, env=environment)
    code = process.wait()
    if code == 0 or (code == CANNOT_START and not is_curable):
        os._exit(code)
    print("The worker starts again when a file changes.", file=sys.stderr)
