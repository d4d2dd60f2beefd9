"""manage.py tasks rebuild: counts, codes, one clear line."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.management.commands.tasks import SUBCOMMANDS, Command
from django_tasks.models import TaskRecord
from tests.wheels import ROOT

pytestmark = pytest.mark.django_db


def make_rows(count: int, queue: str = "default", status: str = "READY") -> None:
    TaskRecord.objects.bulk_create(
        TaskRecord(task_name="tests.tasks.add", args=[1, 2], queue_name=queue, status=status)
        for _ in range(count)
    )


def rebuild(*arguments: str) -> str:
    shown = StringIO()
    call_command("tasks", "rebuild", *arguments, stdout=shown)
    return shown.getvalue().strip()


def test_every_unfinished_row_is_pushed_and_counted_once(queue: TaskSettings) -> None:
    make_rows(3)
    make_rows(2, "mail", "SCHEDULED")
    make_rows(4, status="SUCCESSFUL")
    broker = Broker(queue)

    first, second = rebuild(), rebuild()

    assert first == "Looked at 5 unfinished records; pushed 5 that the broker did not know."
    assert second == "Looked at 5 unfinished records; pushed 0 that the broker did not know."
    assert [broker.backlog(name)["ready"] for name in ("default", "mail")] == [3, 2]
    broker.close()


def test_more_rows_than_one_step_takes_are_all_pushed(queue: TaskSettings) -> None:
    make_rows(1100)

    assert json.loads(rebuild("--json")) == {"looked_at": 1100, "pushed": 1100}


def test_one_queue_alone(queue: TaskSettings) -> None:
    make_rows(3)
    make_rows(2, "mail")

    assert json.loads(rebuild("--queue", "mail", "--json")) == {"looked_at": 2, "pushed": 2}


def test_a_broker_that_is_away_is_one_line_and_code_2(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0"}

    with pytest.raises(CommandError, match=r"The broker at .* does not serve") as raised:
        rebuild()

    assert raised.value.returncode == 2
    assert "\n" not in str(raised.value)


def test_a_database_that_is_away_is_one_line_and_code_2(
    queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **given: Any) -> None:
        raise DatabaseError("connection refused\n\tIs the server running?")

    monkeypatch.setattr("django_tasks.worker.duties.deliver", refuse)

    with pytest.raises(CommandError) as raised:
        rebuild()

    assert raised.value.returncode == 2
    assert (
        str(raised.value)
        == "The database does not serve: connection refused Is the server running?"
    )


def test_a_queue_that_can_not_be_is_code_2(queue: TaskSettings) -> None:
    with pytest.raises(CommandError) as raised:
        rebuild("--queue", "no:name")

    assert raised.value.returncode == 2


def test_the_page_tells_every_subcommand_and_option() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    parser = Command().create_parser("manage.py", "tasks")
    [chosen] = [one for one in parser._actions if one.dest == "subcommand"]
    parsers: dict[str, Any] = dict(chosen.choices or {})

    assert set(parsers) == set(SUBCOMMANDS)
    for name, one in parsers.items():
        assert re.search(rf"^## .*`tasks {name}\b", page, re.MULTILINE), name
        options = {text for action in one._actions for text in action.option_strings}
        told = {text for text in options if re.search(rf"{text}\b", page)}
        assert options - told == {"-h", "--help"} - told, name
