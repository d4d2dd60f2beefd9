"""Arguments: bound where the call is made, in JSON's types, of bounded size, described."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import uuid
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_tasks import django_task
from django_tasks.calls.arguments import (
    bind,
    checked_return_value,
    describe,
    normalize,
    to_json_types,
)
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    ArgumentsTooLarge,
    ReturnValueNotSerializable,
    TaskArgumentError,
    TaskQueueError,
)
from django_tasks.models import TaskRecord
from tests.tasks import add


@django_task
def echo(value: Any, *rest: Any, key: Any = None, **others: Any) -> Any:
    return [value, *rest, key, others]


@django_task(takes_context=True)
def told(context: Any, number: int) -> int:
    return number


sum_of: Any = add  # for calls that mypy would refuse, as test_typing.py shows
asked: Any = told


class Color(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


# -- binding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sum_of.s(1).draft(), "missing a required argument: 'b'"),
        (lambda: sum_of.s(1, 2, 3).draft(), "too many positional arguments"),
        (lambda: sum_of.s(1, 2, c=3).draft(), "unexpected keyword argument 'c'"),
        (lambda: sum_of.s(1, a=2).draft(), "multiple values for argument 'a'"),
        (lambda: asked.s().draft(), "missing a required argument: 'number'"),
    ],
)
def test_a_call_that_does_not_fit_names_the_parameter(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ArgumentMismatch) as caught:
        call()

    assert said in str(caught.value)
    for kind in (TypeError, TaskArgumentError, TaskQueueError):
        assert isinstance(caught.value, kind)


def test_the_error_shows_the_parameters_without_the_context() -> None:
    with pytest.raises(ArgumentMismatch, match=r"told\(number: (int|'int')\)"):
        bind(told.func, True, [], {})


@pytest.mark.django_db(transaction=True)
def test_a_wrong_call_fails_where_it_is_made_and_leaves_nothing(queue: Any) -> None:
    wrong: Any = add
    with pytest.raises(ArgumentMismatch):
        wrong.enqueue(1)
    with pytest.raises(ArgumentNotSerializable):
        wrong.enqueue({1}, 2)

    assert not TaskRecord.objects.exists()


# -- what has a JSON form ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (2**80, 2**80),
        (1.5, 1.5),
        ("ü\x00\ud800", "ü\x00\ud800"),
        ((1, (2, 3)), [1, [2, 3]]),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (b"text \xc3\xbc", "text ü"),
        ({"a": (1,)}, {"a": [1]}),
        (OrderedDict(b=1), {"b": 1}),
        (UserDict(b=(1,)), {"b": [1]}),
        (Color.RED, "red"),
        (Size.LARGE, 3),
        (mark_safe("<b>"), "<b>"),
    ],
)
def test_what_json_has_arrives_in_its_types(value: Any, plain: Any) -> None:
    assert to_json_types(value) == plain
    assert normalize(echo.func, False, [value], {"key": value}) == ([plain], {"key": plain})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "Pass value.isoformat()"),
        (datetime.date(2026, 1, 1), "Pass value.isoformat()"),
        (datetime.time(12), "Pass value.isoformat()"),
        (datetime.timedelta(1), "Pass value.total_seconds()"),
        (decimal.Decimal("1.1"), "Pass str(value) and make a Decimal of it"),
        (uuid.uuid4(), "Pass str(value) and make a UUID of it"),
        ({1, 2}, "Pass sorted(value) or list(value)"),
        (frozenset(), "Pass sorted(value) or list(value)"),
        (User(username="ada"), "Pass its pk and load it inside the task"),
        (User.objects.all(), "Pass a list of pks and query inside the task"),
        (b"\xff", "Pass base64.b64encode(…).decode() of them"),
        (math.nan, "nan, which JSON does not have. Pass None or a string"),
        (math.inf, "inf, which JSON does not have"),
        (-math.inf, "-inf, which JSON does not have"),
        ({(1, 2): 3}, "a mapping with the key (1, 2)"),
        ({math.nan: 3}, "a mapping with the key nan"),
        (object(), "an object instance, and JSON has none"),
        (Path("/tmp"), "PosixPath instance, and JSON has none"),
        (gettext_lazy("Yes"), "instance, and JSON has none"),
        (add, "a Task instance, and JSON has none"),
        (1j, "a complex instance"),
        (iter([1]), "a list_iterator instance"),
        pytest.param(10**5000, "more than 4,000 digits. Pass hex(value)", id="long"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"deep": [1, (value,)]}])
def test_what_json_has_not_is_named_with_the_cure(
    value: Any, said: str, wrap: Callable[[Any], Any]
) -> None:
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: echo.s(wrap(value)).draft(), "value"),
        (lambda: echo.s(1, 2, wrap(value)).draft(), "rest[1]"),
        (lambda: echo.s(1, key=wrap(value)).draft(), "key"),
        (lambda: echo.s(1, more=wrap(value)).draft(), "more"),
    )
    for call, name in calls:
        with pytest.raises(ArgumentNotSerializable) as caught:
            call()

        assert f"echo() can't be enqueued: argument {name!r} is " in str(caught.value)
        assert said in str(caught.value)
        assert caught.value.name == name
        assert isinstance(caught.value, TypeError)


def test_what_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ArgumentNotSerializable, match="holds itself"):
        echo.s(endless).draft()


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.django_db(transaction=True)
def test_depth_is_bounded_far_from_where_json_gives_up(work: Callable[..., None]) -> None:
    result = echo.enqueue(nested(199))
    work()
    assert result.get(timeout=5) == [nested(199), None, {}]  # itself one deep

    for depth in (201, 980, 100_000):
        with pytest.raises(ArgumentNotSerializable, match="nested more than 200 deep"):
            echo.enqueue(nested(depth))


@pytest.mark.django_db
def test_a_saved_instance_gets_the_same_advice() -> None:
    user = User.objects.create(username="ada")

    with pytest.raises(ArgumentNotSerializable, match="Pass its pk") as caught:
        echo.s(user).draft()

    assert caught.value.value is user


@pytest.mark.django_db(transaction=True)
def test_arguments_reach_the_function_as_they_were(work: Callable[..., None]) -> None:
    given = ["ü\x00\ud800", 2**80, 1.25, None, True, {"a": [{"b": []}]}]

    result = echo.enqueue(given, 2, key="k", other="o")
    work()

    assert result.get(timeout=5) == [given, 2, "k", {"other": "o"}]


# -- size --------------------------------------------------------------------------------------


def test_arguments_are_bounded_in_bytes_of_json(settings: Any) -> None:
    settings.DJANGO_TASKS = {"MAX_ARGUMENT_BYTES": 100}
    fitting = "x" * (100 - len('[["",1],{}]'))

    assert add_text.s(fitting, 1).draft().record.args == [fitting, 1]
    with pytest.raises(ArgumentsTooLarge) as caught:
        add_text.s(fitting + "x", 1).draft()

    assert (caught.value.size, caught.value.limit) == (101, 100)
    assert "101 bytes as JSON, and MAX_ARGUMENT_BYTES is 100" in str(caught.value)
    assert "pass their key" in str(caught.value)


@django_task
def add_text(text: str, number: int) -> str:
    return text * number


# -- what comes back ---------------------------------------------------------------------------


def test_a_return_value_has_a_json_form_or_an_error_that_says_why() -> None:
    assert checked_return_value("f", (1, {"a": (2,)})) == [1, {"a": [2]}]
    with pytest.raises(ReturnValueNotSerializable, match=r"f\(\) returned .* Decimal") as caught:
        checked_return_value("f", [decimal.Decimal(1)])

    assert isinstance(caught.value, TypeError)


# -- description -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ([42], {}, "f(42)"),
        ([], {}, "f()"),
        (["a", None], {"key": [1, 2]}, "f('a', None, key=[1, 2])"),
        (["ü\x00"], {}, "f('ü\\x00')"),
        (["x" * 100], {}, f"f('{'x' * 60}…')"),
        ([list(range(50))], {}, "f([… 50 …])"),
        ([{str(i): i for i in range(11)}], {}, "f({… 11 …})"),
        (list(range(12)), {}, "f(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …)"),
    ],
)
def test_a_description_is_the_call_as_a_person_writes_it(args: Any, kwargs: Any, text: str) -> None:
    assert describe("f", args, kwargs) == text


def test_a_description_is_bounded() -> None:
    text = describe("f", ["y" * 60] * 10, {})

    assert len(text) == 200
    assert text.endswith("…)")
