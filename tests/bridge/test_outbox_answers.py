"""Nobody waits for the answer to a push of rows: what it was is heard at the next call (law 2)."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_tasks.bridge.deliver import deliver
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings, task_settings
from django_tasks.models import TaskRecord
from tests.bridge.calls import noted, numbers, rows, thrown_away
from tests.servers import Server
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(settings: Any, queue: TaskSettings) -> Iterator[Server]:
    """One that ``DJANGO_TASKS`` names, and to which a connection is open."""
    with Server() as started:
        settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": started.url}
        add.enqueue(0, 1)
        get_broker().settle()
        yield started


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_law_2_an_enqueue_does_not_wait_for_the_answer(server: Server) -> None:
    server.pause()
    began = time.perf_counter()
    add.enqueue(1, 1)
    took = time.perf_counter() - began
    server.resume()

    assert took < 0.25  # a producer's time-out
    assert numbers(task_settings()) == [0, 1]


def test_law_2_a_push_that_was_refused_is_told_and_delivered(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        add.enqueue(1, 1)
        assert warnings(caplog) == []

        get_broker().settle()

        [said] = warnings(caplog)
        assert "wait in the database" in said
        assert "maxmemory" in said
        client.config_set("maxmemory", 0)
    broker = Broker(task_settings())
    assert deliver(broker, "default").pushed == 1
    assert broker.backlog("default")["ready"] == 2
    broker.close()


def test_a_read_of_this_process_sees_what_it_enqueued(server: Server) -> None:
    results = [add.enqueue(number, 1) for number in range(1, 20)]

    for result in results:
        result.refresh()

    assert {result.state for result in results} == {"READY"}


def test_law_2_what_threads_enqueue_one_after_the_other_arrives_in_order(server: Server) -> None:
    def enqueue(number: int) -> None:
        add.enqueue(number, 1)
        connection.close()

    for number in range(1, 30):
        thread = threading.Thread(target=enqueue, args=(number,))
        thread.start()
        thread.join()

    assert numbers(task_settings()) == list(range(30))


def test_a_forked_child_leaves_the_answer_to_its_parent(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.pause()
    add.enqueue(1, 1)

    pid = os.fork()
    if not pid:
        began = time.perf_counter()
        get_broker().settle()
        os._exit(time.perf_counter() - began > 0.2)
    _, status = os.waitpid(pid, 0)
    server.resume()
    get_broker().settle()

    assert status == 0
    assert warnings(caplog) == []
    assert numbers(task_settings()) == [0, 1]


def test_a_server_that_was_restarted_knows_the_script_of_the_next_push(server: Server) -> None:
    server.restart()

    add.enqueue(1, 1)

    get_broker().settle()
    with server.client() as client:
        assert "errorstat_NOSCRIPT" not in client.info("errorstats")
    assert numbers(task_settings()) == [1]


def test_what_has_no_row_waits_for_the_answer(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)

    noted.enqueue(1)

    assert rows() == [0, 1]  # of record="after" there is a row now
    assert TaskRecord.objects.pending().count() == 2
    assert "wait in the database" in warnings(caplog)[0]
    thrown_away.enqueue(2)
    assert "Lost 1 calls" in warnings(caplog)[-1]
