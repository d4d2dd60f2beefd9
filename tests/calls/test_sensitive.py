"""Sensitive arguments are shown nowhere; what tasks supply is inert and bounded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from django_tasks import django_task
from django_tasks.broker import get_broker
from django_tasks.calls import registry
from django_tasks.calls.arguments import MAX_DESCRIPTION, describe
from django_tasks.calls.sensitive import redacted, scrubbed, shown_call
from django_tasks.errors import (
    ArgumentMismatch,
    ArgumentNotSerializable,
    ArgumentsTooLarge,
    InvalidTaskOptions,
)
from django_tasks.models import TaskRecord
from django_tasks.ops.inspection import inspect

pytestmark = pytest.mark.django_db(transaction=True)
Work = Callable[..., None]

CARD = "4111-1111\t\"1111\" '1111' é"
RTL, ESCAPE = "\u202e", "\x1b[31m"
HOSTILE = f"<script>alert(1)</script>{RTL}{ESCAPE}\0"


def pay(order: int, card: Any, *more: Any, note: str = "", **rest: Any) -> None:
    """Every kind of parameter."""


@django_task(sensitive=("card",), retries=0)
def pay_card(order: int, card: Any, note: str = "") -> str:
    if note == "tell":
        raise ValueError(f"{order} refused: {card}")
    if note == "quote":
        raise KeyError({"card": card})
    if note == "json":
        raise ValueError(json.dumps({"card": card}))
    return "paid"


@django_task(sensitive=("card",), retries=1, backoff=0, takes_context=True)
async def pay_later(context: Any, card: Any) -> None:
    raise ConnectionError(f"no line for {card}")


@django_task(sensitive=("secrets", "words"), retries=0)
def keep(*secrets: Any, name: str = "", **words: Any) -> None:
    """All of the rest is sensitive."""


@django_task(retries=0)
def shout(text: str, **words: Any) -> None:
    raise ValueError(text)


def looked_at(result: Any) -> Any:
    get_broker().settle()
    return inspect(result.id)


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "shown"),
    [
        (pay_card, [1, CARD], {}, ([1, "***"], {})),
        (pay_card, [1], {"card": CARD}, ([1], {"card": "***"})),
        (pay_card, [], {"card": [CARD, {"n": 1}], "order": 1}, ([], {"card": "***", "order": 1})),
        (pay_card, [1, CARD, "n", CARD], {}, ([1, "***", "n", "***"], {})),  # fits no more
        (pay_card, [1], {"crad": CARD}, ([1], {"crad": "***"})),
        (pay_later, [CARD], {}, (["***"], {})),
        (keep, [1, 2], {"name": "a", "b": 2}, (["***"] * 2, {"name": "a", "b": "***"})),
        (shout, ["a"], {"b": 1}, (["a"], {"b": 1})),
    ],
)
def test_an_argument_is_redacted_however_it_is_passed(
    task: Any, args: Any, kwargs: Any, shown: Any
) -> None:
    assert redacted(task, args, kwargs) == redacted(task.task_name, args, kwargs) == shown


def test_single_names_of_a_kwargs_may_be_sensitive() -> None:
    task = django_task(name="sensitive.rest", sensitive=("token", "more"))(pay)

    shown = redacted(task, [1, "card", 2, 3], {"token": "t", "other": "o", "note": "n"})

    assert shown == ([1, "card", "***", "***"], {"token": "***", "other": "o", "note": "n"})


@pytest.mark.parametrize(
    ("sensitive", "says"),
    [
        (("crad",), "Did you mean 'card'"),
        (("context",), "Its parameters: card"),
        ("card", "must be a tuple"),
        ((7,), "must be text"),
    ],
)
def test_a_name_that_is_no_parameter_is_an_error_at_import(sensitive: Any, says: str) -> None:
    with pytest.raises(InvalidTaskOptions, match=says):
        django_task(name="sensitive.wrong", sensitive=sensitive, takes_context=True)(pay_later.func)
    with pytest.raises(InvalidTaskOptions, match="belongs to the task"):
        pay_card.using(sensitive=())


@pytest.mark.parametrize("record", ["first", "after", "never"])
def test_inspect_and_descriptions_do_not_show_it(
    work: Work, capsys: pytest.CaptureFixture[str], record: str
) -> None:
    result = pay_card.using(record=record).enqueue(71, card=CARD)
    waiting = looked_at(result)
    call_command("tasks", "inspect", result.id)
    call_command("tasks", "inspect", result.id, "--json")
    printed = capsys.readouterr().out
    work()
    done = looked_at(result)

    for found in (waiting, done):
        assert "4111" not in str(found)
    assert json.loads(waiting.broker["kwargs"]) == {"card": "***"}
    assert "4111" not in printed
    if record != "never":
        assert done.row["description"] == "pay_card(71, card=***)"
        assert (done.row["args"], done.row["kwargs"]) == ([71], {"card": "***"})
        assert TaskRecord.objects.get(pk=result.id).kwargs == {"card": CARD}  # the true one


def test_it_stays_hidden_when_the_task_is_gone_or_the_option_is_new(queue: Any) -> None:
    kept = TaskRecord.objects.get(pk=pay_card.enqueue(71, CARD).id)
    kept.task_name = "gone.pay"
    older = TaskRecord(
        task_name=pay_card.task_name, args=[71, CARD], description=f"pay_card(71, {CARD})"
    )

    assert shown_call(kept) == ([71, "***"], {}, "pay(71, ***)")
    assert shown_call(older) == ([71, "***"], {}, "pay_card(71, ***)")


@pytest.mark.parametrize("note", ["tell", "quote", "json"])
def test_errors_and_logs_of_a_run_do_not_show_it(
    work: Work, caplog: pytest.LogCaptureFixture, note: str
) -> None:
    caplog.set_level(logging.DEBUG)
    result = pay_card.enqueue(71, CARD, note=note)
    work()

    kept = TaskRecord.objects.get(pk=result.id)
    assert kept.status == "FAILED"
    assert "***" in kept.error_message
    assert "4111" not in kept.error_message + kept.traceback
    assert "pay_card" in kept.traceback
    [attempt] = kept.attempts.all()
    assert "4111" not in attempt.error_message + attempt.traceback
    assert "4111" not in caplog.text
    assert f"pay_card(71, ***, note='{note}')" in caplog.text
    assert "line" in caplog.text  # the traceback, made fit to be shown


def test_a_retried_coroutine_does_not_show_it(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    result = pay_later.enqueue({"number": CARD, "year": 2030})
    work()

    kept = TaskRecord.objects.get(pk=result.id)
    told = [kept.error_message, kept.traceback, caplog.text]
    told += [run.error_message + run.traceback for run in kept.attempts.all()]
    assert kept.attempts.count() == 2
    for text in told:
        assert "4111" not in text
        assert "2030" not in text
    assert kept.error_message == "no line for {'number': '***', 'year': ***}"


def test_a_value_is_looked_for_before_a_text_is_cut() -> None:
    long = "x" * 20_000

    assert scrubbed(f"a {long} b", pay_card, [1, long], {}) == "a *** b"
    assert scrubbed("abc 123 b", pay_card, [1, ["abc", 123, True, None]], {}) == "abc 123 b"
    many = scrubbed("secret-7", pay_card, [1, [f"secret-{n}" for n in range(5000)]], {})
    assert "secret" not in many


def test_errors_of_the_enqueue_do_not_show_it(queue: Any, settings: Any) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "MAX_ARGUMENT_BYTES": 200}
    wrong: Any = pay_card

    with pytest.raises(ArgumentNotSerializable, match="'card', which is sensitive") as no_json:
        wrong.enqueue(1, {(CARD, 1): 2})
    with pytest.raises(ArgumentNotSerializable, match="'b', which") as in_rest:
        keep.enqueue(b={(CARD, 1): 2})
    with pytest.raises(ArgumentMismatch) as mismatch:
        wrong.enqueue(1, CARD, crad=CARD)
    with pytest.raises(ArgumentsTooLarge) as too_large:
        wrong.enqueue(1, CARD * 100)

    for caught in (no_json, in_rest, mismatch, too_large):
        assert "4111" not in str(caught.value)
        assert "4111" not in str(vars(caught.value))


# -- hostile values ---------------------------------------------------------------------------


def test_hostile_arguments_and_errors_are_inert_and_bounded(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    result = shout.enqueue(HOSTILE, **{HOSTILE: HOSTILE})
    big = shout.enqueue("x" * 900_000, **{"y" * 1000: 1})
    work()

    for one in (result, big):
        kept = TaskRecord.objects.get(pk=one.id)
        assert kept.description.isprintable()
        assert len(kept.description) <= MAX_DESCRIPTION
        assert len(kept.error_message) <= 10_000
    ours = [one for one in caplog.records if one.name.startswith("django_tasks")]
    logged = "\n".join(map(caplog.handler.format, ours))  # Django's own lines are its own
    assert RTL not in logged
    assert "\x1b" not in logged
    assert "\\u202e" in logged
    assert len(logged) < 50_000
    assert "Traceback" in logged


@pytest.mark.parametrize(
    "value", [[["x" * 10**6] * 9] * 9, "x" * 10**6, {"k" * 10**6: 1}, 10**4000]
)
def test_a_description_is_bounded(value: Any) -> None:
    told = describe("f" * 10**6, [value], {"k" * 10**6: value, RTL: ESCAPE})

    assert len(told) <= MAX_DESCRIPTION
    assert told.isprintable()


def test_a_mismatch_of_hostile_names_is_inert_and_bounded() -> None:
    with pytest.raises(ArgumentMismatch) as caught:
        pay_card.s(1, "c", **{HOSTILE: 1, "x" * 10**6: 2}).draft()  # type: ignore[arg-type]

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


def test_the_tasks_are_the_ones_registered() -> None:
    assert registry.find(pay_card.task_name) is pay_card
