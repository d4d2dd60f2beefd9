"""Options are checked at import: what is unknown or wrong never reaches a worker."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from django_tasks import django_task
from django_tasks.calls.options import TaskOptions, changed, checked_queue
from django_tasks.calls.retries import Backoff
from django_tasks.errors import InvalidTaskOptions, TaskQueueError
from django_tasks.framework import InvalidTask
from tests.tasks import add


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("retrys", "retries"),
        ("throw", "throws"),
        ("queue_nam", "queue_name"),
        ("prioritiy", "priority"),
        ("expire", "expires"),
        ("max_losts", "max_lost"),
        ("back_off", "backoff"),
        # Celery's and RQ's words
        ("countdown", "run_after"),
        ("eta", "run_after"),
        ("link", "on_success"),
        ("link_error", "on_failure"),
        ("on_stopped", "on_cancelled"),
        ("at_front", "priority"),
        ("max_retries", "retries"),
        ("autoretry_for", "retry_for"),
        ("bind", "takes_context"),
    ],
)
def test_an_unknown_option_is_told_what_was_meant(wrong: str, meant: str) -> None:
    for give in (django_task, add.using):
        taking: Any = give
        with pytest.raises(InvalidTaskOptions) as caught:
            taking(**{wrong: 1})

        said = str(caught.value)
        assert f"Unknown option {wrong!r}" in said
        assert f"Did you mean {meant!r}?" in said


def test_an_option_like_no_other_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidTaskOptions) as caught:
        django_task(zzz=1)

    assert "Did you mean" not in str(caught.value)
    assert "aliases, allow_failure, atomic, backend, backoff" in str(caught.value)


def test_a_wrong_option_is_an_invalid_task_and_a_type_error_of_ours() -> None:
    with pytest.raises(InvalidTaskOptions) as caught:
        django_task(retries=-1)

    for kind in (InvalidTask, TypeError, TaskQueueError):
        assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retries", -1),
        ("retries", 1.5),
        ("retries", True),
        ("retries", "3"),
        ("retries", None),
        ("retries", 10**9),
        ("max_lost", 0),
        ("retry_for", "ValueError"),
        ("retry_for", (ValueError, 3)),
        ("throws", ValueError("an instance")),
        ("throws", int),
        ("record", "later"),
        ("record", None),
        ("database", "nowhere"),
        ("expires", -1),
        ("expires", "1h"),
        ("expires", float("nan")),
        ("expires", True),
        ("name", ""),
        ("name", "x" * 201),
        ("name", " padded "),
        ("name", "a\x00b"),
        ("name", 3),
        ("aliases", "one"),
        ("aliases", ("ok", "")),
        ("backoff", -1),
        ("backoff", "fast"),
        ("backoff", (1, 0.5)),
        ("backoff", (1, float("nan"))),
        ("backoff", (0, float("nan"), 60)),
        ("backoff", (1, float("inf"))),
        ("backoff", (1, 2, float("inf"))),
        ("backoff", (1, 2, 60, float("nan"))),
        ("backoff", {"factor": "4"}),
        ("backoff", Backoff(first=float("nan"))),
        ("backoff", Backoff(factor=float("nan"))),
        ("backoff", (1, 2, 3, True, 5)),
        ("backoff", {"frist": 1}),
    ],
)
def test_a_wrong_value_is_named_with_its_option(name: str, value: Any) -> None:
    with pytest.raises(InvalidTaskOptions) as caught:
        django_task(**{name: value})

    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"retries": 0}, 0),
        ({"max_lost": 1}, 1),
        ({"retry_for": OSError}, (OSError,)),
        ({"retry_for": [OSError, ValueError]}, (OSError, ValueError)),
        ({"throws": ()}, ()),
        ({"record": "never"}, "never"),
        ({"database": "default"}, "default"),
        ({"expires": timedelta(minutes=1)}, 60.0),
        ({"expires": 5}, 5.0),
        ({"expires": None}, None),
        ({"name": "mail.send"}, "mail.send"),
        ({"aliases": ["old.name"]}, ("old.name",)),
        ({"backoff": 0}, Backoff(first=0.0)),
    ],
)
def test_a_right_value_is_kept_in_one_form(given: dict[str, Any], kept: Any) -> None:
    [name] = given
    value = getattr(changed(TaskOptions(), given), name)

    assert value == kept
    assert type(value) is type(kept)


def test_options_are_hashable_and_not_changed_in_place() -> None:
    first = TaskOptions()

    other = changed(first, {"retries": 7})

    assert (first.retries, other.retries) == (3, 7)
    assert hash(other) == hash(changed(first, {"retries": 7}))
    assert changed(first, {}) is first


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "a{b", "a}b", "a:b", "a\tb", "a\x00b", 3])
def test_a_queues_name_that_keys_can_not_bear_is_refused(name: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="queue's name"):
        checked_queue(name)
    with pytest.raises(InvalidTaskOptions):
        django_task(queue=name)


@pytest.mark.parametrize("name", ["default", "Почта", "a-b_c.d/e", "x" * 100])
def test_any_other_name_is_a_queues(name: str) -> None:
    assert add.using(queue=name).queue_name == name


def test_what_belongs_to_the_task_is_not_given_to_using() -> None:
    using: Any = add.using

    with pytest.raises(InvalidTaskOptions, match="takes_context: this belongs to the task"):
        using(takes_context=True)


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        "tomorrow",
        date(2050, 1, 1),
        True,
        timedelta.max,
        timedelta.min,
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
)
def test_run_after_is_a_time_that_a_record_can_hold(wrong: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match="run_after is ") as caught:
        add.using(run_after=wrong)

    assert isinstance(caught.value, InvalidTask)


def test_a_time_belongs_to_a_call() -> None:
    for given in ({"expires": datetime(2050, 1, 1, tzinfo=UTC)}, {"run_after": timedelta(1)}):
        options: Any = given
        with pytest.raises(InvalidTaskOptions, match=rf"task\.using\({next(iter(given))}="):
            django_task(**options)
