"""The states: what may follow what, and how they look in Django's four."""

from __future__ import annotations

import pytest

from django_tasks.framework import TaskResultStatus
from django_tasks.states import (
    FINAL,
    TRANSITIONS,
    WAITING,
    Recording,
    Result,
    State,
    django_status,
)

READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("PENDING", READY),
        ("DEFERRED", READY),
        ("SCHEDULED", READY),
        ("READY", READY),
        ("RUNNING", RUNNING),
        ("SUCCESSFUL", SUCCESSFUL),
        ("FAILED", FAILED),
        ("CANCELLED", FAILED),
        ("EXPIRED", FAILED),
    ],
)
def test_each_state_is_one_of_djangos_four(state: str, status: TaskResultStatus) -> None:
    assert django_status(state) is status


def test_every_state_waits_runs_or_is_final() -> None:
    assert {"RUNNING"} | WAITING | FINAL == set(State)
    assert not WAITING & FINAL
    assert {"SUCCESSFUL", "FAILED", "CANCELLED", "EXPIRED"} == FINAL


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(State)


def test_a_final_state_ends_its_round() -> None:
    for state in FINAL:
        assert TRANSITIONS[state] == {State.PENDING}


def test_whatever_is_not_final_can_be_cancelled_and_expire() -> None:
    for state in set(State) - FINAL:
        assert {State.CANCELLED, State.EXPIRED} <= TRANSITIONS[state]


def test_only_what_is_ready_is_claimed_and_only_what_runs_ends_by_itself() -> None:
    before = {target: {one for one in State if target in TRANSITIONS[one]} for target in State}

    assert before[State.RUNNING] == {State.READY}
    assert before[State.SUCCESSFUL] == before[State.FAILED] == {State.RUNNING}
    assert before[State.PENDING] == FINAL


def test_words_are_what_is_written() -> None:
    assert [str(word) for word in Recording] == ["first", "after", "never"]
    assert Recording.values() == ("first", "after", "never")
    assert {word.value for word in Result} == set(
        "succeeded|failed|retried|snoozed|timed out|cancelled|lost|stopped".split("|")
    )
    assert max(len(state) for state in State) <= 10  # the column's width
