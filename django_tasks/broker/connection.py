"""The address of the broker → a client of our own: timeouts, no hidden repeats, no passwords shown.

redis-py's own retries are off everywhere: a script is repeated only where its header allows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings as django_settings
from hiredis import pack_command
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from django_tasks.broker import embedded
from django_tasks.conf import TaskSettings
from django_tasks.errors import BrokerUnusable

SCHEMES = ("redis", "rediss", "unix")
PRODUCER_TIMEOUT = 0.25  # seconds: an enqueue succeeds within milliseconds, broker or not
WORKER_TIMEOUT = 1.0  # seconds: far below any lease
MINIMUM = {"redis": (6, 2), "valkey": (7, 2)}


def open_client(
    settings: TaskSettings,
    *,
    timeout: float,
    greet: Callable[[Any], None] | None = None,
) -> Any:
    """A client of our own. ``timeout``: seconds per call; ``greet``: called with each new
    connection before anything else is sent on it. Raises ``BrokerUnusable`` for a wrong address.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # RESP3 gives other shapes
        "encoding_errors": "surrogatepass",
        "socket_keepalive": True,
    }
    if greet is not None:
        options["redis_connect_func"] = _greeting(greet)
    address = settings.broker
    if address.startswith("embedded://"):
        return _from_url(embedded.serve(Path(settings.embedded_folder)), options)
    if address in django_settings.CACHES:
        return _from_cache(address, options)
    if address.startswith("redis+sentinel://"):
        return _from_sentinel_url(address, options)
    return _from_url(address, options)


def _greeting(greet: Callable[[Any], None]) -> Callable[[Any], None]:
    def connect(connection: Any) -> None:
        connection.on_connect()
        greet(connection)

    return connect


def _from_url(url: str, options: dict[str, Any]) -> Any:
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in SCHEMES:
        raise BrokerUnusable(
            f"DJANGO_TASKS['BROKER'] is {redacted(url)!r}: neither an alias of CACHES"
            f" ({', '.join(django_settings.CACHES)}) nor a URL that begins with redis://,"
            " rediss://, unix://, redis+sentinel:// or embedded://."
        )
    if scheme == "unix":
        options = {name: value for name, value in options.items() if name != "socket_keepalive"}
    try:
        pool = ConnectionPool.from_url(url, **options)
    except (ValueError, TypeError):
        # What the parser says may show a part of the password.
        raise BrokerUnusable(
            f"DJANGO_TASKS['BROKER'] is {redacted(url)!r}, which can't be read. It must look like"
            " redis://user:secret@host:6379/0; in user and secret, / ? # @ and : are written"
            " percent-encoded (%2F %3F %23 %40 %3A)."
        ) from None
    try:
        pool.connection_class(**pool.connection_kwargs)  # opens nothing; knows every option
    except TypeError as error:
        raise BrokerUnusable(
            f"DJANGO_TASKS['BROKER'] is {redacted(url)!r}, with an option that no connection has:"
            f" {error}."
        ) from None
    return Redis(connection_pool=pool)


def _from_cache(alias: str, options: dict[str, Any]) -> Any:
    """The address, password, TLS and Sentinels of a cache. Its pool is not used: it is shared by
    URL, and a cache's timeouts do not suit us."""
    cache = django_settings.CACHES[alias]
    if "redis" not in str(cache.get("BACKEND", "")).lower():
        raise BrokerUnusable(
            f"DJANGO_TASKS['BROKER'] names the cache {alias!r}, whose BACKEND is"
            f" {cache.get('BACKEND')!r}. It must be 'django_redis.cache.RedisCache'."
        )
    location = cache.get("LOCATION") or ""
    url = location if isinstance(location, str) else location[0]
    cache_options = cache.get("OPTIONS") or {}
    given = dict(cache_options.get("CONNECTION_POOL_KWARGS") or {})
    for name in ("PASSWORD", "USERNAME"):
        if cache_options.get(name):
            given[name.lower()] = cache_options[name]
    given.update(options)  # ours last: its timeouts and retries are for a cache
    given.pop("max_connections", None)
    sentinels = cache_options.get("SENTINELS")
    if sentinels:
        parts = urlsplit(url)
        given["db"] = int(parts.path.strip("/") or 0)
        return _from_sentinels(
            list(sentinels), parts.hostname or "", given, cache_options.get("SENTINEL_KWARGS")
        )
    return _from_url(url.split(",")[0], given)


