"""TaskRecord and TaskAttempt: keys that grow, the words of the field, indexes and no more."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_init
from django.utils import timezone

from django_tasks import framework
from django_tasks.errors import NotATask
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.models.record import new_id, new_record
from django_tasks.states import FINAL, WAITING, State
from tests.tasks import add

COLUMNS = (
    "id task_name description queue_name priority args kwargs status revision fence round attempt"
    " lost max_attempts run_after expires created_at enqueued_at started_at finished_at worker_id"
    " return_value error_class error_message traceback dead_letter headers"
    " release parent_id workflow_id metadata"
).split()
ATTEMPT_COLUMNS = (
    "id record_id number fence consumer claimed_at started_at finished_at outcome error_class"
    " error_message traceback report"
).split()


# -- keys --------------------------------------------------------------------------------------


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    before = time.time_ns() // 1_000_000

    made = new_id()

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_grow_in_one_process_whatever_the_thread() -> None:
    made: list[list[uuid.UUID]] = [[] for _ in range(4)]
    order: list[uuid.UUID] = []
    lock = threading.Lock()

    def make(into: list[uuid.UUID]) -> None:
        for _ in range(500):
            with lock:  # so that "later" means something across threads
                one = new_id()
                order.append(one)
            into.append(one)
            into.append(new_id())

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert order == sorted(order)
    assert all(into == sorted(into) for into in made)
    assert len({one for into in made for one in into}) == 4000


def test_ids_grow_though_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)

    assert first < new_id() < new_id()


FORKED = """
import os, signal, sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_tasks"])
import django; django.setup()
from django_tasks.models import record
before = [record.new_id() for _ in range(10)]
record._tick_lock.acquire()  # as another thread that makes an id at this very moment
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(5)
    ids = [record.new_id() for _ in range(100)]
    os.write(writing, " ".join(map(str, ids)).encode())
    os._exit(0)
record._tick_lock.release()
mine = [str(record.new_id()) for _ in range(100)]
ended = os.waitpid(child, 0)[1]
os.close(writing)
theirs = os.fdopen(reading).read().split()
assert ended == 0, f"the child ended with {ended}"
assert len(theirs) == 100 and theirs == sorted(theirs)
assert min(theirs) > str(before[-1])
assert not set(theirs) & set(mine)
"""


def test_ids_grow_and_differ_after_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 0, done.stderr


# -- columns, indexes, constraints -------------------------------------------------------------


def test_the_columns_are_the_contract() -> None:
    assert [field.attname for field in TaskRecord._meta.concrete_fields] == COLUMNS
    assert [field.attname for field in TaskAttempt._meta.concrete_fields] == ATTEMPT_COLUMNS
    assert TaskRecord._meta.db_table == "django_tasks_taskrecord"


def conditions() -> dict[str, str]:
    """Each index's definition, as the database has it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE %s",
                ["django_tasks_task%"],
            )
        else:
            cursor.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name LIKE %s",
                ["django_tasks_task%"],
            )
        return {name: definition or "" for name, definition in cursor.fetchall()}


@pytest.mark.django_db
def test_indexes_are_partial_where_the_database_can() -> None:
    if not connection.features.supports_partial_indexes:
        pytest.skip("MySQL knows no index with a condition; it has them whole")
    found = conditions()

    pending = found["taskrecord_pending"].partition("WHERE")[2]
    assert "PENDING" in pending
    unfinished = found["taskrecord_unfinished"].partition("WHERE")[2]
    assert {state for state in State if f"'{state}'" in unfinished} == set(State) - FINAL
    failed = found["taskrecord_failed"].partition("WHERE")[2]
    assert {state for state in State if f"'{state}'" in failed} == FINAL - {State.SUCCESSFUL}


@pytest.mark.django_db
def test_django_has_nothing_to_say_of_our_models() -> None:
    assert TaskRecord.check(databases=["default"]) == []
    assert TaskAttempt.check(databases=["default"]) == []


@pytest.mark.django_db
def test_there_are_no_more_indexes_than_are_asked_for() -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "django_tasks_taskrecord")
    indexes = {name for name, facts in found.items() if facts["index"] and not facts["primary_key"]}
    primary = [name for name, facts in found.items() if facts["primary_key"]]

    ours = "pending unfinished failed task dead parent workflow".split()
    assert indexes == {f"taskrecord_{name}" for name in ours}
    assert len(primary) == 1


@pytest.mark.django_db
def test_delivery_and_the_admin_walk_an_index() -> None:
    for asked in (
        TaskRecord.objects.pending().order_by("id")[:500],
        TaskRecord.objects.for_task(add).order_by("-id")[:100],
    ):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
        plan = asked.explain()

        assert "taskrecord_" in plan, plan


@pytest.mark.django_db
def test_attempts_have_no_foreign_key_in_the_database() -> None:
    field: Any = TaskAttempt._meta.get_field("record")
    assert not field.db_constraint

    TaskAttempt.objects.create(record_id=uuid.uuid4(), number=1, fence=1, outcome="lost")

    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "django_tasks_taskattempt")
    assert not [facts for facts in found.values() if facts["foreign_key"]]
    TaskAttempt.objects.all().delete()


