"""duties: walks over rows in slices, one worker at a time, begun anew by a second loss (law 6)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.bridge.translate import to_message
from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.worker import duties
from django_tasks.worker.duties import Deliverer, Duty, perform
from django_tasks.worker.duties import duties as table_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker(queue: TaskSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Its slices are of one step each, so that what comes between them can be tested."""
    monkeypatch.setattr(duties, "SLICE", -1.0)
    made = Broker(queue)
    made.beat(["default"], ["c"], register=True)
    made.announce(["default"])
    yield made
    made.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks of ten rows a step."""
    whole = duties.deliver
    monkeypatch.setattr(duties, "deliver", lambda *args, **given: whole(*args, **given, batch=10))


def make_rows(count: int, **given: Any) -> list[TaskRecord]:
    given = {"status": "READY", "revision": 1, "fence": 1, **given}
    return TaskRecord.objects.bulk_create(
        TaskRecord(task_name="tests.tasks.add", args=[1, number], **given)
        for number in range(count)
    )


def begin_era(broker: Broker, redis_client: Any) -> str:
    """Lose the memory; the new era's first three seconds are over."""
    for key in redis_client.keys(f"{broker.settings.prefix}:*"):
        redis_client.delete(key)
    return known_era(broker, redis_client)


def known_era(broker: Broker, redis_client: Any) -> str:
    broker.announce(["default"], anew=True)
    pulse = broker.beat(["default"], ["c"], register=True)["default"]
    redis_client.hset(broker.keys("default").meta, "since", "1")
    return pulse.era


def ready(broker: Broker) -> int:
    return broker.backlog("default")["ready"]


def delivered(broker: Broker) -> str:
    return broker.beat(["default"], [])["default"].delivered


def test_law_6_a_rebuild_goes_slice_by_slice_and_notes_its_era_at_the_end(
    broker: Broker, redis_client: Any, small_steps: None
) -> None:
    make_rows(25)
    era = begin_era(broker, redis_client)
    deliverer = Deliverer(broker, ["default"])

    pauses = [deliverer.rebuild(), deliverer.rebuild()]

    assert pauses == [duties.REBUILD_PAUSE] * 2
    assert (ready(broker), delivered(broker)) == (20, "")
    assert deliverer.rebuild() is None
    assert (ready(broker), delivered(broker)) == (25, era)


def test_law_6_nothing_is_rebuilt_in_the_first_seconds_of_an_era(
    broker: Broker, redis_client: Any
) -> None:
    make_rows(1)
    begin_era(broker, redis_client)
    now = broker.client.time()
    redis_client.hset(broker.keys("default").meta, "since", str(now[0] * 1_000_000 + now[1]))

    assert Deliverer(broker, ["default"]).rebuild() is None

    assert (ready(broker), delivered(broker)) == (0, "")


def test_law_6_a_second_loss_in_mid_rebuild_starts_over(
    broker: Broker, redis_client: Any, small_steps: None
) -> None:
    make_rows(25)
    deliverer = Deliverer(broker, ["default"])
    first = begin_era(broker, redis_client)
    deliverer.rebuild()
    deliverer.rebuild()

    second = begin_era(broker, redis_client)

    assert broker.delivered("default", first) is False
    assert [deliverer.rebuild() is None for _ in range(3)] == [False, False, True]
    assert (ready(broker), delivered(broker)) == (25, second)


