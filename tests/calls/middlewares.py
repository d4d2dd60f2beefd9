"""Middlewares and tasks of the tests of middleware: what they do is told in a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone, translation

from django_tasks import django_task

told: list[Any] = []
shop: ContextVar[str] = ContextVar("shop", default="")
given: Any = None  # what Wrong adds
PATH = "tests.calls.middlewares."


class Outer:
    """Plain, around everything."""

    def enqueue(self, call: Any, proceed: Callable[[], str]) -> None:
        told.append(("outer in", call.task.func.__name__, list(call.args), dict(call.kwargs)))
        call.headers["outer"] = 1
        told.append(("outer out", proceed()))

    def execute(self, run: Any, proceed: Callable[[], Any]) -> Any:
        told.append(("outer runs", run.id, run.attempt, dict(run.headers)))
        token = shop.set("open")
        try:
            return proceed()
        finally:
            shop.reset(token)
            told.append("outer ran")


class Inner:
    """Adds by the simple form and looks by the other."""

    def headers(self, call: Any) -> dict[str, Any]:
        return {"inner": list(call.args)}

    def enqueue(self, call: Any, proceed: Callable[[], str]) -> None:
        told.append(("inner", dict(call.headers)))
        proceed()
        call.headers["late"] = True

    def execute(self, run: Any, proceed: Callable[[], Any]) -> Any:
        told.append("inner runs")
        return proceed()


class Awaiting:
    """``async def``, and it does await."""

    async def enqueue(self, call: Any, proceed: Any) -> None:
        await asyncio.sleep(0)
        call.headers["awaited"] = True
        told.append(("awaited", await proceed()))

    async def execute(self, run: Any, proceed: Any) -> Any:
        token = shop.set("awaited")
        try:
            value = await proceed()
        finally:
            shop.reset(token)
        return [value, "and awaited"]


class Large:
    def headers(self, call: Any) -> dict[str, Any]:
        return {"small": 1, "big": "x" * call.args[0]}


class Wrong:
    def headers(self, call: Any) -> Any:
        return given


class Refusing:
    def enqueue(self, call: Any, proceed: Callable[[], str]) -> None:
        proceed()
        if call.args and call.args[0] == "refused":
            raise PermissionError("not this one")


class Idle:
    def enqueue(self, call: Any, proceed: Callable[[], str]) -> None:
        """Does not proceed."""


class Twice:
    def enqueue(self, call: Any, proceed: Callable[[], str]) -> None:
        proceed()
        proceed()


class Failing:
    def execute(self, run: Any, proceed: Callable[[], Any]) -> Any:
        proceed()
        raise LookupError("after the body")


class Skipping:
    def execute(self, run: Any, proceed: Callable[[], Any]) -> str:
        return "skipped"


class Seldom:
    def applies(self, run: Any) -> bool:
        return bool(run.args[0] == "now")

    def execute(self, run: Any, proceed: Callable[[], Any]) -> Any:
        told.append("seldom")
        return proceed()


class Nothing:
    """None of the three methods."""


class NeedsMore:
    def __init__(self, more: Any) -> None:
        self.more = more


class AwaitedHeaders:
    async def headers(self, call: Any) -> None: ...


@django_task
def look(text: str = "") -> str:
    """What the body sees of the middlewares."""
    told.append(("body", text))
    return shop.get()


@django_task
async def alook(text: str = "") -> str:
    await asyncio.sleep(0)
    told.append(("body", text))
    return shop.get()


@django_task(takes_context=True, retries=1, backoff=0)
def fail_once(context: Any) -> dict[str, Any]:
    if context.attempt == 1:
        raise ConnectionError("once")
    return dict(context.headers)


def active() -> list[Any]:
    """What is active here, and a text and a time as they are said by it."""
    zone = timezone.get_current_timezone()
    return [translation.get_language(), str(zone), translation.gettext("Yes")]


@django_task
def tell_active() -> list[Any]:
    return active()


@django_task
async def atell_active() -> list[Any]:
    await asyncio.sleep(0)
    return [*active(), await sync_to_async(translation.get_language)()]


@django_task
def leave_active(language: str) -> None:
    translation.activate(language)
    timezone.activate("Asia/Tokyo")


@django_task(takes_context=True)
def enqueue_others(context: Any) -> list[str]:
    """In the body's own thread, and in another that asgiref made."""
    return [look.enqueue("child").id, async_to_sync(alook.aenqueue)("grandchild").id]


@django_task(takes_context=True)
async def aenqueue_others(context: Any) -> list[str]:
    mine = await look.aenqueue("child")
    other = await sync_to_async(look.enqueue)("child")
    return [mine.id, other.id]
