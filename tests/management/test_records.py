"""manage.py tasks records: what is listed, page by page, for people and programs."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_tasks import django_task
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.ops import records as pages
from tests.ops.made import make

pytestmark = pytest.mark.django_db(transaction=True)


@django_task(sensitive=("card",))
def charge(order: int, card: str) -> None:
    pass


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("tasks", "records", *arguments, stdout=out)
    return out.getvalue().strip()


def told(*arguments: str) -> Any:
    return json.loads(shown(*arguments, "--json"))


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        shown(*arguments)
    return caught.value


def test_a_table_of_calls_newest_first(queue: TaskSettings) -> None:
    assert shown() == "No record matches."
    old, new = make("FAILED", attempt=2, max_attempts=4), make("READY", priority=7)

    head, *lines = shown().splitlines()

    assert head.split() == "id state task queue priority attempt waited took worker".split()
    assert [line.split()[:2] for line in lines] == [
        [str(new.pk), "READY"],
        [str(old.pk), "FAILED"],
    ]
    assert "2/4" in lines[1]


def test_json_has_what_programs_read_and_the_page_behind(queue: TaskSettings) -> None:
    made = [make("FAILED", error_class="ValueError", queue_name="mail") for _ in range(3)]
    first = told("--state", "failed", "--limit", "2")
    second = told("--state", "failed", "--limit", "2", "--before", first["next"])

    assert [one["id"] for one in first["records"]] == [str(made[2].pk), str(made[1].pk)]
    assert [one["id"] for one in second["records"]] == [str(made[0].pk)]
    assert (second["next"], second["looked_to"]) == (None, None)
    expected = {"state": "FAILED", "queue": "mail", "error_class": "ValueError", "dead_letter": ""}
    assert second["records"][0] == {**second["records"][0], **expected}


def test_a_page_names_the_next_command_also_oldest_first(queue: TaskSettings) -> None:
    made = [make() for _ in range(3)]
    text = shown("--order", "oldest", "--limit", "2")

    assert text.splitlines()[-1] == f"More: --before {made[1].pk}"
    rest = told("--order", "oldest", "--limit", "2", "--before", str(made[1].pk))
    assert [one["id"] for one in rest["records"]] == [str(made[2].pk)]


def test_filters_and_search_find_the_same_as_the_admin(queue: TaskSettings) -> None:
    failed, other = make("FAILED", args=[41, 2]), make("FAILED", queue_name="mail", args=[7, 7])
    make("SUCCESSFUL")

    for arguments in (("--state", "failed", "--queue", "mail"), ("a:7",), (str(other.pk),)):
        assert [one["id"] for one in told(*arguments)["records"]] == [str(other.pk)]
    both = [one["id"] for one in told("--state", "failed", "--task", "add")["records"]]
    assert both == [str(other.pk), str(failed.pk)]


def test_a_look_that_was_bounded_says_how_far_it_went(
    queue: TaskSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make(worker_id=f"w{number}") for number in range(5)]
    monkeypatch.setattr(pages, "WINDOW", 2)
    monkeypatch.setattr(pages, "PATIENCE", -1.0)

    text = shown("--worker", "w0")

    assert text.splitlines()[0] == "No record matches."
    assert "Looked as far as 20" in text
    assert text.endswith(f"More: --before {made[3].pk}")
    page = told("--worker", "w0", "--before", str(made[1].pk))
    assert [one["id"] for one in page["records"]] == [str(made[0].pk)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--state", "faild"), "Did you mean FAILED"),
        (("--state", ","), "is no state"),
        (("--since", "soon"), "is no moment"),
        (("--longer", "5x"), "is no span"),
        (("--parent", "x"), "is not the id"),
        (("--order", "up"), "is no order"),
        (("--database", "nope"), "No database 'nope'"),
        (("--before", "x"), "--before 'x' is not the id"),
        (("--limit", "0"), "from 1 to 1,000"),
        (("--limit", "-1"), "from 1 to 1,000"),
        (("--limit", "1000000"), "from 1 to 1,000"),
        (("--queue", ""), "--queue is empty"),
        (("--queue", "\udcff"), "is no text"),
        (("some words",), "Give an id"),
    ],
)
def test_what_means_nothing_is_refused_with_a_word(
    queue: TaskSettings, arguments: tuple[str, ...], said: str
) -> None:
    make("FAILED")

    error = refused(*arguments)

    assert said in str(error)
    assert error.returncode == 2


def test_what_tasks_supply_is_inert_bounded_and_hides_what_is_sensitive(
    queue: TaskSettings,
) -> None:
    make("FAILED", description="\x1b[2J\u202e" + "W" * 1_000_000, worker_id="w\x07")
    charge.enqueue(1, card="4711 4711")

    for text in (shown(), shown("--json")):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "4711" not in text
        assert "***" in text
    assert len(shown()) < 2000


def test_it_needs_no_broker(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "MODULES": ["tests.tasks"]}
    record = make("FAILED")

    assert str(record.pk) in shown("--state", "failed")


def test_a_database_that_is_away_is_one_line_and_code_2(
    queue: TaskSettings, take_table_away: Any
) -> None:
    take_table_away()

    error = refused("--state", "failed")

    assert str(error).startswith("The database does not serve: ")
    assert error.returncode == 2


def test_of_several_databases_it_says_which_was_looked_at(
    queue: TaskSettings, other_database: str, settings: Any
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "DATABASE": "same"}
    here = make("FAILED")
    there = TaskRecord(task_name="tests.tasks.add", status="FAILED", args=[1, 2])
    there.save(using=other_database)
    get_broker().settle()

    assert f"Only those in default (--database {other_database}: the others)." in shown()
    assert [one["id"] for one in told()["records"]] == [str(here.pk)]
    found = shown("--database", other_database)
    assert str(there.pk) in found
    assert "Only those" not in found
