"""Several databases: which one a record goes to, and that its message waits for that commit."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connections, transaction

from django_tasks.bridge import databases
from django_tasks.bridge.databases import database_for, record_databases
from django_tasks.broker import Broker
from django_tasks.errors import InvalidSettings, InvalidTaskOptions
from django_tasks.models import TaskRecord
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


class Router:
    """Records may be in "default" and "third"; they go to "default"."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default" if model is TaskRecord else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db != "other" if app_label == "django_tasks" else None


class Elsewhere:
    """Records go to "other"."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is TaskRecord else None


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_warned", set())


@pytest.fixture
def same(queue: Any, settings: Any) -> None:
    """The setting DATABASE is "same"."""
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "DATABASE": "same"}


def ready(broker: Broker) -> int:
    return broker.backlog("default")["ready"]


def rows(database: str) -> list[str]:
    return list(TaskRecord.objects.using(database).values_list("status", flat=True))


# -- which one ---------------------------------------------------------------------------------


def test_the_option_then_the_setting_then_the_router(other_database: str, settings: Any) -> None:
    assert database_for("", "") == "default"
    assert database_for("", "other") == "other"
    assert database_for("default", "other") == "default"

    settings.DATABASE_ROUTERS = [Elsewhere()]
    assert database_for("", "") == "other"
    assert database_for("default", "") == "default"


@pytest.mark.usefixtures("other_database")
@pytest.mark.parametrize(("option", "setting"), [("same", ""), ("", "same"), ("same", "same")])
def test_same_is_the_alias_whose_block_is_open(option: str, setting: str) -> None:
    assert database_for(option, setting) == "default"
    with transaction.atomic(using="other"):
        assert database_for(option, setting) == "other"
        with transaction.atomic():
            assert database_for(option, setting) == "default"
        assert database_for(option, setting) == "other"
    assert database_for(option, setting) == "default"


@pytest.mark.usefixtures("other_database")
def test_same_falls_back_to_the_setting() -> None:
    assert database_for("same", "other") == "other"
    with transaction.atomic():
        assert database_for("same", "other") == "default"
        with transaction.atomic(using="other"):
            assert database_for("same", "other") == "other"


@pytest.mark.usefixtures("other_database", "third_database")
def test_same_refuses_to_guess_and_says_what_to_name() -> None:
    with transaction.atomic(using="other"), transaction.atomic(using="third"):
        with pytest.raises(InvalidTaskOptions, match=r"on 'other', 'third'.*database='other'"):
            database_for("same", "")
        with transaction.atomic():
            assert database_for("same", "") == "default"


@pytest.mark.usefixtures("other_database", "third_database")
def test_same_takes_only_what_may_hold_records(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Router()]

    with transaction.atomic(using="other"):
        assert database_for("same", "") == "default"
        with transaction.atomic(using="third"):
            assert database_for("same", "") == "third"


@pytest.mark.django_db(databases=["default"])
@pytest.mark.usefixtures("other_database")
def test_the_block_of_a_test_case_is_none() -> None:
    assert connections["default"].in_atomic_block

    with transaction.atomic(using="other"):
        assert database_for("same", "") == "other"


@pytest.mark.usefixtures("other_database", "third_database")
def test_who_serves_records_serves_every_alias_that_may_hold_some(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert record_databases([]) == ["default"]
    assert record_databases(["other", ""]) == ["default", "other"]
    assert record_databases(["same"]) == ["default", "other", "third"]

    settings.DJANGO_TASKS = {"DATABASE": "third"}
    assert record_databases(["default"]) == ["default", "third"]
    settings.TASKS = {
        "default": {"BACKEND": "django_tasks.RedisBackend", "OPTIONS": {"DATABASE": "same"}},
    }
    assert record_databases([]) == ["default", "other", "third"]
    settings.DATABASE_ROUTERS = [Router()]
    assert record_databases([]) == ["default", "third"]
    monkeypatch.setitem(connections.databases["third"]["TEST"], "MIRROR", "default")
    assert record_databases([]) == ["default"]


def test_an_alias_that_is_none_is_refused(settings: Any) -> None:
    from django_tasks.conf import task_settings

    settings.DJANGO_TASKS = {"DATABASE": "reports"}

    with pytest.raises(InvalidSettings, match=r"'reports'; it must be 'same' or one of DATABASES"):
        task_settings()


# -- row and message appear with that commit ---------------------------------------------------


@pytest.mark.usefixtures("same")
def test_law_2_row_and_message_come_with_the_commit_of_their_alias(
    broker: Broker, database_elsewhere: str
) -> None:
    with transaction.atomic(using=database_elsewhere):
        result = add.enqueue(1, 2)
        assert result.database == database_elsewhere
        assert ready(broker) == 0
        with transaction.atomic():  # another commit in between is not the one that is waited for
            TaskRecord.objects.create(task_name="something else", status="CANCELLED")
        assert ready(broker) == 0
    assert ready(broker) == 1
    assert rows(database_elsewhere) == ["PENDING"]
    [message] = broker.claim("default", "c", 1)
    assert (message.id, message.database) == (result.id, database_elsewhere)


@pytest.mark.usefixtures("same")
def test_law_2_nothing_is_left_of_a_rollback(broker: Broker, database_elsewhere: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        transaction.atomic(using=database_elsewhere),
    ):
        add.enqueue(1, 2)
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        add.enqueue(3, 4)
        1 / 0  # noqa: B018

    assert rows(database_elsewhere) == rows("default") == []
    assert ready(broker) == 0


def test_law_2_the_setting_names_the_database_of_all(
    broker: Broker, database_elsewhere: str, settings: Any
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "DATABASE": database_elsewhere}

    with transaction.atomic():
        result = add.enqueue(1, 2)
        assert ready(broker) == 1  # its alias is in no transaction

    assert rows(database_elsewhere) == ["PENDING"]
    assert rows("default") == []
    assert add.get_result(result.id).database == database_elsewhere


# -- what is said of other transactions --------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "django_tasks.outbox"]


@pytest.mark.usefixtures("queue", "other_database")
def test_a_transaction_elsewhere_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        with transaction.atomic(using="other"):
            add.enqueue(1, 2)

    [said] = warnings(caplog)
    assert "in a transaction on 'other', but its record goes to 'default'" in said
    assert "database='same'" in said


@pytest.mark.usefixtures("queue", "other_database")
def test_where_records_can_not_go_the_cure_is_another(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    caplog.set_level(logging.WARNING)
    settings.DATABASE_ROUTERS = [Router()]

    with transaction.atomic(using="other"):
        add.enqueue(1, 2)

    [said] = warnings(caplog)
    assert "on_commit(…, using='other')" in said


@pytest.mark.usefixtures("same", "other_database")
def test_nothing_is_said_where_the_record_is_in_the_transaction(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    add.enqueue(1, 2)
    with transaction.atomic(using="other"):
        add.enqueue(1, 2)
        with transaction.atomic():
            add.enqueue(1, 2)

    assert warnings(caplog) == []
