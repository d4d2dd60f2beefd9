"""USE_TZ: messages hold aware times; rows and results those that Django has, maybe naive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils import timezone as django_timezone

from django_tasks.bridge.deliver import deliver
from django_tasks.broker import Broker
from django_tasks.broker.message import to_us
from django_tasks.calls.signature import moment
from django_tasks.errors import InvalidTaskOptions, TaskExpired
from django_tasks.models import TaskAttempt, TaskRecord
from tests.calls.outcomes import noted, third_time, thrown_away
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def local(settings: Any) -> None:
    """A project without zones, far from UTC."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"


def is_now(moment: datetime | None) -> bool:
    """Whether it is a naive time of the last minute."""
    assert moment is not None
    assert moment.tzinfo is None
    return timedelta(0) <= django_timezone.now() - moment < timedelta(minutes=1)


@pytest.mark.usefixtures("local")
def test_a_run_without_zones_has_naive_local_times(work: Callable[..., None]) -> None:
    result = add.enqueue(1, 2)
    assert is_now(result.enqueued_at)

    work()

    assert result.get(timeout=5) == 3
    [record], [attempt] = TaskRecord.objects.all(), TaskAttempt.objects.all()
    for told in (result, record, add.get_result(result.id)):
        assert is_now(told.enqueued_at)
        assert is_now(told.started_at)
        assert is_now(told.finished_at)
    assert is_now(result.last_attempted_at)
    assert is_now(record.created_at)
    assert is_now(attempt.claimed_at)
    assert result.enqueued_at == record.enqueued_at
    assert result.finished_at == record.finished_at


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize(
    "run_after",
    [
        datetime(2050, 1, 1, 12),
        datetime(2050, 1, 1, 17, tzinfo=UTC),
        datetime(2050, 1, 1, 18, tzinfo=timezone(timedelta(hours=1))),
    ],
)
@pytest.mark.parametrize("option", ["run_after", "expires"])
def test_a_time_may_have_a_zone_or_none(queue: Any, run_after: datetime, option: str) -> None:
    call: Any = add.using(**{option: run_after})

    result = call.enqueue(1, 2)

    record = TaskRecord.objects.get()
    assert getattr(record, option) == datetime(2050, 1, 1, 12)
    broker = Broker(queue)
    [snapshot] = broker.snapshots("default", [result.id]).values()
    broker.close()
    assert snapshot.fields[option] == str(
        round(datetime(2050, 1, 1, 17, tzinfo=UTC).timestamp() * 1_000_000)
    )
    result.refresh()
    assert result.state == ("SCHEDULED" if option == "run_after" else "READY")


@pytest.mark.usefixtures("local")
def test_what_is_due_runs_and_what_expired_does_not(work: Callable[..., None]) -> None:
    due = add.using(run_after=django_timezone.now() - timedelta(seconds=1)).enqueue(1, 2)
    soon = add.using(run_after=timedelta(hours=1)).enqueue(3, 4)
    late = add.using(expires=timedelta(microseconds=1)).enqueue(5, 6)

    work()

    assert due.get(timeout=5) == 3
    soon.refresh()
    assert soon.state == "SCHEDULED"
    with pytest.raises(TaskExpired):
        late.get(timeout=5)
    statuses = TaskRecord.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == ["SUCCESSFUL", "SCHEDULED", "EXPIRED"]


@pytest.mark.usefixtures("local")
def test_retries_and_rows_of_the_mirror_have_naive_times(work: Callable[..., None]) -> None:
    retried, after, never = third_time.enqueue(), noted.enqueue(1), thrown_away.enqueue(1)

    work()

    assert [one.get(timeout=5) for one in (retried, after, never)] == [3, 2, 2]
    assert is_now(thrown_away.get_result(never.id).finished_at)
    written = TaskRecord.objects.get(id=after.id)
    assert written.enqueued_at == after.enqueued_at
    assert is_now(written.created_at)
    attempts = TaskAttempt.objects.filter(record_id=retried.id)
    assert [one.outcome for one in attempts] == ["retried", "retried", "succeeded"]
    assert all(is_now(one.finished_at) for one in attempts)
    assert retried.attempts == 3


@pytest.mark.usefixtures("local")
def test_a_row_of_a_project_without_zones_is_delivered(queue: Any) -> None:
    record = TaskRecord.objects.create(
        task_name=add.task_name, args=[1, 2], run_after=datetime(2050, 1, 1, 12)
    )
    broker = Broker(queue)

    assert deliver(broker, "default").pushed == 1

    [snapshot] = broker.snapshots("default", [str(record.id)]).values()
    broker.close()
    assert snapshot.fields["run_after"] == to_us(datetime(2050, 1, 1, 17, tzinfo=UTC))


def test_with_zones_every_time_is_aware(work: Callable[..., None]) -> None:
    result = add.enqueue(1, 2)
    work()
    result.refresh()

    record = TaskRecord.objects.get()
    for told in (result, record):
        assert told.enqueued_at is not None
        assert told.finished_at is not None
        assert told.enqueued_at.utcoffset() == told.finished_at.utcoffset() == timedelta(0)


def test_an_hour_is_an_hour_also_when_clocks_are_put_back(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    before = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # 1:30 in summer time, which ends at 2:00

    later = moment(timedelta(hours=1), before)

    assert later is not None
    assert (later.hour, later.minute, later.fold) == (1, 30, 1)


def test_with_zones_a_time_without_one_is_refused() -> None:
    for option in ("run_after", "expires"):
        call: Any = {option: datetime(2050, 1, 1)}
        with pytest.raises(InvalidTaskOptions, match=f"{option} must be an aware"):
            add.using(**call)


def test_a_call_may_expire_at_a_time(work: Callable[..., None]) -> None:
    past = add.using(expires=datetime(2000, 1, 1, tzinfo=UTC)).enqueue(1, 2)
    future = add.using(expires=datetime(2100, 1, 1, tzinfo=UTC)).enqueue(1, 2)

    work()

    with pytest.raises(TaskExpired):
        past.get(timeout=5)
    assert future.get(timeout=5) == 3
    assert TaskRecord.objects.get(id=future.id).expires == datetime(2100, 1, 1, tzinfo=UTC)