def test_law_6_a_loss_after_the_last_row_is_not_sealed_over(
    broker: Broker, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rows(5)
    deliverer = Deliverer(broker, ["default"])
    begin_era(broker, redis_client)
    whole = duties.deliver

    def then_lost(*args: Any, **given: Any) -> Any:
        step = whole(*args, **given)
        begin_era(broker, redis_client)
        return step

    with monkeypatch.context() as patched:
        patched.setattr(duties, "deliver", then_lost)
        deliverer.rebuild()

    assert (ready(broker), delivered(broker)) == (0, "")
    deliverer.rebuild()
    assert ready(broker) == 5


def test_law_6_a_keeper_that_died_in_mid_rebuild_is_succeeded(
    broker: Broker, redis_client: Any, small_steps: None
) -> None:
    make_rows(25)
    era = begin_era(broker, redis_client)
    Deliverer(broker, ["default"]).rebuild()

    heir = Deliverer(broker, ["default"])

    assert [heir.rebuild() is None for _ in range(3)] == [False, False, True]
    assert (ready(broker), delivered(broker)) == (25, era)


def test_one_keeper_rebuilds_however_long_it_takes(
    broker: Broker, redis_client: Any, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "close_old_connections", lambda: None)  # the test's own
    make_rows(95)
    begin_era(broker, redis_client)
    [mine] = [one for one in table_of(Deliverer(broker, ["default"])) if one.name == "rebuild"]
    [theirs] = [one for one in table_of(Deliverer(broker, ["default"])) if one.name == "rebuild"]

    for _ in range(5):
        assert perform(mine, broker, "a") == duties.REBUILD_PAUSE
        assert redis_client.pttl(broker.shared.duty("rebuild")) > 2000  # renewed slice by slice
        assert perform(theirs, broker, "b") == theirs.period

    assert ready(broker) == 50


def test_other_duties_are_done_between_the_slices_of_a_rebuild(broker: Broker) -> None:
    goes_on, done = Duty("a", 1.0, lambda: 0.25), Duty("b", 1.0, lambda: None)

    assert (perform(goes_on, broker, None), perform(done, broker, None)) == (0.25, 1.0)


def test_the_relay_counts_a_pass_once_it_saw_the_whole_outbox(
    broker: Broker, small_steps: None
) -> None:
    make_rows(15, status="PENDING", revision=0, fence=0)
    deliverer = Deliverer(broker, ["default"])

    assert (deliverer.relay(), deliverer.relay_passes, ready(broker)) == (0.0, 0, 10)
    assert (deliverer.relay(), deliverer.relay_passes, ready(broker)) == (None, 1, 15)


def test_law_6_what_is_known_is_neither_read_whole_nor_pushed(
    broker: Broker, redis_client: Any
) -> None:
    records = make_rows(20)
    broker.push("default", [to_message(one, broker.settings) for one in records[5:]])
    revisions = {one.id: message_revision(broker, redis_client, one) for one in records[5:]}
    known_era(broker, redis_client)

    with CaptureQueriesContext(connection) as queries:
        Deliverer(broker, ["default"]).rebuild()

    whole = [one["sql"] for one in queries if '"args"' in one["sql"] or "`args`" in one["sql"]]
    assert len(whole) == 1
    assert not any(str(records[7].id.hex) in sql or str(records[7].id) in sql for sql in whole)
    assert ready(broker) == 20
    for one in records[5:]:
        assert message_revision(broker, redis_client, one) == revisions[one.id]


def message_revision(broker: Broker, redis_client: Any, record: TaskRecord) -> str:
    key = broker.keys("default").message(str(record.id))
    return str(redis_client.hget(key, "revision"))


def test_law_6_a_record_of_a_later_round_than_its_final_message_is_delivered(
    broker: Broker,
) -> None:
    """The broker went back to before a person made it run again."""
    [record] = make_rows(1, status="PENDING")
    broker.push("default", [to_message(record, broker.settings)])
    [message] = broker.claim("default", "c")
    broker.ack("default", "c", [Outcome.successful(message)])
    TaskRecord.objects.filter(id=record.id).update(round=2)

    Deliverer(broker, ["default"]).relay()

    assert ready(broker) == 1


def test_law_6_queues_that_nobody_serves_are_rebuilt_too(broker: Broker, redis_client: Any) -> None:
    make_rows(1)
    make_rows(3, queue_name="nobody's")
    make_rows(2, queue_name="nothing", status="SUCCESSFUL")
    begin_era(broker, redis_client)

    Deliverer(broker, ["default"]).rebuild()

    assert broker.backlog("nobody's")["ready"] == 3
    assert broker.queue_names() == {"default", "nobody's"}


def test_a_walk_holds_little_memory_however_large_the_arguments(
    broker: Broker, redis_client: Any
) -> None:
    TaskRecord.objects.bulk_create(
        TaskRecord(task_name="tests.tasks.add", args=["x" * 20_000], status="READY")
        for _ in range(600)
    )
    begin_era(broker, redis_client)
    deliverer = Deliverer(broker, ["default"])
    tracemalloc.start()
    try:
        while deliverer.rebuild() is not None:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert ready(broker) == 600
    assert peak < 30_000_000  # the rows hold 12 MB, and each is copied several times on its way


@pytest.mark.parametrize("away", [True, False])
def test_a_database_that_is_away_keeps_no_other_waiting(
    broker: Broker, redis_client: Any, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    from django.db import DatabaseError

    make_rows(3)
    era = begin_era(broker, redis_client)
    monkeypatch.setattr(duties, "record_databases", lambda: ["elsewhere", "default"])
    whole = duties.deliver

    def walked(broker: Broker, database: str, **given: Any) -> Any:
        if database == "elsewhere":
            if away:
                raise DatabaseError("no route")
            database = "default"
        return whole(broker, database, **given)

    monkeypatch.setattr(duties, "deliver", walked)
    monkeypatch.setattr(duties, "_queues_of_rows", lambda database: iter(()))
    deliverer = Deliverer(broker, ["default"])

    if away:
        with pytest.raises(DatabaseError):
            deliverer.rebuild()
    else:
        assert deliverer.rebuild() is None

    assert ready(broker) == 3
    assert delivered(broker) == ("" if away else era)
