"""The two middlewares that come along: language and time zone travel with a call; where it came
from is noted. And the request middleware by which calls know their view.

Whatever is as usual adds nothing and costs next to nothing: that is most calls."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone, translation
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import trans_real

from django_tasks.conf import task_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Running(Protocol):
    """A run, as a middleware's ``execute`` sees it."""

    task: Any
    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]

    @property
    def id(self) -> str: ...
    @property
    def attempt(self) -> int: ...


# The run and the request that the present code belongs to; also in the threads and coroutines that
# asgiref and asyncio make of it.
running: ContextVar[Running | None] = ContextVar("django_tasks.running", default=None)
_request: ContextVar[Any] = ContextVar("django_tasks.request", default=None)

# Commands that serve others: what is enqueued in them comes from a request, a task or a test.
SERVING = frozenset(
    "runserver runserver_plus runworker runmodwsgi rungunicorn runuvicorn test testserver".split()
)
_REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z0-9@_-]{1,50}")
MAX_TEXT = 200  # characters of a view's or a user's name


# -- language and time zone -------------------------------------------------------------------


def _storage_of(local: Any) -> Callable[[Any], Any]:
    """What reads the ContextVar in Django's (asgiref's) Local, which by itself raises where nothing
    is set, at the price of a fifth of an enqueue. Where it is made in another way than the ones we
    know: what says that something may be set."""
    found = getattr(getattr(local, "_storage", None), "_data", None)
    if isinstance(found, ContextVar):
        return found.get
    if isinstance(found, dict):  # asgiref 3.8: one for each name
        return lambda otherwise: found["value"].get(None) if "value" in found else None
    return lambda otherwise: local


_language_storage = _storage_of(getattr(trans_real, "_active", None))
_time_zone_storage = _storage_of(getattr(timezone, "_active", None))


def _is_set(storage: Any) -> bool:
    """Once something was set, there is a storage; it may be an empty one."""
    return storage is not None and getattr(storage, "data", True) != {}


class LanguageAndTimeZone:
    """The language and the time zone that are active at the enqueue are so while the task runs:
    headers ``language`` and ``time_zone``, where they are not the project's own."""

    def headers(self, call: Any) -> Mapping[str, Any] | None:
        """What differs from ``LANGUAGE_CODE`` and ``TIME_ZONE``."""
        spoken, zoned = _language_storage(None), _time_zone_storage(None)
        if spoken is None and zoned is None:
            return None
        found: dict[str, Any] = {}
        if _is_set(spoken):
            language = translation.get_language()
            if language and language != settings.LANGUAGE_CODE:
                found["language"] = language
        if _is_set(zoned):
            zone = _name_of(timezone.get_current_timezone())
            if zone is not None and zone != settings.TIME_ZONE:
                found["time_zone"] = zone
        return found

    def applies(self, run: Running) -> bool:
        """Also where something is active: an earlier run may have left it."""
        spoken, zoned = _language_storage(None), _time_zone_storage(None)
        if spoken is None and zoned is None and not run.headers:
            return False
        return bool(run.headers) or _is_set(spoken) or _is_set(zoned)

    def execute(self, run: Running, proceed: Callable[[], Any]) -> Any:
        """Around the body; of a coroutine too, which is given this context."""
        language = run.headers.get("language") or settings.LANGUAGE_CODE
        zone = run.headers.get("time_zone", settings.TIME_ZONE)
        if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
            raise ValueError(f"The header 'language' is {language!r:.100}, which is no language.")
        if isinstance(zone, int) and not isinstance(zone, bool):
            zone = timezone.get_fixed_timezone(zone)
        with _language_of(language), timezone.override(zone):
            return proceed()


@contextmanager
def _language_of(language: str) -> Iterator[None]:
    """``translation.override``, which would leave the project's language active where none was."""
    was_unset = not _is_set(_language_storage(None))
    with translation.override(language):
        try:
            yield
        finally:
            if was_unset:
                translation.deactivate()


def _name_of(zone: Any) -> str | int | None:
    """The name of a time zone, or the minutes of a fixed offset; None for one that has neither."""
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    offset = zone.utcoffset(None)
    return None if offset is None else round(offset.total_seconds() / 60)


# -- where a call came from -------------------------------------------------------------------


class Provenance:
    """Who and what enqueued a call: ``parent``, or ``view``, ``request_id`` and ``user``, or
    ``command``. What a task enqueues bears the request id and the user of the task."""

    def __init__(self) -> None:
        command = command_of(sys.argv)  # known from the first enqueue of the process on
        self._otherwise = {"command": command} if command else None

    def headers(self, call: Any) -> Mapping[str, Any] | None:
        """The first that is known of: the task that runs, the request, the command."""
        run = running.get()
        if run is not None:
            handed_on: dict[str, Any] = {
                name: run.headers[name] for name in ("request_id", "user") if name in run.headers
            }
            return {"parent": run.id, **handed_on}
        request = _request.get()
        if request is not None:
            return _of_request(request, task_settings(call.task.backend).provenance_user)
        return self._otherwise


def _of_request(request: Any, with_user: bool) -> dict[str, Any]:
    found = {}
    match = getattr(request, "resolver_match", None)
    if match is not None and match.view_name:
        found["view"] = match.view_name[:MAX_TEXT]
    request_id = request.headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(request_id):
        found["request_id"] = request_id
    if with_user:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            found["user"] = str(user.pk)[:MAX_TEXT]
    return found


def command_of(argv: list[str]) -> str:
    """The management command of a command line, ``close_day`` of ``manage.py close_day``; "" for
    none, and for one that serves others."""
    program = os.path.basename(argv[0]) if argv else ""
    if program == "__main__.py":  # python -m django
        program = os.path.basename(os.path.dirname(argv[0]))
    if program not in ("manage.py", "django-admin", "django-admin.py", "django"):
        return ""
    name = argv[1] if len(argv) > 1 else ""
    return "" if name.startswith("-") or name in SERVING else name[:MAX_TEXT]


@sync_and_async_middleware
def request_middleware(get_response: Any) -> Any:
    """For ``MIDDLEWARE`` of the project, near its top: what is enqueued in a request notes the
    view's name, the header X-Request-ID, and, with ``PROVENANCE_USER``, the user's key."""

    async def awaited(request: Any) -> Any:
        token = _request.set(request)
        try:
            return await get_response(request)
        finally:
            _request.reset(token)

    def called(request: Any) -> Any:
        token = _request.set(request)
        try:
            return get_response(request)
        finally:
            _request.reset(token)

    return awaited if iscoroutinefunction(get_response) else called
