"""progress and log: what a task tells, how it is bounded, and who reads it when."""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from threading import Thread
from typing import Any

import pytest

from django_tasks import TaskContext, django_task
from django_tasks.calls.progress import (
    MAX_LINE,
    MAX_LINES,
    MAX_NUMBER,
    MAX_TEXT,
    Progress,
    Reporter,
    read_report,
)
from django_tasks.worker.board import MAX_TOLD

IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
HOSTILE = '\x00\x1b[2J\u202e<script>"\\ \ud800 \U0001f600'


@django_task(takes_context=True)
def sing(context: Any, verses: int) -> int:
    for number in range(verses):
        context.progress(number + 1, verses)
    return verses


@pytest.fixture
def context() -> TaskContext:
    return TaskContext(task_result=None)


def told(context: TaskContext) -> Progress:
    assert context.report is not None
    return context.report


# -- what is told ------------------------------------------------------------------------------


def test_each_call_replaces_the_one_before_and_lines_add_up(context: TaskContext) -> None:
    assert context.report is None
    before = datetime.now(UTC)

    context.progress(1, 4, "first")
    context.log("a line")
    context.log("%s of %d, %.1f %%", "two", 3, 4)
    context.log("100 % as it is")
    context.log("by name: %(key)s", {"key": "value"})
    context.progress(3, 4)

    found = told(context)
    assert (found.done, found.total, found.text, found.fraction) == (3, 4, "", 0.75)
    lines = ["a line", "two of 3, 4.0 %", "100 % as it is", "by name: value"]
    assert [line.text for line in found.log] == lines
    assert before <= found.log[0].at <= found.at <= datetime.now(UTC)


def test_a_task_may_log_only_or_not_know_its_total(context: TaskContext) -> None:
    context.log("a line")
    assert (told(context).done, told(context).total, told(context).fraction) == (None, None, None)

    context.progress(7)
    assert (told(context).done, told(context).total, told(context).fraction) == (7, None, None)

    context.progress(0, 0)
    assert told(context).fraction is None


@pytest.mark.parametrize(
    ("done", "shown"),
    [
        (-1, 0),
        (-0.5, 0),
        (math.nan, 0),
        (math.inf, MAX_NUMBER),
        (-math.inf, 0),
        (10**400, MAX_NUMBER),
        (-(10**400), 0),
        (Decimal("1.5"), 1.5),
        (Decimal("sNaN"), 0),
        (Fraction(10**400), 0),
        (True, 1),
        (0.1, 0.1),
    ],
)
def test_a_number_is_clamped_and_ends_no_run(context: TaskContext, done: Any, shown: float) -> None:
    context.progress(done, done)

    assert (told(context).done, told(context).total) == (shown, shown)
    assert told(context).fraction in (None, 1)


@pytest.mark.parametrize("wrong", ["3", None, [3], 1 + 2j, object()])
def test_what_is_no_number_is_an_error_that_says_so(context: TaskContext, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"done is a {type(wrong).__name__}"):
        context.progress(wrong)
    with pytest.raises(TypeError, match="total is a str"):
        context.progress(1, "10")  # type: ignore[arg-type]
    assert context.report is None


def test_more_than_all_is_all(context: TaskContext) -> None:
    context.progress(12, 10)

    assert told(context).fraction == 1


def test_what_does_not_fit_its_arguments_is_logged_as_it_is(context: TaskContext) -> None:
    class Unshowable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    context.log("%d rows", "many")
    context.log("%s", 1, 2)
    context.log("%s", Unshowable())

    assert [line.text for line in told(context).log] == ["%d rows", "%s", "%s"]


def test_hostile_text_is_data(context: TaskContext) -> None:
    context.progress(1, 2, HOSTILE)
    context.log(HOSTILE)

    assert context.reporter.report.isascii()
    assert told(context).text == HOSTILE
    assert told(context).log[0].text == HOSTILE


@pytest.mark.parametrize("letter", ["x", "\u0431", "\U0001f600", "\x00"])
def test_it_is_bounded_whatever_is_told(context: TaskContext, letter: str) -> None:
    sizes = set[int]()
    context.progress(MAX_NUMBER - 0.5, MAX_NUMBER - 0.25, letter * 10_000)
    for number in range(1000):
        context.log(f"{number} " + letter * 10_000)
        sizes.add(len(context.reporter.report))

    found = told(context)
    assert max(sizes) <= MAX_TOLD
    assert len(found.text) == MAX_TEXT
    assert found.log
    assert all(len(line.text) == MAX_LINE for line in found.log)
    assert found.log[-1].text.startswith("999 "), "the newest stay"


def test_of_short_lines_the_newest_fifty_stay(context: TaskContext) -> None:
    for number in range(1000):
        context.log("%d", number)

    assert [line.text for line in told(context).log] == [
        str(number) for number in range(1000 - MAX_LINES, 1000)
    ]


def test_several_threads_may_tell(context: TaskContext) -> None:
    def tell(name: str) -> None:
        for number in range(500):
            context.progress(number, 500, name)
            context.log("%s %d", name, number)

    threads = [Thread(target=tell, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told(context).log) == MAX_LINES
    assert json.loads(context.reporter.report)["fence"] == 0


def test_a_thread_that_outlives_its_run_is_not_heard() -> None:
    heard: list[bytes] = []
    reporter = Reporter(7, heard.append)
    reporter.progress(1, 2, "")

    reporter.end()
    reporter.progress(2, 2, "")

    assert [json.loads(report)["done"] for report in heard] == [1]


@pytest.mark.parametrize(
    "report",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        "null",
        3,
        '{"done":"1","total":null,"text":"","at":1,"log":[]}',
        '{"done":1,"total":null,"text":"","at":1e400,"log":[]}',
        '{"done":1,"total":null,"text":"","at":"x","log":[]}',
        '{"done":1,"total":null,"text":"","at":1,"log":[1]}',
        '{"done":1,"total":null,"text":"","at":1,"log":{"a":1}}',
        "[" * 100_000,
    ],
)
def test_a_report_of_foreign_hands_is_none(report: Any) -> None:
    assert read_report(report) is None


def test_a_report_of_foreign_hands_is_bounded_too() -> None:
    given = {"done": math.nan, "total": -3, "text": "x" * 10_000, "at": 1, "log": [[1, "y"]] * 900}

    found = read_report(given)

    assert found is not None
    assert (found.done, found.total, len(found.text), len(found.log)) == (0, 0, 200, 50)


# -- the logger --------------------------------------------------------------------------------


def test_a_context_without_a_result_logs_too(
    context: TaskContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_tasks.task")

    context.log("%s", "a line")

    assert caplog.messages == ["a line"]


def test_a_unit_test_reads_what_its_task_told(context: TaskContext) -> None:
    assert sing.func(context, 2) == 2

    assert told(context).fraction == 1
