"""What mypy --strict says of calls: read by test_typing.py, never run.

An ignore that nothing needs is an error too (warn_unused_ignores): so each one here proves that
the line above or beside it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

from django.tasks import TaskContext as FrameworkTaskContext

from django_tasks import TaskContext, TaskResult, django_task, enqueue_many
from django_tasks.calls.signature import Signature


@django_task
def add(a: int, b: int) -> int:
    return a + b


@django_task(queue="mail", retries=5, priority=3)
def letter(to: str, *, copies: int = 1) -> str:
    return to * copies


@django_task(takes_context=True)
def asks(context: TaskContext, number: int) -> list[int]:
    return [context.attempt, number]


@django_task(takes_context=True)
def asks_django(context: FrameworkTaskContext[..., Any], number: int) -> int:
    return number


@django_task
async def slowly(number: int) -> float:
    return number / 2


def calls() -> None:
    assert_type(add(1, 2), int)
    assert_type(letter("Ada", copies=2), str)
    add("1", 2)  # type: ignore[arg-type]
    add(1)  # type: ignore[call-arg]


def enqueues() -> None:
    add.enqueue(1, 2)
    add.enqueue(1, b=2)
    add.enqueue(1, "2")  # type: ignore[arg-type]
    add.enqueue(1)  # type: ignore[call-arg]
    add.enqueue(1, 2, 3)  # type: ignore[call-arg]
    letter.enqueue("Ada", copies=2)
    letter.enqueue("Ada", 2)  # type: ignore[call-arg]
    letter.enqueue("Ada", copy=2)  # type: ignore[call-arg]
    slowly.enqueue(1)
    slowly.enqueue("1")  # type: ignore[arg-type]


def delays() -> None:
    add.delay(1, 2)
    add.delay(1, "2")  # type: ignore[arg-type]
    add.delay(1)  # type: ignore[call-arg]


def signatures() -> None:
    assert_type(add.s(1, 2), Signature)
    enqueue_many([add.s(1, 2), letter.s("Ada")])
    add.s(1)  # the rest of a chain: its first argument comes from the one before
    assert_type(add.si(1, 2), Signature)
    add.si(1, "2")  # type: ignore[arg-type]
    add.si(1)  # type: ignore[call-arg]
    enqueue_many([add])  # type: ignore[list-item]


async def awaits() -> None:
    result = await add.aenqueue(1, 2)
    assert_type(result, TaskResult)
    await result.aget(timeout=1)
    await add.aenqueue(1, "2")  # type: ignore[arg-type]
    await add.aenqueue(1)  # type: ignore[call-arg]


def contexts() -> None:
    asks.enqueue(1)
    asks.enqueue("1")  # type: ignore[arg-type]
    asks.enqueue(1, 2)  # type: ignore[call-arg]
    asks.s(1)
    asks_django.enqueue(1)
    asks_django.enqueue()  # type: ignore[call-arg]


def variants() -> None:
    other = add.using(queue_name="slow", priority=5)
    other.enqueue(1, "2")  # type: ignore[arg-type]
    assert_type(other(1, 2), int)


def passes_as_a_function(task: Callable[[int, int], int]) -> int:
    return task(1, 2)


def is_callable() -> None:
    passes_as_a_function(add)
    passes_as_a_function(letter)  # type: ignore[arg-type]


def results() -> None:
    result = add.enqueue(1, 2)
    assert_type(result, TaskResult)
    assert_type(add.delay(1, 2), TaskResult)
    assert_type(add.get_result("id"), TaskResult)
    value: Any = result.get(timeout=1.5)
    assert_type(result.state, str)
    result.get(timeout="1")  # type: ignore[arg-type]
    print(value)
