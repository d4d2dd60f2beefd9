"""Columns that hold any text and any JSON, on every database (law 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.models.fields import AnyJSONField, AnyTextField, escape, unescape

texts = st.text(st.characters()) | st.text(st.sampled_from("\x00\ud800\udfff\ue01b0bea\\u"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
NASTY = [
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ue01b",
    "\ue01b0000",
    "\ue01be01b",
    "a\\u0000b",
    "\U0001f600",
    "",
    "'; DROP TABLE",
]


def shape(value: Any) -> Any:
    """The types of a value, at every depth."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)


@given(values)
def test_what_is_escaped_comes_back_equal(value: Any) -> None:
    assert unescape(escape(value)) == value


@given(values)
def test_what_is_escaped_holds_nothing_that_a_database_refuses(value: Any) -> None:
    written = json.dumps(escape(value), ensure_ascii=False)

    written.encode()  # no lone surrogate
    assert "\\u0000" not in written.replace("\\\\", "")
    assert "\x00" not in written


@given(st.text(st.characters(exclude_characters="\x00\ue01b", exclude_categories=["Cs"])))
def test_other_text_is_written_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=values, text=texts)
def test_law_5_any_value_comes_back_equal_from_the_database(value: Any, text: str) -> None:
    record = TaskRecord.objects.create(
        task_name="t",
        args=[value],
        kwargs={"k": value},
        return_value=value,
        error_message=text,
        traceback=text,
        description=text,
        metadata={text: value},
    )

    found = TaskRecord.objects.get(id=record.id)

    assert (found.args, found.kwargs, found.return_value) == ([value], {"k": value}, value)
    assert shape(found.return_value) == shape(value)
    assert (found.error_message, found.traceback, found.description) == (text,) * 3
    assert found.metadata == {text: value}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "number", [1e23, -1e23, 1e300, 1e308, 5e-324, 1e16, 12345678901234567.0, 1e-7, 1.0, 10**23]
)
def test_a_number_keeps_its_type(number: float) -> None:
    shown = {"text": '1e+23 "1e+23\\', "1e+5": [number]}
    record = TaskRecord.objects.create(task_name="t", return_value=number, kwargs=shown)

    record.refresh_from_db()

    assert record.return_value == number
    assert type(record.return_value) is type(number)
    assert record.kwargs == shown
    assert type(record.kwargs["1e+5"][0]) is type(number)


@pytest.mark.django_db
@pytest.mark.parametrize("text", NASTY)
def test_rows_are_found_by_such_text(text: str) -> None:
    record = TaskRecord.objects.create(task_name="t", error_message=text, description=text)
    TaskRecord.objects.create(task_name="t", error_message=f"not {text}", description="other")

    assert TaskRecord.objects.get(error_message=text, description=text) == record
    assert TaskRecord.objects.values_list("error_message", flat=True).get(id=record.id) == text


@pytest.mark.django_db
def test_json_is_searched_as_json() -> None:
    record = TaskRecord.objects.create(task_name="t", kwargs={"user": {"id": 7}}, args=["ü"])
    TaskRecord.objects.create(task_name="t", kwargs={"user": {"id": 8}})

    assert TaskRecord.objects.get(kwargs__user__id=7) == record
    assert TaskRecord.objects.get(args__0="ü") == record


@pytest.mark.django_db
def test_none_is_null() -> None:
    record = TaskRecord.objects.create(task_name="t", return_value=None)

    assert TaskRecord.objects.get(return_value__isnull=True) == record
    with connection.cursor() as cursor:
        cursor.execute("SELECT return_value FROM django_tasks_taskrecord")
        assert list(cursor.fetchall()) == [(None,)]


@pytest.mark.skipif(connection.vendor != "mysql", reason="elsewhere text is Unicode")
@pytest.mark.django_db
def test_text_is_utf8mb4_whatever_the_database_is() -> None:
    fields = [
        field
        for model in (TaskRecord, TaskAttempt)
        for field in model._meta.concrete_fields
        if isinstance(field, AnyTextField | AnyJSONField)
    ]

    assert len(fields) == 14
    for field in fields:
        assert "CHARACTER SET utf8mb4" in field.db_parameters(connection)["type"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT character_set_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name LIKE 'django_tasks_task%'"
            " AND data_type = 'longtext'"
        )
        assert list(cursor.fetchall()) == [("utf8mb4",)]
