"""A project with real workers: started, watched and killed by tests, gone afterwards.

A worker is ``python -m django runworker …`` in a process group of its own. Its tasks write what
they do into a journal, a file; so a test waits for events and never for time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
TASKS = "tests.worker.live_tasks"
NAMES = ("live_tasks", "batch_tasks", "cancel_tasks", "progress_tasks")
MODULES = [f"tests.worker.{name}" for name in NAMES]
WAIT = 20.0  # seconds: a machine that is busy with other things must not fail a test


@dataclass(frozen=True)
class Line:
    """One line of the journal. ``at``: seconds since 1970."""

    at: float
    pid: int
    words: str


class Worker:
    """One ``runworker`` subprocess. ``log``: what it wrote to stdout and stderr."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", "runworker", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self._seen = {self.pid}

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def lines(self, *parts: str) -> list[str]:
        """Lines of the log that hold every one of ``parts``."""
        return [line for line in self.log.splitlines() if all(part in line for part in parts)]

    def wait_for_line(self, *parts: str, timeout: float = WAIT) -> list[str]:
        return wait_until(lambda: self.lines(*parts), timeout, f"{parts} in:\n{self.log}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """As a terminal or a container does: supervisor, children and keeper at once."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def ended(self, timeout: float = WAIT) -> int:
        """The exit code, once it ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"The worker still runs after {timeout:g} s:\n{self.log}"
            ) from None

    def is_running(self) -> bool:
        return self.process.poll() is None

    def group(self) -> set[int]:
        """Every living process of its group."""
        return {pid for pid, (_, group) in processes().items() if group == self.pid}

    def stop(self) -> None:
        """Leave nothing behind."""
        self.kill_group()
        self.process.wait()
        wait_until(lambda: not self.group(), message="the worker's processes are gone")


@dataclass
class Site:
    """A project: broker, prefix and database, and the workers that serve it."""

    folder: Path
    broker_url: str
    tasks: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)  # further aliases of DATABASES
    workers: list[Worker] = field(default_factory=list)
    path: str = ""  # a folder to import from

    def __post_init__(self) -> None:
        given = {"BROKER": self.broker_url, "PREFIX": f"w{uuid.uuid4().hex[:12]}"}
        self.tasks = {**given, "MODULES": MODULES, **self.tasks}
        self.journal.touch()
        self.broker = Broker(
            TaskSettings(broker=self.broker_url, prefix=self.tasks["PREFIX"], lease=10.0)
        )

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def database_name(self) -> str:
        return str(self.database.get("NAME", connection.settings_dict["NAME"]))

    def environment(self) -> dict[str, str]:
        chosen = {
            "tasks": self.tasks,
            "settings": self.settings,
            "database": {**self.database, "NAME": self.database_name()},
            "others": self.others,
        }
        kept = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        return {
            **kept,
            "DJANGO_SETTINGS_MODULE": "tests.worker.live_settings",
            **({"PYTHONPATH": self.path} if self.path else {}),
            "UNCUT_LIVE": json.dumps(chosen, default=str),
            "UNCUT_LIVE_FOLDER": str(self.folder),
            # What Python warns of (a fork beside threads, a coroutine never awaited) is in the log.
            "PYTHONWARNINGS": "default",
        }

    def launch(self, *arguments: str) -> Worker:
        """A worker, perhaps one that can't start."""
        log = self.folder / f"log-{len(self.workers)}"
        worker = Worker(arguments, self.environment(), log)
        self.workers.append(worker)
        return worker

    def start(self, *arguments: str) -> Worker:
        """A worker, once its children can claim."""
        before = set(self.consumers())
        worker = self.launch(*arguments)
        wait_until(
            lambda: not worker.is_running() or set(self.consumers()) - before,
            WAIT,
            "the worker describes itself",
        )
        return worker

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.broker.close()

    # -- what the broker knows of the workers ----------------------------------------------------

    def descriptions(self) -> list[dict[str, str]]:
        client = self.broker.client
        index = self.broker.shared.index
        found = []
        for name in client.smembers(f"{index}:workers"):
            raw = client.hgetall(f"{index}:worker:{name.decode()}")
            if raw:
                found.append({one.decode(): text.decode() for one, text in raw.items()})
        return found

    def consumers(self) -> dict[str, int]:
        """consumer → pid, of every worker."""
        return {
            consumer: pid
            for one in self.descriptions()
            for consumer, pid in json.loads(one.get("children", "{}")).items()
        }

    def keeper(self, worker: Worker) -> int | None:
        """The pid of a worker's keeper: that child which is no consumer."""
        children = {pid for pid, (parent, _) in processes().items() if parent == worker.pid}
        others = children - set(self.consumers().values())
        return others.pop() if len(others) == 1 and len(children) > 1 else None

    def count(self, name: str, queue: str = "default") -> int:
        """One of the per-minute counters, summed."""
        client = self.broker.client
        root = self.broker.keys(queue).root
        return sum(int(client.hget(key, name) or 0) for key in client.keys(f"{root}:count:*"))

    # -- what happened ---------------------------------------------------------------------------

    def told(self, words: str) -> list[Line]:
        """The lines of the journal that say exactly this."""
        return [line for line in self.told_of(words) if line.words == words]

    def told_of(self, start: str) -> list[Line]:
        """The lines of the journal that begin so."""
        lines = (line.split(" ", 2) for line in self.journal.read_text().splitlines())
        return [
            Line(float(at), int(pid), text) for at, pid, text in lines if text.startswith(start)
        ]

    def wait_for(self, words: str, times: int = 1, timeout: float = WAIT) -> list[Line]:
        """The lines that say ``words``, once there are ``times`` of them."""

        def enough() -> list[Line]:
            lines = self.told(words)
            return lines if len(lines) >= times else []

        return wait_until(enough, timeout, f"{words!r} {times} times in the journal")

    def let_go(self, key: str) -> None:
        """Let the task ``hold(key)`` end."""
        (self.folder / f"go-{key}").touch()

    def record(self, result: Any, status: str = "", timeout: float = WAIT) -> TaskRecord:
        """The record, once its row says ``status`` (else: once it is final)."""
        wanted = {status} if status else FINAL
        database = getattr(result, "database", "default")
        rows = TaskRecord.objects.using(database).filter(id=result.id)
        try:
            wait_until(rows.filter(status__in=wanted).exists, timeout)
        except AssertionError:
            states = list(rows.values_list("status", flat=True))
            logs = "\n".join(worker.log for worker in self.workers)
            raise AssertionError(
                f"not {wanted} within {timeout:g} s but {states}:\n{logs}"
            ) from None
        return rows.get()

    def value(self, result: Any) -> Any:
        """What the call returned. Raises ``TaskFailed``."""
        return result.get(timeout=WAIT)

    def attempts(self, record: TaskRecord) -> list[str]:
        """The outcomes of its runs, in order."""
        return list(record.attempts.order_by("fence").values_list("outcome", flat=True))


def processes() -> Mapping[int, tuple[int, int]]:
    """pid → (parent, process group) of every process here that is not a zombie."""
    if not Path("/proc/self/stat").exists():
        return _processes_by_ps()
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if state != "Z":
            found[int(stat.parent.name)] = (int(parent), int(group))
    return found


def _processes_by_ps() -> Mapping[int, tuple[int, int]]:
    shown = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = re.findall(r"(\d+)\s+(\d+)\s+(\d+)\s+(\S+)", shown.stdout)
    return {
        int(pid): (int(parent), int(group))
        for pid, parent, group, state in rows
        if not state.startswith("Z")
    }
