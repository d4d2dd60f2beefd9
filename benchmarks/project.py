"""The benchmark's Django project: its databases, its keys in the server, its workers."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.server import Server
from benchmarks.waiting import running, wait_until

if TYPE_CHECKING:
    from django_tasks.broker import Broker

ROOT = Path(__file__).resolve().parent.parent
QUEUE = "default"
CHUNK = 1_000  # calls in one enqueue_many
PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class Worker:
    """Pids of one ``runworker``, by role."""

    supervisor: int
    children: list[int]
    keeper: list[int]

    def all(self) -> list[int]:
        return [self.supervisor, *self.children, *self.keeper]


class Project:
    """Use after ``prepare``. ``postgres``: whether rows go to PostgreSQL (else SQLite)."""

    def __init__(self, server: Server, folder: Path, given: dict[str, Any]) -> None:
        self.server = server
        self.folder = folder
        self.given = given
        self.postgres = bool(given["postgres"])
        self.broker: Broker = None  # type: ignore[assignment]
        self.fresh()

    def fresh(self) -> None:
        """An empty server, an empty table, and key names that nobody used before."""
        from django.conf import settings
        from django.core.signals import setting_changed

        from django_tasks.broker import Broker
        from django_tasks.conf import task_settings
        from django_tasks.models import TaskAttempt, TaskDependency, TaskRecord, Workflow

        self.given["prefix"] = f"b{uuid.uuid4().hex[:8]}"
        chosen = {**settings.DJANGO_TASKS, "PREFIX": self.given["prefix"]}
        settings.DJANGO_TASKS = chosen
        setting_changed.send(sender=type(self), setting="DJANGO_TASKS", value=chosen, enter=True)
        self.server.flush()
        if self.broker is not None:
            self.broker.close()
        self.broker = Broker(task_settings())
        # As on a site whose workers have run before: an era has begun, and no push asks for it.
        self.broker.beat([QUEUE], [], is_first=True)
        assert self.server.client.hget(self.broker.keys(QUEUE).meta, "era")
        for model in (TaskDependency, Workflow, TaskAttempt, TaskRecord):
            self._empty(model._meta.db_table)

    def _empty(self, table: str) -> None:
        from django.db import connections

        for name in ("default", "sqlite"):
            connection = connections[name]
            is_postgres = connection.vendor == "postgresql"
            with connection.cursor() as cursor:
                cursor.execute(f"{'TRUNCATE' if is_postgres else 'DELETE FROM'} {table}")

    # -- calls ------------------------------------------------------------------------------------

    def enqueue(self, task: Any, count: int, *args: Any) -> None:
        """``count`` calls; complains if the broker did not get them all."""
        from django_tasks import enqueue_many
        from django_tasks.broker import get_broker

        before = self.left()
        for start in range(0, count, CHUNK):
            enqueue_many([task.s(*args) for _ in range(min(CHUNK, count - start))])
        get_broker().settle()
        arrived = self.left() - before
        assert arrived == count, f"{arrived} of {count} calls arrived: is the machine too busy?"

    def push(self, count: int, queue: str = QUEUE) -> None:
        """As ``enqueue`` of the no-op with ``record="never"``, without what a call costs."""
        from django.utils import timezone

        from django_tasks.broker.message import Message
        from django_tasks.models.record import new_id

        for start in range(0, count, 500):
            now = timezone.now()
            self.broker.push(
                queue,
                [
                    Message(
                        id=str(new_id()),
                        task="benchmarks.tasks.never",
                        queue=queue,
                        record="never",
                        database="",
                        max_attempts=4,
                        enqueued_at=now,
                        description="never()",
                    )
                    for _ in range(min(500, count - start))
                ],
            )

    # -- the queue --------------------------------------------------------------------------------

    def hold(self) -> None:
        """Workers claim nothing until ``release``."""
        self.server.client.hset(self.broker.keys(QUEUE).meta, "paused", "1")

    def release(self) -> None:
        keys = self.broker.keys(QUEUE)
        pipeline = self.server.client.pipeline(transaction=False)
        pipeline.hdel(keys.meta, "paused").rpush(keys.wake, "1").execute()

    def left(self) -> int:
        """Messages that are not finished."""
        backlog = self.broker.backlog(QUEUE)
        return backlog["ready"] + backlog["unacked"] + backlog["scheduled"]

    def dirty(self) -> int:
        """Messages that their rows do not say yet."""
        return self.broker.backlog(QUEUE, ["default"])["dirty"]

    def succeeded(self) -> int:
        """Tasks that ended well since ``fresh``."""
        keys = self.server.client.keys(f"{self.broker.keys(QUEUE).root}:count:*")
        return sum(int(self.server.client.hget(key, "succeeded") or 0) for key in keys)

    def wait_finished(self) -> None:
        wait_until(lambda: not self.left(), PATIENCE, "everything is finished")

    def wait_clean(self) -> None:
        wait_until(lambda: not self.dirty(), PATIENCE, "every row says what its message says")

    # -- workers and databases --------------------------------------------------------------------

    @contextlib.contextmanager
    def worker(self, processes: int, verbosity: int = 0) -> Iterator[Worker]:
        """A ``runworker``, once all its children have registered. ``verbosity`` 0: it logs what
        goes wrong, as the peers do; 1, its default: a line per task too."""
        command = [sys.executable, "-m", "django", "runworker", QUEUE]
        environment = {"UNCUT_BENCH": json.dumps(self.given)}
        log = self.folder / "worker.log"
        options = ["--processes", str(processes), "--verbosity", str(verbosity)]
        with running([*command, *options], log, environment, ROOT) as supervisor:

            def consumers() -> list[int]:
                assert supervisor.poll() is None, f"the worker ended; see {log}"
                found = self._consumers()
                return found if len(found) == processes else []

            children = wait_until(consumers, 30, f"{processes} children claim; see {log}")
            others = set(machine.children_of(supervisor.pid)) - set(children)
            yield Worker(supervisor.pid, children, sorted(others))

    def _consumers(self) -> list[int]:
        index = self.broker.shared.index
        client = self.server.client
        described = [
            client.hget(f"{index}:worker:{name.decode()}", "children")
            for name in client.smembers(f"{index}:workers")
        ]
        return [pid for text in described if text for pid in json.loads(text).values()]

    def database_pids(self) -> list[int]:
        """The database's processes that work for us, if they run on this machine."""
        if not self.postgres:
            return []
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
            pids = [pid for (pid,) in cursor.fetchall()]
        return [pid for pid in pids if "postgres" in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@contextlib.contextmanager
def prepare(server: Server, folder: Path, *, wants_postgres: bool = True) -> Iterator[Project]:
    """Set up Django and the databases; they are gone with the block."""
    name = f"uncut_bench_{os.getpid()}"
    postgres = _create_postgres(name) if wants_postgres else None
    given = {
        "postgres": postgres,
        "folder": str(folder),
        "name": name,
        "broker": server.url,
        "prefix": "bench",
    }
    os.environ["UNCUT_BENCH"] = json.dumps(given)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django
    from django.core.management import call_command
    from django.db import connections

    from django_tasks.broker import connection

    django.setup()
    # A caller gives up after a quarter of a second; a busy machine must not lose what is counted.
    connection.PRODUCER_TIMEOUT = 10.0
    try:
        for alias in ("default", "sqlite"):
            call_command("migrate", database=alias, verbosity=0)
        yield Project(server, folder, given)
    finally:
        connections.close_all()
        for path in folder.glob(f"{name}*"):
            path.unlink()
        if postgres:
            _drop_postgres(name)


def _create_postgres(name: str) -> dict[str, str] | None:
    """A database of our own on PostgreSQL; None if none lets us in."""
    try:
        _execute(f"CREATE DATABASE {name}")
    except Exception as error:
        print(f"skipped PostgreSQL: {str(error).strip().splitlines()[0]}")
        return None
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, **_address()}


def _address() -> dict[str, str]:
    return {
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
    }


def _drop_postgres(name: str) -> None:
    _execute(f"DROP DATABASE {name} WITH (FORCE)")


def _execute(statement: str) -> None:
    import psycopg

    address = {name.lower(): value for name, value in _address().items()}
    with psycopg.connect(
        dbname="postgres", autocommit=True, connect_timeout=2, **address
    ) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
