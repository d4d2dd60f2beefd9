"""Many rows at once, in each database's own form: the statement that the mirror writes with."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasks.models import TaskAttempt, TaskRecord, bulk
from django_tasks.models.bulk import (
    MIRRORED,
    TOLD,
    insert_missing,
    insert_records,
    update_records,
    values_of,
    write_attempts,
)
from django_tasks.models.bulk_postgresql import JsonText
from django_tasks.states import FINAL, State

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=UTC)
FULL: dict[str, Any] = {
    "status": "FAILED",
    "revision": 2**52,
    "fence": 2**52 - 1,
    "round": 1,
    "attempt": 3,
    "lost": 2,
    "run_after": MOMENT,
    "started_at": MOMENT,
    "finished_at": MOMENT,
    "worker_id": "host:1-ab:1",
    "return_value": {"a": [1, None, "ü\x00"]},
    "error_class": "builtins.ValueError",
    "error_message": "no\x00 \ud800",
    "traceback": "Traceback …",
    "dead_letter": "why not",
}
EMPTY: dict[str, Any] = {
    **dict.fromkeys(FULL, ""),
    "status": "READY",
    **dict.fromkeys(("revision", "fence", "attempt", "lost"), 0),
    "round": 1,
    **dict.fromkeys(("run_after", "started_at", "finished_at", "return_value")),
}


def row(record: TaskRecord, **given: Any) -> list[Any]:
    values = {"id": record.id, **EMPTY, **given}
    return [values[name] for name in MIRRORED]


def made(**given: Any) -> TaskRecord:
    return TaskRecord.objects.create(**{"task_name": "t", **given})


def test_every_column_is_written_and_comes_back() -> None:
    record, other, untouched = made(), made(), made()

    written = update_records([row(record, **FULL), row(other)], using="default")

    assert written == 2
    for one, expected in ((record, FULL), (other, EMPTY)):
        one.refresh_from_db()
        assert {name: getattr(one, name) for name in expected} == expected
    untouched.refresh_from_db()
    assert untouched.status == "PENDING"


def test_rows_of_one_statement_do_not_mix() -> None:
    records = [made() for _ in range(50)]

    update_records(
        [row(one, revision=i, return_value=i, worker_id=f"w{i}") for i, one in enumerate(records)],
        using="default",
    )

    for i, one in enumerate(records):
        one.refresh_from_db()
        assert (one.revision, one.return_value, one.worker_id) == (i, i, f"w{i}")


def test_five_hundred_rows_are_one_statement() -> None:
    records = TaskRecord.objects.bulk_create([TaskRecord(task_name="t") for _ in range(500)])

    with CaptureQueriesContext(connection) as queries:
        written = update_records([row(one, **FULL) for one in records], using="default")

    assert (written, len(queries)) == (500, 1)
    assert TaskRecord.objects.failed().count() == 500


def test_no_rows_are_no_query() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert update_records([], using="default") == 0

    assert len(queries) == 0


@pytest.mark.parametrize(
    ("row_state", "given", "is_written"),
    [
        ({"round": 1, "revision": 5}, {"round": 1, "revision": 6}, True),
        ({"round": 1, "revision": 5}, {"round": 1, "revision": 5}, True),
        ({"round": 1, "revision": 5}, {"round": 1, "revision": 4}, False),
        ({"round": 1, "revision": 5}, {"round": 2, "revision": 1}, True),
        ({"round": 2, "revision": 5}, {"round": 1, "revision": 9}, False),
        *[({"status": state}, {"round": 1, "revision": 9}, False) for state in sorted(FINAL)],
        *[({"status": state}, {"round": 2, "revision": 1}, True) for state in sorted(FINAL)],
        *[({"status": one}, {"revision": 9}, True) for one in sorted(set(State) - FINAL)],
    ],
)
def test_laws_5_and_7_the_guard(row_state: Any, given: Any, is_written: bool) -> None:
    record = made(**row_state)

    written = update_records([row(record, status="RUNNING", **given)], using="default")

    before = record.status
    record.refresh_from_db()
    assert written == is_written
    assert record.status == ("RUNNING" if is_written else before)


def test_rows_that_are_gone_are_not_made_again() -> None:
    record, gone = made(), TaskRecord(task_name="t")

    assert update_records([row(record), row(gone)], using="default") == 1

    assert TaskRecord.objects.count() == 1


def test_one_record_is_one_insert_and_many_are_one_too() -> None:
    with CaptureQueriesContext(connection) as queries:
        insert_records([TaskRecord(task_name="t")], using="default")
    assert len(queries) == 1

    with CaptureQueriesContext(connection) as queries:
        insert_records([TaskRecord(task_name="t") for _ in range(20)], using="default")
    assert len([one for one in queries if "INSERT" in one["sql"]]) == 1


def test_what_is_there_already_is_not_inserted_again() -> None:
    record = made(status="RUNNING")
    twin = TaskRecord(id=record.id, task_name="other", status="READY")

    both = [values_of(one) for one in (twin, TaskRecord(task_name="new"))]
    is_whole = insert_missing(both, using="default")

    assert not is_whole  # what was there may say something else
    record.refresh_from_db()
    assert (record.task_name, record.status) == ("t", "RUNNING")
    assert TaskRecord.objects.count() == 2


def test_an_attempt_told_anew_replaces_what_was_told() -> None:
    record_id = uuid.uuid4()

    def attempt(**given: Any) -> list[Any]:
        known: dict[str, Any] = {"record": record_id, "number": 1, "fence": 7, **given}
        times = ("claimed_at", "started_at", "finished_at")
        return [known.get(name, None if name in times else "") for name in TOLD]

    write_attempts([attempt(outcome="lost"), attempt(fence=8, outcome="failed")], using="default")
    write_attempts([attempt(outcome="succeeded", consumer="c", started_at=MOMENT)], using="default")

    told = TaskAttempt.objects.values_list("fence", "outcome", "consumer", "started_at")
    assert list(told) == [(7, "succeeded", "c", MOMENT), (8, "failed", "", None)]
    TaskAttempt.objects.all().delete()


SAME_FOR_PYTHON: list[list[Any]] = [
    [True, 1, 1.0, "1"],
    [[True], [1], [1.0]],
    [[], {}, None, False, 0, "", "null", "NULL"],
    [{"a": 1}, {"a": True}],
    ['a"b\\c,{d}', "{}", "{a,b}", " ", "\n", "caf\u00e9", "\x00", "\ud800"],
]


@pytest.mark.parametrize("values", SAME_FOR_PYTHON)
def test_many_values_that_are_alike_stay_what_they_are(values: list[Any]) -> None:
    records = [
        TaskRecord(task_name="t", args=[value], kwargs={"k": value}, return_value=value)
        for value in values
    ]

    insert_records(records, using="default")

    for record, value in zip(TaskRecord.objects.order_by("id"), values, strict=True):
        assert repr((record.args, record.kwargs)) == repr(([value], {"k": value}))
        assert repr(record.return_value) == repr(value)


@pytest.mark.parametrize("text", ["null", "NULL", "", "{}", 'a"b\\c,{d}', "\x00 \ud800 \ue01b"])
def test_many_texts_that_mean_something_to_an_array_stay_what_they_are(text: str) -> None:
    records = [
        TaskRecord(task_name="t", description=one, error_message=one) for one in (text, text + "x")
    ]

    insert_records(records, using="default")

    found = TaskRecord.objects.order_by("id").values_list("description", "error_message")
    assert list(found) == [(text, text), (text + "x", text + "x")]


@pytest.mark.parametrize("text", ["null", "3", '"a"', '"\\u0000"', "[1, true]", '{"a": "\\ud800"}'])
def test_json_that_is_written_as_it_came_is_read_as_what_it_says(text: str) -> None:
    records = [made(), made(), made()]

    update_records(
        [row(record, return_value=JsonText(text)) for record in records], using="default"
    )

    for record in records:
        record.refresh_from_db()
        assert record.return_value == json.loads(text)


@pytest.mark.skipif(connection.vendor != "mysql", reason="ids that are text are MySQL's")
def test_ids_that_are_text_are_found_whatever_their_collation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.features, "has_native_uuid_field", False)
    with connection.cursor() as cursor:  # only this session sees it, instead of the table
        cursor.execute("CREATE TEMPORARY TABLE uncut_twin LIKE django_tasks_taskrecord")
        cursor.execute(
            "ALTER TABLE uncut_twin MODIFY id char(32) CHARACTER SET utf8mb4"
            " COLLATE utf8mb4_unicode_ci NOT NULL"
        )
        cursor.execute("CREATE TEMPORARY TABLE django_tasks_taskrecord LIKE uncut_twin")
        cursor.execute("DROP TEMPORARY TABLE uncut_twin")
    try:
        record, other = made(), made()

        assert update_records([row(record, **FULL), row(other)], using="default") == 2

        record.refresh_from_db()
        assert {name: getattr(record, name) for name in FULL} == FULL
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TEMPORARY TABLE django_tasks_taskrecord")


@pytest.mark.skipif(connection.vendor != "mysql", reason="the plan is MySQL's")
def test_the_update_walks_what_is_given_and_finds_each_row_by_its_key() -> None:
    records = [made() for _ in range(3)]
    fields: list[Any] = [TaskRecord._meta.get_field(name) for name in MIRRORED]
    statement, parameters = bulk._update_join(connection, fields, [row(one) for one in records])

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", parameters)
        names = [column[0] for column in cursor.description or ()]
        steps = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    found = {step["table"]: (step["type"], step["key"]) for step in steps}
    assert found["django_tasks_taskrecord"] == ("eq_ref", "PRIMARY")
    assert steps[0]["table"] == "<derived2>"


@pytest.mark.skipif(connection.vendor != "mysql", reason="packets are MySQL's")
def test_no_statement_is_larger_than_a_packet() -> None:
    records = [TaskRecord(task_name="t", args=['"' * 400_000]) for _ in range(12)]

    with CaptureQueriesContext(connection) as queries:
        insert_records(records, using="default")

    sizes = [len(one["sql"]) for one in queries if "INSERT" in one["sql"]]
    assert max(sizes) < 4_000_000
    assert TaskRecord.objects.count() == 12
