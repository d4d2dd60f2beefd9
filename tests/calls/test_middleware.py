"""Middleware: around each enqueue and each run, in order, with headers that come through."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import transaction

from django_tasks import enqueue_many
from django_tasks.broker import get_broker
from django_tasks.calls.middleware import MAX_HEADERS, plan_of
from django_tasks.errors import InvalidSettings, MiddlewareError
from django_tasks.models import TaskRecord
from django_tasks.system_checks import check_settings
from tests.calls import middlewares
from tests.calls.middlewares import PATH, alook, fail_once, look, told
from tests.test_docs import DOCS, blocks

pytestmark = pytest.mark.django_db(transaction=True)
Use = Callable[..., None]


@pytest.fixture
def use(queue: Any, settings: Any) -> Use:
    """``use("Outer", "Inner")`` lists those middlewares, and no others."""

    def listed(*names: str, **more: Any) -> None:
        settings.DJANGO_TASKS = {
            **settings.DJANGO_TASKS,
            "MIDDLEWARE": [name if "." in name else PATH + name for name in names],
            **more,
        }

    told.clear()
    return listed


def record_of(result: Any) -> TaskRecord:
    return TaskRecord.objects.get(pk=result.id)


def test_the_first_listed_is_the_outermost_around_enqueue_and_run(use: Use, work: Any) -> None:
    use("Outer", "Inner")

    result = look.enqueue("a")
    work()

    headers = {"inner": ["a"], "outer": 1, "late": True}
    assert told == [
        ("outer in", "look", ["a"], {}),
        ("inner", {"inner": ["a"], "outer": 1}),
        ("outer out", result.id),
        ("outer runs", result.id, 1, headers),
        "inner runs",
        ("body", "a"),
        "outer ran",
    ]
    assert record_of(result).headers == headers
    assert result.get() == "open"


@pytest.mark.parametrize("task", [look, alook], ids=["plain", "coroutine"])
@pytest.mark.parametrize("names", [("Outer",), ("Awaiting",), ("Outer", "Awaiting", "Inner")])
@pytest.mark.parametrize("is_async", [False, True], ids=["enqueue", "aenqueue"])
def test_plain_and_async_middlewares_wrap_tasks_and_enqueues_of_both_kinds(
    use: Use, work: Any, task: Any, names: tuple[str, ...], is_async: bool
) -> None:
    use(*names)

    result = async_to_sync(task.aenqueue)("a") if is_async else task.enqueue("a")
    work()

    kept = record_of(result)
    assert kept.status == "SUCCESSFUL", kept.traceback
    assert ("Awaiting" in names) == ("awaited" in kept.headers)
    assert ("Outer" in names) == ("outer" in kept.headers)
    assert kept.return_value == (["awaited", "and awaited"] if "Awaiting" in names else "open")
    assert [one for one in told if one[0] == "body"] == [("body", "a")]


def test_a_middleware_that_raises_refuses_the_call_and_nothing_is_written(use: Use) -> None:
    use("Refusing")

    with pytest.raises(PermissionError, match="not this one"):
        look.enqueue("refused")
    with pytest.raises(PermissionError), transaction.atomic():
        async_to_sync(look.using(record="after").aenqueue)("refused")

    assert not TaskRecord.objects.exists()
    assert get_broker().status(["default"], ["default"])["default"].total == 0


def test_enqueue_many_passes_every_call_once_and_all_before_any_is_written(use: Use) -> None:
    use("Outer", "Refusing")

    enqueue_many(look.s(text) for text in "abc")
    with pytest.raises(PermissionError):
        enqueue_many([look.s("d"), look.s("refused"), look.s("e")])

    passed = [one[2] for one in told if one[0] == "outer in"]
    assert passed == [["a"], ["b"], ["c"], ["d"], ["refused"]]
    assert sorted(TaskRecord.objects.values_list("args", flat=True)) == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(("name", "says"), [("Idle", "without calling"), ("Twice", "second time")])
def test_a_middleware_proceeds_exactly_once_at_the_enqueue(use: Use, name: str, says: str) -> None:
    use(name)

    with pytest.raises(MiddlewareError, match=says):
        look.enqueue()

    assert not TaskRecord.objects.exists()


def test_an_error_of_a_middleware_at_the_run_is_the_runs_and_retried(use: Use, work: Any) -> None:
    use("Failing")

    result = look.using(retries=1, backoff=0).enqueue()
    work()

    kept = record_of(result)
    assert (kept.status, kept.error_class, kept.attempt) == ("FAILED", "builtins.LookupError", 2)
    assert told == [("body", "")] * 2


def test_what_a_middleware_returns_is_the_tasks_result(use: Use, work: Any) -> None:
    use("Skipping")

    result = look.enqueue()
    work()

    assert result.get() == "skipped"
    assert told == []


def test_a_middleware_is_left_out_of_the_runs_to_which_it_does_not_apply(
    use: Use, work: Any
) -> None:
    use("Seldom")

    look.enqueue("now")
    look.enqueue("later")
    work()

    assert told == ["seldom", ("body", "now"), ("body", "later")]


@pytest.mark.parametrize("record", ["first", "after", "never"])
def test_headers_travel_and_come_back_wherever_the_call_is_written(
    use: Use, work: Any, record: str
) -> None:
    use("Inner")

    result = fail_once.using(record=record).enqueue()
    get_broker().settle()
    message = get_broker().snapshots("default", [result.id])[result.id].fields
    work()

    headers = {"inner": [], "late": True}
    assert json.loads(message["headers"]) == headers
    assert result.get() == headers  # as context.headers, of the second attempt
    if record != "never":
        assert record_of(result).headers == headers


def test_headers_are_there_when_a_message_is_delivered_anew(
    use: Use, work: Any, redis_client: Any
) -> None:
    use("Inner", RELEASE="r1")
    result = fail_once.enqueue()
    get_broker().settle()
    keys = get_broker().keys("default")
    redis_client.delete(keys.message(result.id), keys.ready)  # it alone is lost
    use("Inner", RELEASE="r2")

    call_command("tasks", "rebuild", verbosity=0)
    message = get_broker().snapshots("default", [result.id])[result.id].fields
    work()

    assert json.loads(message["headers"]) == {"inner": [], "late": True}
    assert message["release"] == "r1"
    assert result.get() == {"inner": [], "late": True}


def test_the_usual_call_carries_no_headers_and_an_older_message_runs(
    use: Use, work: Any, redis_client: Any
) -> None:
    use("django_tasks.LanguageAndTimeZone", "django_tasks.Provenance")

    result = look.enqueue("a")
    get_broker().settle()
    fields = get_broker().snapshots("default", [result.id])[result.id].fields
    use("Outer")  # as an upgraded worker gets what was enqueued before it
    work()

    assert "headers" not in fields
    assert record_of(result).headers is None
    assert told == [("outer runs", result.id, 1, {}), ("body", "a"), "outer ran"]


@pytest.mark.parametrize("junk", ["[1]", "{", "7"])
def test_headers_that_foreign_hands_wrote_make_a_dead_letter(
    use: Use, work: Any, redis_client: Any, junk: str
) -> None:
    use()
    result = look.enqueue()
    get_broker().settle()
    redis_client.hset(get_broker().keys("default").message(result.id), "headers", junk)

    work()

    kept = record_of(result)
    assert kept.status == "FAILED"
    assert "headers" in kept.dead_letter
    assert told == []


def test_headers_are_bounded(use: Use) -> None:
    use("Large")
    room = MAX_HEADERS - len('{"small":1,"big":""}')

    kept = record_of(look.enqueue(room))  # type: ignore[arg-type]
    with pytest.raises(MiddlewareError, match=r"'big'.*Store it") as caught:
        look.enqueue(room + 1)  # type: ignore[arg-type]

    assert len(kept.headers["big"]) == room
    assert len(str(caught.value)) < 300
    assert TaskRecord.objects.count() == 1


@pytest.mark.parametrize(
    "headers", [{"a": {1, 2}}, {"a": float("nan")}, {1: "a"}, {"parent": "no id"}, {"parent": 7}]
)
def test_headers_that_can_not_travel_are_refused(
    use: Use, headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("Wrong")
    monkeypatch.setattr(middlewares, "given", headers)

    with pytest.raises(MiddlewareError):
        look.enqueue()

    assert not TaskRecord.objects.exists()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no.such.module", "can't be imported"),
        (PATH + "Missing", "can't be imported"),
        ("Outer", "can't be imported"),
        (PATH + "NeedsMore", "takes no arguments"),
        (PATH + "Nothing", "none of the methods"),
        (PATH + "AwaitedHeaders", "coroutine function"),
        ("django.middleware.locale.LocaleMiddleware", "takes no arguments"),
    ],
)
def test_a_wrong_path_says_what_to_do_before_any_message_meets_it(
    queue: Any, settings: Any, path: str, says: str
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "MIDDLEWARE": [path]}

    with pytest.raises(InvalidSettings, match=says):
        look.enqueue()
    [found] = check_settings()
    with pytest.raises(CommandError, match=says) as caught:
        call_command("runworker", "--burst")

    assert (found.id, says in found.msg, path in found.msg) == ("django_tasks.E002", True, True)
    assert caught.value.returncode == 2


def test_a_middleware_is_made_once() -> None:
    assert plan_of((PATH + "Outer",)) is plan_of((PATH + "Outer",))


@pytest.mark.parametrize("backend", ["immediate.Immediate", "dummy.Dummy"])
def test_djangos_own_backends_work_beside_middlewares(
    use: Use, settings: Any, backend: str
) -> None:
    use("Refusing")
    settings.TASKS = {
        "default": {"BACKEND": f"django.tasks.backends.{backend}Backend"},
        "ours": {"BACKEND": "django_tasks.RedisBackend"},
    }

    foreign, ours = enqueue_many([look.s("refused"), look.using(backend="ours").s("a")])

    assert foreign.args == ["refused"]
    assert record_of(ours).args == ["a"]


def test_the_pages_example_works(use: Use, work: Any) -> None:
    module = types.ModuleType("shop_middleware")
    sys.modules[module.__name__] = module
    for note, block in blocks(DOCS / "middleware.md", "python"):
        if note == "example":
            exec(compile(block, "middleware.md", "exec"), vars(module))
    scope: Any = module
    use("shop_middleware.Shop")

    with pytest.raises(RuntimeError, match="No shop"):
        look.enqueue()
    with scope.serving("Basel"):
        result = fail_once.enqueue()
    work()

    assert result.get() == {"shop": "Basel"}
    assert scope.shop.get() == ""
