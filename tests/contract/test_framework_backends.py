"""Immediate and Dummy, the backends of other people's tests: Django's own from 6.0 on, before
that framework_5_2_backends.py's under the same paths in ``TASKS``."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings
from django.utils import timezone

from django_tasks import framework
from django_tasks.framework import TaskResultStatus, task, task_backends

TASKS: dict[str, Any] = {
    "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
    "dummy": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
}
Heard = list[tuple[str, type, str, "type[BaseException] | None"]]


class Rain(Exception):
    """An error of a task's own."""


with override_settings(TASKS=TASKS):

    @task
    def echo(*args: Any, **kwargs: Any) -> Any:
        """What was passed, as a tuple."""
        return (args, kwargs)

    @task
    async def add_later(a: int, b: int) -> int:
        """Two numbers' sum, by a coroutine."""
        await asyncio.sleep(0)
        return a + b

    @task(takes_context=True)
    def describe(context: Any, *args: Any) -> Any:
        """What the context tells, and what was passed."""
        return (context.attempt, context.task_result.id, context.task_result.status, args)

    @task
    def stop_with(name: str) -> None:
        """Raises an exception by name."""
        raise {"Rain": Rain, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[
            name
        ]("it rained")

    @task
    def return_a_set() -> Any:
        """What JSON has no form for."""
        return {1, 2}


@pytest.fixture(autouse=True)
def _aliases(settings: Any) -> None:
    settings.TASKS = TASKS


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Name, sender, status and exception at hand of each signal, in the order of sending."""
    found: Heard = []

    def listen(name: str) -> Any:
        def receive(sender: type, task_result: Any, **_: Any) -> None:
            found.append((name, sender, str(task_result.status), sys.exc_info()[0]))

        return receive

    signals = {
        "enqueued": framework.task_enqueued,
        "started": framework.task_started,
        "finished": framework.task_finished,
    }
    receivers = {name: listen(name) for name in signals}
    for name, receive in receivers.items():
        signals[name].connect(receive)
    yield found
    for name, receive in receivers.items():
        signals[name].disconnect(receive)


def on_dummy(one: Any) -> Any:
    """The same task, enqueued and not run."""
    return one.using(backend="dummy")


def test_immediate_runs_a_task_where_it_is_enqueued() -> None:
    before = timezone.now()

    result: Any = echo.enqueue((1, b"x"), key=(2,))

    assert result.status is TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert (result.args, result.kwargs) == ([[1, "x"]], {"key": [2]})
    assert result.return_value == [[[1, "x"]], {"key": [2]}]
    assert (result.task, result.backend, result.errors) == (echo, "default", [])
    assert result.worker_ids == [task_backends["default"].worker_id]  # type: ignore[attr-defined, unused-ignore]
    assert result.attempts == 1
    assert before <= result.enqueued_at <= result.started_at <= result.finished_at
    assert result.finished_at <= timezone.now()
    assert result.last_attempted_at == result.started_at


def test_each_enqueue_has_an_id_of_its_own() -> None:
    ids = {one.enqueue().id for one in (echo, echo, on_dummy(echo), on_dummy(echo))}

    assert [len(one) for one in ids] == [32] * 4


def test_immediate_gives_the_context_of_the_running_result() -> None:
    result: Any = describe.enqueue("a")

    assert result.return_value == [1, result.id, "RUNNING", ["a"]]


@pytest.mark.parametrize(
    ("one", "args", "expected"), [(echo, (1,), [[1], {}]), (add_later, (1, 2), 3)]
)
def test_immediate_runs_functions_and_coroutines_from_both_worlds(
    one: Any, args: tuple[Any, ...], expected: Any
) -> None:
    assert one.enqueue(*args).return_value == expected
    assert async_to_sync(one.aenqueue)(*args).return_value == expected


@pytest.mark.parametrize(
    ("one", "args", "error", "text"),
    [
        (stop_with, ("Rain",), Rain, "Rain: it rained"),
        (stop_with, ("SystemExit",), SystemExit, "SystemExit: it rained"),
        (return_a_set, (), TypeError, "Unsupported type: <class 'set'>"),
        (add_later, (1,), TypeError, "missing 1 required positional argument: 'b'"),
    ],
)
def test_immediate_keeps_what_a_task_raised(
    one: Any, args: tuple[Any, ...], error: type[BaseException], text: str
) -> None:
    result = one.enqueue(*args)

    [kept] = result.errors
    assert kept.exception_class is error
    assert kept.exception_class_path == f"{error.__module__}.{error.__qualname__}"
    assert kept.traceback.startswith("Traceback (most recent call last):")
    assert text in kept.traceback
    assert result.status is TaskResultStatus.FAILED
    assert result.is_finished
    assert result.finished_at >= result.started_at
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_immediate_lets_nan_pass_as_argument_and_as_value() -> None:
    result: Any = echo.enqueue(float("nan"))

    assert (repr(result.args), repr(result.return_value)) == ("[nan]", "[[nan], {}]")


def test_immediate_lets_ctrl_c_through(heard: Heard) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_with.enqueue("KeyboardInterrupt")

    assert [name for name, *_ in heard] == ["enqueued", "started"]


@pytest.mark.parametrize(("path", "error"), [("os.path", ValueError), ("os.nothing", ImportError)])
def test_an_error_that_names_no_exception_says_so(path: str, error: type[Exception]) -> None:
    kept = framework.TaskError(exception_class_path=path, traceback="")

    with pytest.raises(error, match=path if error is ValueError else "nothing"):
        _ = kept.exception_class


@pytest.mark.parametrize(
    ("one", "args", "ending", "error"),
    [(echo, (), "SUCCESSFUL", None), (stop_with, ("Rain",), "FAILED", Rain)],
)
def test_immediate_sends_a_signal_at_each_step(
    one: Any, args: tuple[Any, ...], ending: str, error: Any, heard: Heard
) -> None:
    one.enqueue(*args)

    sender = type(task_backends["default"])
    assert heard == [
        ("enqueued", sender, "READY", None),
        ("started", sender, "RUNNING", None),
        ("finished", sender, ending, error),
    ]


@pytest.mark.parametrize("alias", sorted(TASKS))
def test_arguments_without_a_json_form_are_refused_before_anything_is_sent(
    alias: str, heard: Heard
) -> None:
    with pytest.raises(TypeError, match="Unsupported type: <class 'object'>"):
        echo.using(backend=alias).enqueue(object())
    with pytest.raises(ValueError, match="Unsupported value: <class 'bytes'>"):
        echo.using(backend=alias).enqueue(key=b"\xff")

    assert heard == []


def test_immediate_has_no_results_to_get() -> None:
    result: Any = echo.enqueue()
    text = "This backend does not support retrieving or refreshing results"

    with pytest.raises(NotImplementedError, match=text):
        result.refresh()
    with pytest.raises(NotImplementedError, match=text):
        echo.get_result(result.id)
    with pytest.raises(NotImplementedError, match=text):
        async_to_sync(result.arefresh)()
    with pytest.raises(NotImplementedError, match=text):
        async_to_sync(echo.aget_result)(result.id)


def test_dummy_keeps_what_is_enqueued_and_runs_nothing(heard: Heard) -> None:
    stop = on_dummy(stop_with)

    results = [stop.enqueue("Rain"), async_to_sync(stop.aenqueue)("SystemExit")]

    backend: Any = task_backends["dummy"]
    assert [one.args for one in backend.results] == [["Rain"], ["SystemExit"]]
    for result in results:
        assert (result.status, result.is_finished) == (TaskResultStatus.READY, False)
        assert (result.backend, result.attempts, result.errors) == ("dummy", 0, [])
        assert result.enqueued_at <= timezone.now()
        assert result.started_at is result.finished_at is result.last_attempted_at is None
        with pytest.raises(ValueError, match="Task has not finished yet"):
            _ = result.return_value
    assert heard == [("enqueued", type(backend), "READY", None)] * 2


def test_dummy_finds_results_by_id_until_cleared() -> None:
    echoing = on_dummy(echo)
    result = echoing.enqueue(1)

    assert echoing.get_result(result.id) == result
    assert async_to_sync(echoing.aget_result)(result.id) == result
    for ask in (on_dummy(stop_with).get_result, async_to_sync(on_dummy(stop_with).aget_result)):
        with pytest.raises(framework.TaskResultMismatch, match=r"received '.*\.echo'"):
            ask(result.id)

    task_backends["dummy"].clear()  # type: ignore[attr-defined, unused-ignore]

    for ask in (echoing.get_result, async_to_sync(echoing.aget_result)):
        with pytest.raises(framework.TaskResultDoesNotExist, match=result.id):
            ask(result.id)


@pytest.mark.parametrize("is_async", [False, True])
def test_refresh_reads_again_what_changes_and_nothing_else(is_async: bool) -> None:
    result = on_dummy(echo).enqueue(1)
    kept: Any = task_backends["dummy"].get_result(result.id)
    now = timezone.now()
    error = framework.TaskError(exception_class_path="builtins.ValueError", traceback="")
    changes = {
        "status": TaskResultStatus.SUCCESSFUL,
        "enqueued_at": now,
        "started_at": now,
        "finished_at": now,
        "last_attempted_at": now,
        "errors": [error],
        "worker_ids": ["a", "b"],
        "_return_value": 7,
    }
    for name, value in {**changes, "args": [2], "kwargs": {"key": 2}}.items():
        object.__setattr__(kept, name, value)

    if is_async:
        async_to_sync(result.arefresh)()
    else:
        result.refresh()

    assert {name: getattr(result, name) for name in changes} == changes
    assert (result.return_value, result.attempts) == (7, 2)
    assert (result.args, result.kwargs) == ([1], {})


def test_what_a_caller_does_to_arguments_is_not_what_was_enqueued() -> None:
    passed = [1]
    result = on_dummy(echo).enqueue(passed, key=passed)

    passed.append(2)
    result.args.append(3)
    result.kwargs["more"] = 4

    [kept] = task_backends["dummy"].results  # type: ignore[attr-defined, unused-ignore]
    assert (kept.args, kept.kwargs) == ([[1]], {"key": [1]})


@pytest.mark.skipif(django.VERSION[:2] == (6, 0), reason="Django 6.0 pickles no task")
def test_a_result_survives_pickle() -> None:
    results: list[Any] = [echo.enqueue(1), on_dummy(echo).enqueue(2), stop_with.enqueue("Rain")]

    assert pickle.loads(pickle.dumps(results)) == results


def test_a_result_is_frozen() -> None:
    for result in (echo.enqueue(1), on_dummy(echo).enqueue(2)):
        with pytest.raises(FrozenInstanceError):
            result.status = TaskResultStatus.READY


def test_what_a_caller_does_to_lists_of_a_dummy_result_is_not_kept() -> None:
    result: Any = on_dummy(echo).enqueue(1)

    result.worker_ids.append("a")
    result.errors.append("b")

    [kept] = task_backends["dummy"].results  # type: ignore[attr-defined, unused-ignore]
    assert (kept.worker_ids, kept.errors) == ([], [])
