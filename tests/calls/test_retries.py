"""The policy: which errors are retried, how often, and how long until the next attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_tasks import Retry, Snooze
from django_tasks.calls.options import TaskOptions
from django_tasks.calls.retries import Backoff, RetryPolicy, to_backoff
from django_tasks.errors import InvalidTaskOptions

STEADY = Backoff(first=2.0, factor=3.0, ceiling=50.0, jitter=False)


def test_a_delay_grows_by_its_factor_up_to_its_ceiling() -> None:
    assert [STEADY.delay(attempt) for attempt in range(1, 6)] == [2, 6, 18, 50, 50]


def test_a_delay_after_very_many_attempts_is_the_ceiling() -> None:
    assert STEADY.delay(100_000) == 50


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        STEADY.delay(attempt)


def test_full_jitter_is_uniform_below_the_delay() -> None:
    backoff = Backoff(first=2.0, factor=3.0, ceiling=50.0)

    delays = [backoff.delay(2) for _ in range(2000)]

    assert 0 <= min(delays) < 0.5
    assert 5.5 < max(delays) <= 6
    assert 2.7 < sum(delays) / len(delays) < 3.3


def test_the_default_is_exponential_with_full_jitter() -> None:
    backoff = TaskOptions().backoff

    assert backoff.jitter
    assert backoff.factor > 1
    assert max(backoff.delay(1) for _ in range(100)) <= backoff.first


@given(st.integers(1, 100_000))
def test_a_backoff_of_zero_is_at_once(attempt: int) -> None:
    assert to_backoff(0).delay(attempt) == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (5, Backoff(first=5.0)),
        (timedelta(minutes=2), Backoff(first=120.0)),
        ((5,), Backoff(first=5.0)),
        ((5, 3), Backoff(5.0, 3)),
        ([timedelta(seconds=1), 1, timedelta(hours=1), False], Backoff(1.0, 1, 3600.0, False)),
        ({"ceiling": 10, "jitter": False}, Backoff(ceiling=10.0, jitter=False)),
        (Backoff(9.0), Backoff(9.0)),
    ],
)
def test_a_backoff_is_written_in_several_ways(written: Any, meant: Backoff) -> None:
    assert to_backoff(written) == meant


def test_retries_are_counted_after_the_first_attempt() -> None:
    policy = RetryPolicy(2, (BaseException,), STEADY)

    assert [policy.delay_after(ValueError(), attempt) for attempt in (1, 2, 3)] == [2, 6, None]


def test_without_retries_nothing_is_repeated() -> None:
    policy = RetryPolicy(0, (BaseException,), STEADY)

    assert policy.delay_after(ValueError(), 1) is None
    assert policy.delay_after(Retry(in_=1), 1) is None


def test_only_the_errors_named_are_retried_and_their_subclasses() -> None:
    policy = RetryPolicy(3, (OSError,), STEADY)

    assert policy.delay_after(ConnectionResetError(), 1) == 2
    assert policy.delay_after(ValueError(), 1) is None


def test_retry_by_hand_needs_no_name_and_sets_its_own_delay() -> None:
    policy = RetryPolicy(3, (OSError,), STEADY)

    assert policy.delay_after(Retry(in_=40), 1) == 40
    assert policy.delay_after(Retry(in_=timedelta(minutes=1)), 1) == 60
    assert policy.delay_after(Retry(in_=0), 1) == 0
    assert policy.delay_after(Retry("later"), 2) == 6


def test_retry_and_snooze_have_a_reason_and_a_delay() -> None:
    for kind in (Retry, Snooze):
        said = kind("the bank is closed", in_=timedelta(seconds=90))
        assert (str(said), said.reason, said.delay) == ("the bank is closed",) * 2 + (90.0,)
        assert kind().delay is None


@pytest.mark.parametrize("wrong", [-1, "1", float("nan"), float("inf"), True, timedelta(-1)])
def test_a_wrong_delay_says_so_where_it_is_raised(wrong: Any) -> None:
    with pytest.raises(InvalidTaskOptions, match=r"Retry\(in_=…\)"):
        Retry(in_=wrong)
