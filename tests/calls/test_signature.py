"""A signature: a call not yet made; it lays itself into an unsaved row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django_tasks import django_task, framework
from django_tasks.calls.signature import Signature
from django_tasks.models import TaskRecord
from tests.tasks import add


@django_task(
    name="mail.letter",
    queue="mail",
    priority=4,
    retries=7,
    max_lost=9,
    expires=timedelta(minutes=5),
    record="after",
)
def letter(to: str) -> str:
    return to


def test_a_signature_is_the_task_and_its_arguments() -> None:
    signature = letter.s("Ada")

    assert signature == Signature(letter, ("Ada",), {})
    assert add.s(1, b=2).kwargs == {"b": 2}


def test_nothing_is_written_by_making_one() -> None:
    draft = add.s(1, 2).draft()  # no database is allowed here

    assert draft.record._state.adding


def test_every_option_reaches_the_draft() -> None:
    before = datetime.now(UTC)

    draft = letter.using(run_after=timedelta(hours=1)).s("Ada").draft()

    record = draft.record
    assert (draft.recording, draft.alias, draft.database) == ("after", "default", "default")
    assert (record.task_name, record.queue_name, record.priority) == ("mail.letter", "mail", 4)
    assert record.max_attempts == 8
    assert record.metadata == {"max_lost": 9, "run_after": record.run_after.isoformat()}
    assert record.description == "letter('Ada')"
    assert record.enqueued_at is not None
    assert record.run_after == record.enqueued_at + timedelta(hours=1)
    assert record.expires == record.enqueued_at + timedelta(minutes=5)
    assert before <= record.enqueued_at <= datetime.now(UTC)
    assert (record.round, record.revision, record.fence) == (1, 0, 0)


def test_drafts_of_one_signature_are_different_calls() -> None:
    signature = add.s(1, 2)

    assert signature.draft().record.id < signature.draft().record.id


def test_the_alias_is_noted_where_it_is_not_the_default(settings: Any) -> None:
    ours = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {"default": ours, "second": ours}

    assert add.using(backend="second").s(1, 2).draft().record.metadata == {"backend": "second"}
    assert add.s(1, 2).draft().record.metadata == {}


@framework.task
def plain(number: int) -> int:
    return number


def test_a_task_of_the_frameworks_own_decorator_has_the_default_options() -> None:
    draft = Signature(plain, (1,), {}).draft()

    assert (draft.recording, draft.record.max_attempts) == ("first", 4)
    assert draft.record.task_name == f"{__name__}.plain"


def test_names_and_queues_fit_their_columns() -> None:
    from django_tasks.calls.options import MAX_NAME, MAX_QUEUE

    widths = {
        field.name: field.max_length
        for field in TaskRecord._meta.concrete_fields
        if field.name in ("task_name", "queue_name")
    }
    assert widths == {"task_name": MAX_NAME, "queue_name": MAX_QUEUE}
