"""The signal that ends a run: it reaches the body of the run that is meant, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from django_tasks.calls.context import RunCancelled
from django_tasks.worker import cancellation
from django_tasks.worker.board import Board
from django_tasks.worker.heart import Child, Death, Heart
from tests.conftest import make_message
from tests.wheels import ROOT


@pytest.fixture
def board() -> Iterator[Board]:
    """Of this very process, which obeys it."""
    made, before = Board(["default"]), signal.getsignal(cancellation.SIGNAL)
    cancellation.obey(made)
    yield made
    signal.signal(cancellation.SIGNAL, before)
    made.close()


def hit() -> None:
    os.kill(os.getpid(), cancellation.SIGNAL)


def test_a_run_that_was_told_before_its_body_began_does_not_begin(board: Board) -> None:
    begun = []
    board.cancel(11)
    hit()  # it is on its way: on the board, and not in its body yet

    with pytest.raises(RunCancelled):
        cancellation.call(11, lambda: begun.append(11))

    assert begun == []
    assert cancellation.was_asked(11)
    assert cancellation.call(12, lambda: "the next one") == "the next one"


def test_another_signal_is_nothing_to_a_task_that_tidies_up(board: Board) -> None:
    def body() -> str:
        board.cancel(21)
        try:
            hit()
        except RunCancelled:
            hit()
            return "tidied up"
        return "not told"

    assert cancellation.call(21, body) == "tidied up"


def test_a_signal_for_a_run_that_is_over_is_nothing_to_the_next(board: Board) -> None:
    board.cancel(31)

    assert cancellation.call(32, hit) is None


HAIL = """
import random, signal
from django_tasks.calls.context import RunCancelled
from django_tasks.worker import cancellation
from django_tasks.worker.board import Board

board = Board(["default"])
cancellation.obey(board)
# The same handler, called by a clock that strikes at any line there is.
signal.signal(signal.SIGALRM, signal.getsignal(cancellation.SIGNAL))
ended = {True: 0, False: 0}
body = lambda: sum(range(200))
fence = 0
while min(ended.values()) < 500:
    fence += 1
    board.cancel(fence)
    signal.setitimer(signal.ITIMER_REAL, random.random() * 2e-5 + 1e-6)
    try:
        cancellation.call(fence, body)
        ended[False] += 1
    except RunCancelled:
        ended[True] += 1
print("whole")
"""


def test_law_8_a_signal_at_any_line_is_raised_within_the_call_alone() -> None:
    """Where the loop of a child stands, there is nobody to catch it."""
    done = subprocess.run(
        [sys.executable, "-c", HAIL], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert (done.stdout, done.stderr) == ("whole\n", "")


NEWBORN = """
import os, signal, sys
from django_tasks.worker.processes import fork

IS_PLAIN = "import signal; print(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL)"

def live():
    os.kill(os.getpid(), signal.SIGUSR1)
    os.write(1, b"alive ")
    os.execv(sys.executable, [sys.executable, "-c", IS_PLAIN])

_, status = os.waitpid(fork(live), 0)
print(status)
"""


def test_a_strangers_signal_does_not_end_a_child_that_is_just_born() -> None:
    """And what it starts as a program of its own knows nothing of that."""
    done = subprocess.run(
        [sys.executable, "-c", NEWBORN], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "alive True\n0\n", done.stderr


def test_what_began_while_its_process_was_killed_for_another_is_not_charged(
    broker: Broker,
) -> None:
    """Between the look at a board and the signal, a run may end and the next one begin."""
    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [make_message(max_lost=1) for _ in range(2)])
    cancelled, innocent = broker.claim("mail", "a", 2)
    board = Board(["mail"])
    board.hold([cancelled, innocent])
    board.start(cancelled)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    heart = Heart(broker, ["mail"])
    child = heart.children[process.pid] = Child("a", process.pid, board)
    broker.cancel("mail", [(cancelled.id, 1, "")], "hard")

    heart.beat()
    board.finish(cancelled, Outcome.successful(cancelled, "well").to_bytes())
    board.start(innocent)
    assert process.wait(10) == -signal.SIGKILL
    del heart.children[process.pid]
    heart.deaths.append(Death("a", board.read(), "SIGKILL", None, child.killed_for))
    heart.report_deaths()

    process.communicate()
    found = broker.snapshots("mail", [cancelled.id, innocent.id])
    assert (found[innocent.id].state, found[innocent.id].lost) == ("READY", 0)
    assert [one.outcome for one in found[innocent.id].attempts] == ["stopped"]
    assert found[cancelled.id].state == "SUCCESSFUL", "it ended well before that"
