"""Middleware: users' code around each enqueue and each run, and the headers that it adds.

A class of any of three methods: ``headers(call)``, ``enqueue(call, proceed)``,
``execute(run, proceed)``, the last two plain or ``async def`` (docs/middleware.md). The setting
``MIDDLEWARE`` lists them, the outermost first; each is made once per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.utils.module_loading import import_string

from django_tasks.broker.message import to_json
from django_tasks.calls.arguments import to_json_types
from django_tasks.errors import InvalidSettings, MiddlewareError

Hook = Callable[..., Any]
Made = TypeVar("Made")

MAX_HEADERS = 8_000  # bytes of their JSON
HOOKS = ("headers", "enqueue", "execute")
PARENT = "parent"  # the header that says which record's run made the call; a column of its row


@dataclass(slots=True)
class Call:
    """What ``enqueue`` is given: a call on its way to its record. ``args`` and ``kwargs`` as they
    were passed, not yet checked; ``headers``: what travels beside them, to be added to."""

    task: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the middlewares of one setting do, hook by hook, the outermost first; of ``executes``
    the innermost, and with each the question that spares it, or None."""

    adders: tuple[Hook, ...] = ()
    enqueues: tuple[Hook, ...] = ()
    executes: tuple[tuple[Hook | None, Hook], ...] = ()


@lru_cache(maxsize=64)
def plan_of(paths: tuple[str, ...]) -> Plan:
    """The middlewares with these dotted paths. Raises ``InvalidSettings``."""
    made = [_made(path) for path in paths]
    return Plan(
        adders=tuple(one.headers for one in made if hasattr(one, "headers")),
        enqueues=tuple(_plain(one.enqueue) for one in made if hasattr(one, "enqueue")),
        executes=tuple(
            (getattr(one, "applies", None), _plain(one.execute))
            for one in reversed(made)
            if hasattr(one, "execute")
        ),
    )


def _made(path: str) -> Any:
    where = f"DJANGO_TASKS['MIDDLEWARE'] names {path!r}, "
    try:
        made = import_string(path)()
    except ImportError as error:
        raise InvalidSettings(
            f"{where}which can't be imported ({error}). Write the dotted path of a class, like"
            " 'shop.middleware.Tenant'."
        ) from error
    except Exception as error:
        raise InvalidSettings(
            f"{where}which can't be made: {type(error).__name__}: {error}. It must be a class that"
            " takes no arguments."
        ) from error
    if not any(callable(getattr(made, name, None)) for name in HOOKS):
        raise InvalidSettings(
            f"{where}which has none of the methods headers(call), enqueue(call, proceed) and"
            " execute(run, proceed). Django's own middlewares belong into MIDDLEWARE of the"
            " settings, not of DJANGO_TASKS."
        )
    if iscoroutinefunction(getattr(made, "headers", None)):
        raise InvalidSettings(
            f"{where}whose headers() is a coroutine function. Write it plainly, or write `async def"
            " enqueue(call, proceed)` and add to call.headers there."
        )
    return made


def _plain(hook: Hook) -> Hook:
    """A hook that may be called: an ``async def`` is awaited, and what it awaits in turn runs
    where it would have run without it."""
    if not iscoroutinefunction(hook):
        return hook
    awaited = async_to_sync(hook)
    return lambda subject, proceed: awaited(subject, sync_to_async(proceed, thread_sensitive=True))


def enqueue_through(plan: Plan, call: Call, lay: Callable[[], Made], id_of: Hook) -> Made:
    """Lay a call down as a record inside the ``enqueue`` of each middleware; whatever one raises
    goes on, and nothing was written yet. Raises ``MiddlewareError``."""
    laid: list[Made] = []

    def innermost() -> str:
        if laid:
            raise MiddlewareError("A middleware's enqueue() called proceed() a second time.")
        laid.append(lay())
        return str(id_of(laid[0]))

    def around(hook: Hook, inner: Callable[[], str]) -> str:
        hook(call, inner)
        return str(id_of(laid[0])) if laid else ""  # whatever the hook returned

    proceed: Callable[[], str] = innermost
    for hook in reversed(plan.enqueues):
        proceed = partial(around, hook, proceed)
    proceed()
    if not laid:
        raise MiddlewareError(
            f"{call.task.func.__name__}() was not enqueued: a middleware's enqueue() returned"
            " without calling proceed(). To refuse a call, raise an error that says why."
        )
    return laid[0]


def execute_through(plan: Plan, run: Any, body: Callable[[], Any]) -> Any:
    """What the body returns, or what a middleware around it makes of that."""
    for applies, hook in plan.executes:
        if applies is None or applies(run):
            body = partial(hook, run, body)
    return body()


def checked_headers(headers: Mapping[str, Any]) -> tuple[dict[str, Any] | None, UUID | None]:
    """What the row keeps of headers (None for none), and the parent that they name. Raises
    ``MiddlewareError`` for what can't travel."""
    try:
        kept = to_json_types(headers)
        size = len(to_json(kept))
        parent = kept.pop(PARENT, None)
        parent_id = None if parent is None else UUID(parent)
    except (TypeError, ValueError, AttributeError) as error:
        raise MiddlewareError(
            f"The headers that middlewares gave a call can't travel: one is {error}."
        ) from None
    wrong = next((name for name in kept if not isinstance(name, str)), None)
    if wrong is not None:
        raise MiddlewareError(f"A header has the name {wrong!r}; names are text.")
    if size > MAX_HEADERS:
        largest = max(kept, key=lambda name: len(to_json(kept[name])), default=PARENT)
        raise MiddlewareError(
            f"The headers that middlewares gave a call take {size} bytes as JSON, and at most"
            f" {MAX_HEADERS} travel. The largest is {largest[:100]!r}. Store it and pass its key."
        )
    return kept or None, parent_id