def _from_sentinel_url(url: str, options: dict[str, Any]) -> Any:
    """redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]"""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    try:
        sentinels = [
            (host.partition(":")[0], int(host.partition(":")[2] or 26379))
            for host in hosts.split(",")
        ]
        options = {**options, "db": int(db or 0)}
    except ValueError as error:
        raise BrokerUnusable(
            f"DJANGO_TASKS['BROKER'] is {redacted(url)!r}; it must look like"
            " redis+sentinel://host:26379,host:26379/service/0."
        ) from error
    if credentials:
        user, _, password = credentials.partition(":")
        options.update(username=unquote(user) or None, password=unquote(password) or None)
    return _from_sentinels(sentinels, service, options, None)


def _from_sentinels(
    sentinels: list[tuple[str, int]],
    service: str,
    options: dict[str, Any],
    sentinel_options: dict[str, Any] | None,
) -> Any:
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    make: Any = Sentinel
    finder = make(sentinels, sentinel_kwargs={**timeouts, **(sentinel_options or {})})
    return finder.master_for(service, **options)


class Wire:
    """The connections of a client, each lent to one call at a time.

    What redis-py's pool and pipeline do for each call (counters, events, retries, callbacks) costs
    more than a short task: a connection is taken from the pool once and stays here."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._free: list[Any] = []
        self._pid = os.getpid()

    def send(self, commands: Sequence[Sequence[Any]]) -> Callable[[], list[Any]]:
        """Send commands in one write; what is returned reads what the server answers, an answer or
        a ``ResponseError`` each. Both raise ``RedisError`` or ``OSError`` if the connection is
        lost."""
        connection = self._take()

        def give_up() -> None:
            # Also after a signal's exception: the answers left would be taken for others'.
            connection.disconnect()
            self._free.append(connection)

        try:
            connection.send_packed_command([_packed(commands)], check_health=False)
        except BaseException:
            give_up()
            raise

        def read() -> list[Any]:
            answers: list[Any] = []
            try:
                for _ in commands:
                    try:
                        answers.append(connection.read_response())
                    except ResponseError as error:
                        answers.append(error)
            except BaseException:
                give_up()
                raise
            self._free.append(connection)
            return answers

        return read

    def close(self) -> None:
        """The next call opens new ones."""
        self._free = []
        self.client.close()
        self.client.connection_pool.disconnect()
        self.client.connection_pool.reset()

    def _take(self) -> Any:
        if self._pid != os.getpid():  # those are our parent's
            self._free, self._pid = [], os.getpid()
        try:
            connection = self._free.pop()
        except IndexError:
            return self.client.connection_pool.get_connection()
        try:
            if not connection.can_read():
                return connection
        except (RedisError, OSError):
            pass
        # It was closed, or an answer is left that nobody reads.
        try:
            connection.disconnect()
            connection.connect()
        except BaseException:
            self._free.append(connection)
            raise
        return connection


def _packed(commands: Sequence[Sequence[Any]]) -> bytes:
    """As the server reads them; by hiredis itself, without what redis-py does for each argument."""
    return b"".join([pack_command(tuple(command)) for command in commands])


def redacted(url: str) -> str:
    """The address without its password, for logs and errors, however badly it is written: nothing
    before the last @ is shown but the scheme, and no option whose name ends in "password"."""
    scheme, parted, rest = url.rpartition("://") if "://" in url else ("", "", url)
    _, has_credentials, host = rest.rpartition("@")
    shown = f"{scheme}{parted}***@{host}" if has_credentials else url
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", shown)


def check_address(settings: TaskSettings) -> None:
    """Raises ``BrokerUnusable`` for an address that no server can be asked at; opens nothing."""
    if not settings.broker.startswith("embedded://"):
        open_client(settings, timeout=PRODUCER_TIMEOUT).close()


def server_version(client: Any) -> str:
    """``"Valkey 9.1.2"``. Raises ``BrokerUnusable`` if the server is older than we can use."""
    try:
        facts = client.info("server")
    except RedisError:
        return "unknown server"  # some ACLs forbid INFO
    name = "valkey" if "valkey_version" in facts else "redis"
    version = str(facts.get(f"{name}_version", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < MINIMUM[name]:
        least = ".".join(map(str, MINIMUM[name]))
        raise BrokerUnusable(
            f"The broker is {name.capitalize()} {version}; at least {least} is needed."
        )
    return f"{name.capitalize()} {version}"
