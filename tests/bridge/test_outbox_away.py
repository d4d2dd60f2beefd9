"""The outbox while the broker is away: an enqueue never waits for it, and nothing is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.db import transaction

from django_tasks.bridge.deliver import deliver
from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings, task_settings
from django_tasks.models import TaskRecord
from tests.bridge.calls import noted, numbers, rows, thrown_away
from tests.servers import Server
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lone_server(settings: Any, queue: TaskSettings) -> Iterator[Server]:
    """A server that this test may stop; ``DJANGO_TASKS`` names it."""
    with Server() as started:
        settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": started.url}
        yield started


def stopped(server: Server) -> None:
    server.stop()


def paused(server: Server) -> None:
    server.pause()


@pytest.mark.parametrize("take_away", [stopped, paused])
def test_law_2_an_enqueue_does_not_wait_for_a_broker_that_is_away(
    lone_server: Server, take_away: Callable[[Server], None], caplog: pytest.LogCaptureFixture
) -> None:
    add.enqueue(0, 1)  # a connection is open: the harder case
    take_away(lone_server)
    caplog.set_level(logging.WARNING)

    def timed() -> float:
        began = time.perf_counter()
        add.enqueue(1, 1)
        return time.perf_counter() - began

    first, then = timed(), [timed() for _ in range(5)]

    assert first < 1.0  # the producer's 0.25 s, on a machine that is busy with other tests
    assert min(then) < 0.005  # the circuit is open: nobody asks
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "wait in the database" in warnings[0].getMessage()
    assert TaskRecord.objects.pending().count() == 7


def test_law_2_what_was_enqueued_meanwhile_is_delivered_when_the_broker_is_back(
    lone_server: Server,
) -> None:
    lone_server.stop()
    add.enqueue(1, 1)
    noted.enqueue(2)
    with transaction.atomic():
        add.enqueue(3, 1)
    assert rows() == [1, 2, 3]

    lone_server.start()
    broker = Broker(task_settings())
    delivered = deliver(broker, "default")

    assert delivered.pushed == 3
    assert broker.backlog("default")["ready"] == 3
    assert deliver(broker, "default").pushed == 0
    broker.close()


def test_the_circuit_closes_again_by_itself(
    lone_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_tasks.bridge.outbox.CIRCUIT", 0.0)
    lone_server.stop()
    add.enqueue(1, 1)

    lone_server.start()
    add.enqueue(2, 1)

    assert numbers(task_settings()) == [2]


def test_record_after_becomes_first_while_the_broker_is_away(lone_server: Server) -> None:
    lone_server.stop()

    with transaction.atomic():
        result = noted.enqueue(5)

    record = TaskRecord.objects.get()
    assert (str(record.id), record.status, record.args) == (result.id, "PENDING", [5])
    assert record.description == "noted(5)"


def test_record_never_is_lost_with_the_broker_and_says_so(
    lone_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    lone_server.stop()

    result = thrown_away.enqueue(5)

    assert rows() == []
    [said] = [one for one in caplog.records if "Lost 1 calls" in one.getMessage()]
    assert said.__dict__["record_ids"] == [result.id]
    assert said.levelno == logging.WARNING


def test_a_password_is_not_in_the_warning(
    queue: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://user:s3cret@127.0.0.1:1/0", "PREFIX": queue.prefix}

    add.enqueue(1, 1)

    assert "127.0.0.1:1" in caplog.text
    assert "s3cret" not in caplog.text


BAD_ADDRESSES = ["http://nowhere", "nope", "redis://127.0.0.1:1/0?no_such_option=1"]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_is_wrong_loses_nothing_and_says_so_once(
    queue: TaskSettings, settings: Any, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    settings.DJANGO_TASKS = {"BROKER": address, "PREFIX": queue.prefix}

    for number in range(3):
        add.enqueue(number, 1)
        noted.enqueue(number)

    assert rows() == [0, 0, 1, 1, 2, 2]
    [said] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "wait in the database" in said.getMessage()
    assert said.exc_info is None


def test_an_embedded_broker_whose_folder_is_a_file_loses_nothing(
    queue: TaskSettings, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    settings.DJANGO_TASKS = {
        "BROKER": "embedded://",
        "PREFIX": queue.prefix,
        "EMBEDDED_FOLDER": tmp_path / "file",
    }

    noted.enqueue(1)
    noted.enqueue(2)

    assert rows() == [1, 2]


@pytest.mark.parametrize(
    "address",
    [
        "redis://:s3cret@h/0",
        "redis://:s3cret/x@h/0",
        "redis://:s3cret#x@h/0",
        "redis://:s3cret?x@h/0",
        "redis://:s3c@s3cret@h/0",
        "redis://s3cret@h",
        "redis:/:s3cret@h",
        ":s3cret@h",
        "rediss://h/0?ssl_password=s3cret",
        "redis://h/0?password=s3cret&socket_timeout=x",
        "redis+sentinel://u:s3cret@h:x/service",
    ],
)
def test_no_address_however_badly_written_shows_its_password(
    queue: TaskSettings, settings: Any, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    settings.DJANGO_TASKS = {"BROKER": address, "PREFIX": queue.prefix}

    add.enqueue(1, 1)
    found = [*checks.run_checks(), *caplog.records]

    assert caplog.records
    assert "s3cret" not in caplog.text + "".join(map(str, found))


@pytest.mark.parametrize(
    "given", ["redis://:s3cret@h/0", {"BROKER": ["redis://:s3cret@h/0"]}, {1: "s3cret"}]
)
def test_no_setting_of_a_wrong_shape_shows_a_password(settings: Any, given: Any) -> None:
    settings.DJANGO_TASKS = given

    found = checks.run_checks(tags=["django_tasks"])

    assert [one.id for one in found if one.id == "django_tasks.E002"]
    assert "s3cret" not in "".join(map(str, found))
