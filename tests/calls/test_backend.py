"""Which backend is asked: TASKS unset, ours, Django's Immediate and Dummy; and enqueue_many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks import RedisBackend, Task, django_task, enqueue_many, framework
from django_tasks.broker import Broker
from django_tasks.conf import task_settings
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    InvalidTaskOptions,
    NotATask,
    ResultNotFound,
)
from django_tasks.framework import InvalidTask, InvalidTaskBackend, task_enqueued
from django_tasks.models import TaskRecord
from tests.tasks import add

OURS: dict[str, Any] = {"BACKEND": "django_tasks.RedisBackend"}
IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
DUMMY = {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}


@django_task(takes_context=True)
def who(context: Any, number: int) -> list[int]:
    return [context.attempt, number]


def two(number: int) -> int:
    return number * 2


def ready(alias: str = "default", queue: str = "default") -> int:
    broker = Broker(task_settings(alias))
    try:
        return broker.backlog(queue)["ready"]
    finally:
        broker.close()


# -- which backend -----------------------------------------------------------------------------


def test_with_tasks_unset_our_tasks_use_ours(queue: Any) -> None:
    assert isinstance(add.get_backend(), RedisBackend)


@pytest.mark.django_db(transaction=True)
def test_with_tasks_naming_ours_a_plain_task_runs_too(
    queue: Any, settings: Any, work: Callable[..., None]
) -> None:
    settings.TASKS = {"default": OURS}
    plain = framework.task(two)

    result: Any = plain.enqueue(21)
    work()

    assert result.get(timeout=5) == 42
    assert isinstance(plain, framework.Task)
    assert isinstance(plain, Task)  # so that it has our using(), delay() and s()
    assert plain.get_result(result.id).return_value == 42
    assert TaskRecord.objects.get().task_name == f"{__name__}.two"


@pytest.mark.django_db(transaction=True)
def test_immediate_is_obeyed(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": IMMEDIATE}

    results = [add.enqueue(1, 2), add.delay(3, 4), *enqueue_many([add.s(5, 6)]), who.enqueue(7)]

    assert [result.return_value for result in results] == [3, 7, 11, [1, 7]]
    assert not TaskRecord.objects.exists()
    assert ready() == 0


@pytest.mark.django_db(transaction=True)
def test_dummy_is_obeyed(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": DUMMY}

    result = add.enqueue(1, 2)

    assert result.status == "READY"
    assert [one.args for one in add.get_backend().results] == [[1, 2]]
    assert not TaskRecord.objects.exists()
    assert ready() == 0


@pytest.mark.django_db(transaction=True)
def test_the_alias_decides(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": OURS, "now": IMMEDIATE}

    later, now = add.enqueue(1, 2), add.using(backend="now").enqueue(3, 4)

    assert (later.status, later.backend) == ("READY", "default")
    assert (now.return_value, now.backend) == (7, "now")
    assert TaskRecord.objects.count() == 1


def test_an_alias_that_tasks_does_not_have_is_an_error(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": OURS}

    with pytest.raises(InvalidTaskBackend, match="nowhere"):
        add.using(backend="nowhere")


@pytest.mark.django_db(transaction=True)
def test_options_override_the_settings_key_by_key(queue: Any, settings: Any) -> None:
    other = f"{queue.prefix}-other"
    settings.TASKS = {
        "default": OURS,
        "second": {**OURS, "OPTIONS": {"PREFIX": other, "MAX_ARGUMENT_BYTES": 20}},
    }

    add.using(backend="second").enqueue(1, 2)

    assert (ready("default"), ready("second")) == (0, 1)
    assert task_settings("second").broker == queue.broker  # what OPTIONS leave out
    assert task_settings("second").prefix == other
    wrong: Any = add.using(backend="second")
    with pytest.raises(TypeError, match="MAX_ARGUMENT_BYTES is 20"):
        wrong.enqueue("x" * 20, 2)
    wrong.using(backend="default").s("x" * 20, 2).draft()


def test_queues_restrict_and_their_absence_means_any_name(settings: Any) -> None:
    settings.TASKS = {"default": OURS, "strict": {**OURS, "QUEUES": ["mail"]}}

    assert add.using(queue="anything").queue_name == "anything"
    strict = add.using(queue="mail", backend="strict")
    assert strict.queue_name == "mail"
    with pytest.raises(InvalidTaskOptions, match="anything") as caught:
        strict.using(queue="anything")
    assert isinstance(caught.value, InvalidTask)


def test_what_the_backend_can() -> None:
    backend = add.get_backend()

    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_a_task_of_another_backend_is_checked_when_it_comes_to_ours(settings: Any) -> None:
    settings.TASKS = {"default": OURS, "now": IMMEDIATE}
    spaced = add.using(backend="now")

    with pytest.raises(InvalidTaskOptions, match="queue's name"):
        framework.task(queue_name="a b")(two)
    assert spaced.using(backend="default").backend == "default"


@pytest.mark.django_db(transaction=True)
def test_a_task_is_validated_again_when_it_is_enqueued(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": OURS}
    post: Any = add.using(queue="post")
    settings.TASKS = {"default": {**OURS, "QUEUES": ["default", "mail"]}}

    for enqueue in (
        lambda: post.enqueue(1, 2),
        lambda: async_to_sync(post.aenqueue)(1, 2),
        lambda: post.get_backend().enqueue(post, (1, 2), {}),
        lambda: enqueue_many([add.s(1, 2), post.s(1, 2)]),
    ):
        with pytest.raises(InvalidTaskOptions, match="Queue 'post' is not valid for backend"):
            enqueue()

    assert not TaskRecord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_task_enqueued_is_sent_with_the_result(queue: Any) -> None:
    seen: list[Any] = []

    def note(sender: type, task_result: Any, **_: Any) -> None:
        seen.append((sender, task_result.id))

    task_enqueued.connect(note)
    try:
        results = [add.enqueue(1, 2), *enqueue_many([add.s(3, 4), add.s(5, 6)])]
    finally:
        task_enqueued.disconnect(note)

    assert seen == [(RedisBackend, result.id) for result in results]


def test_get_result_of_the_backend_itself(db: None, queue: Any) -> None:
    with pytest.raises(ResultNotFound):
        add.get_backend().get_result("42")


# -- enqueue_many ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_results_come_in_order_whatever_the_alias(queue: Any, settings: Any) -> None:
    settings.TASKS = {
        "default": OURS,
        "second": {**OURS, "OPTIONS": {"PREFIX": f"{queue.prefix}-b"}},
        "now": IMMEDIATE,
    }
    second, now = add.using(backend="second"), add.using(backend="now")

    results = enqueue_many(
        task.s(number, 0) for number, task in enumerate([add, second, now, second, add, now])
    )

    assert [result.args[0] for result in results] == [0, 1, 2, 3, 4, 5]
    aliases = ["default", "second", "now", "second", "default", "now"]
    assert [result.backend for result in results] == aliases
    assert (ready("default"), ready("second")) == (2, 2)
    assert TaskRecord.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_law_2_one_wrong_argument_and_nothing_is_enqueued(queue: Any, settings: Any) -> None:
    settings.TASKS = {"default": OURS, "second": OURS}
    second: Any = add.using(backend="second")
    good: Any = add

    for wrong, kind in (
        (good.s(1), ArgumentMismatch),
        (good.s({1}, 2), ArgumentNotSerializable),
        (second.s(1), ArgumentMismatch),  # of the alias that is written last
        (good, NotATask),
    ):
        with pytest.raises(kind):
            enqueue_many([good.s(1, 2), second.s(1, 2), wrong])

    assert not TaskRecord.objects.exists()
    assert ready() == 0


@pytest.mark.django_db(transaction=True)
def test_no_calls_are_no_queries(queue: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert enqueue_many([]) == []
        assert enqueue_many(iter([])) == []

    assert len(queries) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (two, "two is a plain function, not a task. Put @django_task above"),
        (add, r"wants calls not yet made, like add\.s\(1, 2\)"),
        (42, "42 is a plain int, not a task"),
    ],
)
def test_what_is_no_signature_is_told_the_cure(wrong: Any, said: str) -> None:
    with pytest.raises(NotATask, match=said):
        enqueue_many([wrong])


@pytest.mark.django_db(transaction=True)
def test_thousands_of_calls_in_one_go(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the machine is busy with other tests a server may not answer at once; then rows wait.
    monkeypatch.setattr("django_tasks.broker.connection.PRODUCER_TIMEOUT", 10.0)
    results = enqueue_many(add.s(number, 1) for number in range(2000))

    assert len({result.id for result in results}) == 2000
    assert ready() == TaskRecord.objects.count() == 2000
