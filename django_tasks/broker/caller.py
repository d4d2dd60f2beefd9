"""The broker's plumbing: a client of its own, opened when needed, that greets each new connection.

broker.py has what is said over it: a method for each script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from django_tasks.broker import connection, embedded, scripts
from django_tasks.broker.keys import QueueKeys, SharedKeys
from django_tasks.broker.scripts import Argument
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable


@dataclass(slots=True)
class Caller:
    """Calls scripts and commands. ``greets``: who is named in the first call of a connection."""

    settings: TaskSettings
    timeout: float = connection.WORKER_TIMEOUT
    greets: Callable[[], Iterable[tuple[str, str]]] | None = None  # (queue, consumer) pairs
    load: Callable[[str], scripts.Script] = scripts.load
    _client: Any = field(default=None, repr=False)
    _announced: set[str] = field(default_factory=set, repr=False)
    _keys: dict[str, QueueKeys] = field(default_factory=dict, repr=False)

    @property
    def client(self) -> Any:
        if self._client is None:
            greet = self._greet if self.greets else None
            self._client = connection.open_client(self.settings, timeout=self.timeout, greet=greet)
        return self._client

    @property
    def shared(self) -> SharedKeys:
        return SharedKeys(self.settings.prefix)

    def keys(self, queue: str) -> QueueKeys:
        """The key names of one queue."""
        keys = self._keys.get(queue)
        if keys is None:
            keys = self._keys[queue] = QueueKeys(self.settings.prefix, queue)
        return keys

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client.connection_pool.disconnect()

    def revive(self) -> None:
        """After ``BrokerUnavailable``: if the server is our embedded one, see that it runs."""
        if self.settings.broker.startswith("embedded://"):
            embedded.revive(Path(self.settings.embedded_folder))

    def _greet(self, redis_connection: Any) -> None:
        # The first call of every connection tells an era from the next (law 6); EVAL, since the
        # server may be a new one that knows no digest.
        text = self.load("beat").text
        for queue, consumer in self.greets() if self.greets else ():
            arguments = self._beat_arguments([consumer], False, True, False)
            root = self.keys(queue).root
            redis_connection.send_command("EVAL", text, 1, root, *arguments)
            redis_connection.read_response()

    def _beat_arguments(
        self, consumers: Sequence[str], register: bool, is_first: bool, is_stopping: bool
    ) -> list[Argument]:
        return [
            round(self.settings.lease * 1_000_000),
            "1" if is_first else "0",
            "register" if register else "beat",
            "1" if is_stopping else "0",
            *consumers,
        ]

    def _call(self, name: str, queue: str, *arguments: Argument) -> Any:
        return self._run(name, self.keys(queue).root, arguments)

    def _run(self, name: str, root: str, arguments: Sequence[Argument]) -> Any:
        try:
            [answer] = scripts.begin_all(self.client, [(self.load(name), root, arguments)])()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        if isinstance(answer, Exception):
            raise self._unavailable(answer) from answer
        return answer

    def _call_all(self, calls: Sequence[tuple[str, str, Sequence[Argument]]]) -> list[Any]:
        return self._begin_all(calls)()

    def _begin_all(
        self, calls: Sequence[tuple[str, str, Sequence[Argument]]]
    ) -> Callable[[], list[Any]]:
        """Sent now; what is returned reads the answers."""
        loaded = [
            (self.load(name), self.keys(queue).root, arguments) for name, queue, arguments in calls
        ]
        try:
            finish = scripts.begin_all(self.client, loaded)
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

        def read() -> list[Any]:
            try:
                answers = finish()
            except (RedisError, OSError) as error:
                raise self._unavailable(error) from error
            for answer in answers:
                if isinstance(answer, Exception):
                    raise self._unavailable(answer) from answer
            return answers

        return read

    def _execute(self, *command: Argument) -> Any:
        [answer] = self._pipeline([command])
        if isinstance(answer, Exception):
            raise self._unavailable(answer) from answer
        return answer

    def _pipeline(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        if not commands:
            return []
        try:
            return connection.send(self.client, commands)()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        address = connection.redacted(self.settings.broker)
        return BrokerUnavailable(f"The broker at {address} does not serve: {str(error)[:300]}")
