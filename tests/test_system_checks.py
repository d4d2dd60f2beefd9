"""`manage.py check` finds what a worker would find out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from django_tasks import system_checks

pytestmark = pytest.mark.django_db  # Django's own checks ask some databases

OURS: dict[str, Any] = {"BACKEND": "django_tasks.RedisBackend"}


def found(*tags: str) -> list[str]:
    return sorted(one.id or "" for one in checks.run_checks(tags=tags or None))


def test_a_sound_project_has_nothing_to_say() -> None:
    assert found() == []


def test_settings_that_can_not_be_read_are_an_error(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKR": "redis://x"}

    assert "django_tasks.E002" in found("django_tasks")
    with pytest.raises(SystemCheckError, match=r"unknown key 'BROKR'\. Did you mean 'BROKER'\?"):
        call_command("check")


def test_options_of_any_alias_of_ours_are_checked(settings: Any) -> None:
    settings.TASKS = {"default": OURS, "second": {**OURS, "OPTIONS": {"LEESE": 3}}}

    [error] = [one for one in checks.run_checks() if one.id == "django_tasks.E002"]
    assert 'TASKS["second"]["OPTIONS"] has an unknown key \'LEESE\'' in error.msg


def test_the_same_fault_is_told_once(settings: Any) -> None:
    settings.DJANGO_TASKS = {"LEASE": 0}
    settings.TASKS = {"default": OURS, "second": OURS}

    assert found().count("django_tasks.E002") == 1


@pytest.mark.parametrize(("debug", "ids"), [(False, ["django_tasks.W001"]), (True, [])])
def test_the_embedded_broker_is_for_development(settings: Any, debug: bool, ids: Any) -> None:
    settings.DEBUG = debug
    settings.DJANGO_TASKS = {"BROKER": "embedded://"}

    assert [one for one in found("django_tasks") if one == "django_tasks.W001"] == ids


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, ["django_tasks.W002"]),
        ({"transaction_mode": "IMMEDIATE"}, ["django_tasks.W002"]),
        ({"init_command": "PRAGMA journal_mode=WAL"}, ["django_tasks.W002"]),
        ({"init_command": "PRAGMA JOURNAL_MODE=wal", "transaction_mode": "IMMEDIATE"}, []),
    ],
)
def test_sqlite_as_it_comes_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, options: Any, ids: Any
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    expected = ids if connection.vendor == "sqlite" else []

    warnings = system_checks.check_sqlite()

    assert [one.id for one in warnings] == expected
    assert all("transaction_mode" in (one.hint or "") for one in warnings)
