"""board: what a child writes there its supervisor reads, whenever the child dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from django_tasks.broker.message import Outcome, Report
from django_tasks.worker.board import MAX_REPORT, MAX_TOLD, SLOTS, Board
from tests.conftest import make_message

QUEUES = ["mail", "bulk"]


@pytest.fixture
def board() -> Board:
    return Board(QUEUES)


def in_child(live: Callable[[], None]) -> None:
    """Run in another process, which is killed at its end."""
    pid = os.fork()
    if not pid:
        try:
            live()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_what_a_dead_child_held_can_be_read(board: Board) -> None:
    held = [make_message(queue="bulk", fence=1_795_000_000_000_000 + i) for i in range(3)]
    before = time.monotonic()

    def live() -> None:
        board.hold(held)
        board.start(held[0])
        board.finish(held[0])
        board.start(held[1])

    in_child(live)

    lines = {line.id: line for line in board.read()}
    assert [lines[one.id].fence for one in held] == [one.fence for one in held]
    assert [lines[one.id].is_running for one in held] == [False, True, False]
    assert {line.queue for line in lines.values()} == {"bulk"}
    assert all(before <= line.since <= time.monotonic() for line in lines.values())


def test_what_was_acknowledged_or_given_back_is_not_on_it(board: Board) -> None:
    first, second = make_message(), make_message()

    def live() -> None:
        board.hold([first, second])
        board.start(first)
        board.clear([first.id, "never held"])

    in_child(live)

    assert [line.id for line in board.read()] == [second.id]


def test_how_a_run_ended_can_be_read_until_it_was_acknowledged(board: Board) -> None:
    first, second, large = make_message(), make_message(), make_message()
    ended = Outcome.successful(first, "café \ud800")
    garbled = Outcome(second, "failed", fields={"error_message": "a \0 within"})
    report = Outcome.successful(large, "x" * MAX_REPORT)

    def live() -> None:
        board.hold([first, second, large])
        for one in (ended, garbled, report):
            board.start(one.message)
            board.finish(one.message, one.to_bytes())

    in_child(live)

    told = {line.id: line.report for line in board.read()}
    assert Report(told[first.id]).arguments == ended.arguments
    assert told[second.id] == b"", "the character that parts the texts is in one of them"
    assert told[large.id] == b"", "the child tells it alone"


def test_reports_find_room_again_once_they_were_told(board: Board) -> None:
    for _ in range(3):
        messages = [make_message() for _ in range(100)]
        board.hold(messages)
        for one in messages:
            board.finish(one, Outcome.successful(one, "x" * 900).to_bytes())
        assert all(line.report for line in board.read())
        board.clear(one.id for one in messages)


def test_a_full_board_is_used_again(board: Board) -> None:
    for _ in range(3):
        messages = [make_message() for _ in range(SLOTS)]
        board.hold(messages)
        assert {line.id for line in board.read()} == {one.id for one in messages}
        board.clear(one.id for one in messages)

    assert board.read() == []


def test_what_the_running_one_told_last_can_be_read_when_it_died(board: Board) -> None:
    message = make_message(queue="bulk", fence=1_795_000_000_000_000)

    def live() -> None:
        for number in range(10):
            board.tell(message, b"%d" % number)

    assert board.told() is None
    in_child(live)

    told = board.told()
    assert told is not None
    assert (told.id, told.fence, told.queue) == (message.id, message.fence, "bulk")
    assert (told.report, told.count) == (b"9", 10)
    assert board.told(9) == told
    assert board.told(10) is None, "nothing new"


def test_who_tells_all_the_time_is_read_whole(board: Board) -> None:
    """Never half of one and half of the next, though the writer does not wait for the reader."""
    message = make_message(fence=1)
    reports = [bytes([65 + number % 26]) * (MAX_TOLD - number % 50) for number in range(300)]
    pid = os.fork()
    if not pid:
        try:
            while True:
                for report in reports:
                    board.tell(message, report)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    read = []
    end = time.monotonic() + 10
    while len(read) < 500 and time.monotonic() < end:
        told = board.told(read[-1].count if read else 0)
        if told is not None:
            read.append(told)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert len(read) > 20
    assert all(told.report == reports[(told.count - 1) % 300] for told in read)


def test_what_is_told_leaves_outcomes_alone_and_has_a_limit(board: Board) -> None:
    messages = [make_message() for _ in range(100)]
    board.hold(messages)
    for one in messages:
        board.finish(one, Outcome.successful(one, "x" * 2000).to_bytes())
    before = [(line.id, line.report) for line in board.read()]

    for _ in range(5):
        board.tell(messages[0], b"y" * MAX_TOLD)
    board.tell(messages[0], b"z" * (MAX_TOLD + 1))

    assert [(line.id, line.report) for line in board.read()] == before
    told = board.told()
    assert told is not None
    assert told.report == b"y" * MAX_TOLD
