"""The broker's plumbing: a client of its own, opened when needed, that greets each new connection.

broker.py has what is said over it: a method for each script."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from django_tasks.broker import connection, embedded, scripts
from django_tasks.broker.keys import QueueKeys, SharedKeys
from django_tasks.broker.scripts import Argument
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnavailable

Unread = tuple[int, Callable[[], list[Any]], Callable[[BrokerUnavailable], None]]


@dataclass(slots=True)
class Caller:
    """Calls scripts and commands. ``greets``: who is named in the first call of a connection;
    ``preloads``: scripts that the server of each connection is made to know."""

    settings: TaskSettings
    timeout: float = connection.WORKER_TIMEOUT
    greets: Callable[[], Iterable[tuple[str, str]]] | None = None  # (queue, consumer) pairs
    preloads: Sequence[str] = ()
    load: Callable[[str], scripts.Script] = scripts.load
    _wire: connection.Wire | None = field(default=None, repr=False)
    _announced: set[str] = field(default_factory=set, repr=False)
    _keys: dict[str, QueueKeys] = field(default_factory=dict, repr=False)
    _seen: tuple[set[str], set[str]] = field(default=(set(), set()), repr=False)  # by overview()
    # Who sent it (a process), how to read the answer, who is told what failed.
    _unread: deque[Unread] = field(default_factory=deque, repr=False)

    @property
    def wire(self) -> connection.Wire:
        if self._wire is None:
            greet = self._greet if self.greets or self.preloads else None
            client = connection.open_client(self.settings, timeout=self.timeout, greet=greet)
            self._wire = connection.Wire(client)
        return self._wire

    @property
    def client(self) -> Any:
        """redis-py's, for what no method here asks."""
        return self.wire.client

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
        self._unread.clear()
        if self._wire is not None:
            self._wire.close()

    def revive(self) -> None:
        """After ``BrokerUnavailable``: if the server is our embedded one, see that it runs."""
        if self.settings.broker.startswith("embedded://"):
            embedded.revive(Path(self.settings.embedded_folder))

    def _greet(self, redis_connection: Any) -> None:
        # The first call of every connection tells an era from the next (law 6); EVAL, since the
        # server may be a new one that knows no digest.
        for queue, consumer in self.greets() if self.greets else ():
            text = self.load("beat").text
            arguments = self._beat_arguments([consumer], False, True, False)
            root = self.keys(queue).root
            redis_connection.send_command("EVAL", text, 1, root, *arguments)
            redis_connection.read_response()
        for name in self.preloads:
            try:
                redis_connection.send_command("SCRIPT", "LOAD", self.load(name).text)
                redis_connection.read_response()
            except ResponseError:
                pass  # some ACLs forbid it; then the first call sends it whole

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
        self.settle()
        try:
            [answer] = scripts.begin_all(self.wire, [(self.load(name), root, arguments)])()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error
        if isinstance(answer, Exception):
            raise self._unavailable(answer) from answer
        return answer

    def _post(
        self,
        calls: Sequence[tuple[str, str, Sequence[Argument]]],
        tell: Callable[[BrokerUnavailable], None],
    ) -> None:
        """Sent now, and nobody waits for the answer: it is read before the next call, so that one
        follows the other on the same connection. ``tell`` hears then what failed."""
        self._unread.append((os.getpid(), self._begin_all(calls), tell))

    def settle(self) -> None:
        """Read what nobody waited for."""
        while self._unread:
            try:
                pid, read, tell = self._unread.popleft()
            except IndexError:  # another thread was faster
                return
            if pid != os.getpid():
                continue  # our parent's, who reads it
            try:
                read()
            except BrokerUnavailable as error:
                tell(error)

    def _call_all(self, calls: Sequence[tuple[str, str, Sequence[Argument]]]) -> list[Any]:
        return self._begin_all(calls)()

    def _begin_all(
        self, calls: Sequence[tuple[str, str, Sequence[Argument]]]
    ) -> Callable[[], list[Any]]:
        """Sent now; what is returned reads the answers."""
        self.settle()
        loaded = [
            (self.load(name), self.keys(queue).root, arguments) for name, queue, arguments in calls
        ]
        try:
            finish = scripts.begin_all(self.wire, loaded)
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

    def _pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        if not commands:
            return []
        self.settle()
        try:
            return self.wire.send(commands)()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        address = connection.redacted(self.settings.broker)
        return BrokerUnavailable(f"The broker at {address} does not serve: {str(error)[:300]}")