@pytest.mark.django_db
def test_an_attempt_is_unique_by_record_and_fence() -> None:
    record = TaskRecord.objects.create(task_name="t")
    TaskAttempt.objects.create(record=record, number=1, fence=1, outcome="lost")
    TaskAttempt.objects.create(record=record, number=1, fence=2, outcome="succeeded")

    with pytest.raises(IntegrityError), transaction.atomic():
        TaskAttempt.objects.create(record=record, number=2, fence=2, outcome="failed")
    assert [one.fence for one in record.attempts.all()] == [1, 2]


@pytest.mark.django_db
def test_deleting_a_record_deletes_its_attempts() -> None:
    record = TaskRecord.objects.create(task_name="t")
    TaskAttempt.objects.create(record=record, number=1, fence=1, outcome="lost")

    record.delete()

    assert not TaskAttempt.objects.exists()


def test_numbers_that_grow_for_ever_have_room() -> None:
    for model, names in ((TaskRecord, ("revision", "fence")), (TaskAttempt, ("fence",))):
        for name in names:
            assert model._meta.get_field(name).get_internal_type() == "BigIntegerField"


# -- scopes ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_scope_is_its_word() -> None:
    for state in State:
        TaskRecord.objects.create(task_name="t", status=state)

    def states(scope: Any) -> set[str]:
        return set(scope.values_list("status", flat=True))

    objects = TaskRecord.objects
    assert states(objects.pending()) == {"PENDING"}
    assert states(objects.scheduled()) == {"SCHEDULED"}
    assert states(objects.ready()) == {"READY"}
    assert states(objects.running()) == {"RUNNING"}
    assert states(objects.successful()) == {"SUCCESSFUL"}
    assert states(objects.failed()) == {"FAILED"}
    assert states(objects.waiting()) == WAITING
    assert states(objects.final()) == FINAL
    assert states(objects.unfinished()) == set(State) - FINAL


@framework.task
def plain(number: int) -> int:
    return number


@pytest.mark.django_db
def test_scopes_read_as_a_sentence() -> None:
    made = [
        TaskRecord.objects.create(task_name="tests.tasks.add", status="FAILED"),
        TaskRecord.objects.create(task_name="tests.tasks.add", status="FAILED", dead_letter="gone"),
        TaskRecord.objects.create(task_name="tests.tasks.add", queue_name="mail"),
        TaskRecord.objects.create(task_name=f"{__name__}.plain"),
    ]
    objects = TaskRecord.objects

    assert list(objects.failed().for_task(add)) == [made[1], made[0]]  # newest first
    assert list(objects.dead_letters()) == [made[1]]
    assert list(objects.for_task("tests.tasks.add").in_queue("mail")) == [made[2]]
    assert list(objects.for_task(plain)) == [made[3]]
    assert list(objects.after(made[1].id)) == [made[3], made[2]]
    assert objects.after(None).count() == 4


@pytest.mark.parametrize("wrong", [plain.func, 42, None, print])
def test_a_plain_function_has_no_records(wrong: Any) -> None:
    with pytest.raises(NotATask, match="Put @django_task above"):
        TaskRecord.objects.for_task(wrong)


def test_a_record_shows_as_its_call() -> None:
    assert str(TaskRecord(task_name="a.b", description="b(1)")) == "b(1)"
    record = TaskRecord(task_name="a.b")
    assert str(record) == f"a.b {record.id}"
    assert str(TaskAttempt(number=2, outcome="lost")) == "2: lost"


@pytest.mark.django_db
def test_times_are_aware() -> None:
    record = TaskRecord.objects.create(task_name="t", run_after=datetime(2026, 1, 1, tzinfo=UTC))

    record.refresh_from_db()

    assert record.created_at.tzinfo is not None
    assert record.run_after == datetime(2026, 1, 1, tzinfo=UTC)


def test_who_listens_for_new_records_hears_of_those_made_at_once() -> None:
    heard: list[Any] = []

    def listen(sender: Any, instance: Any, **given: Any) -> None:
        heard.append(instance)

    post_init.connect(listen, TaskRecord)
    try:
        made = new_record(args=[], kwargs={}, metadata={}, created_at=timezone.now())
    finally:
        post_init.disconnect(listen, TaskRecord)

    assert heard == [made]


def test_a_record_made_at_once_is_the_one_that_django_makes() -> None:
    now = timezone.now()
    values: dict[str, Any] = {
        "id": new_id(),
        "args": [1],
        "kwargs": {"a": 1},
        "metadata": {"b": 2},
        "created_at": now,
        "task_name": "t",
        "priority": 5,
    }

    made, plain = new_record(**values), TaskRecord(**values)

    names = [field.attname for field in TaskRecord._meta.concrete_fields]
    assert [getattr(made, name) for name in names] == [getattr(plain, name) for name in names]
    assert made._state.adding
    assert set(vars(made)) == set(vars(plain))
    assert made.workflow is None
    assert new_record(**{**values, "id": None}).id > made.id
