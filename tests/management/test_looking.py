"""manage.py tasks queues, workers, inspect, explain: tables for people, JSON for programs."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_tasks import django_task
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.worker.burst import burst
from tests.calls.test_arguments import echo
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


def shown(*arguments: str) -> str:
    get_broker().settle()
    out = StringIO()
    call_command("tasks", *arguments, stdout=out)
    return out.getvalue().strip()


def test_queues_as_a_table_says_what_to_do(queue: TaskSettings) -> None:
    assert shown("queues").startswith("No queue yet. Enqueue something")

    add.using(queue="mail").enqueue(1, 2)

    head, line, alarm = shown("queues").splitlines()
    assert head.split()[:7] == "queue ready unacked scheduled deferred dead total".split()
    assert line.split()[:7] == "mail 1 0 0 0 0 1".split()
    assert alarm.endswith("python manage.py runworker mail")


def test_queues_as_json_has_the_fields_that_programs_read(queue: TaskSettings) -> None:
    add.enqueue(1, 2)

    [line] = json.loads(shown("queues", "--json"))

    wanted = "queue ready unacked scheduled deferred dead total paused consumers".split()
    assert {*wanted, "oldest_waiting_seconds"} <= set(line)
    assert (line["queue"], line["ready"], line["paused"]) == ("default", 1, False)


def test_workers_says_the_next_command_where_there_is_none(queue: TaskSettings) -> None:
    assert shown("workers") == "No worker. Start one: python manage.py runworker"
    assert json.loads(shown("workers", "--json")) == []


def test_inspect_shows_the_row_the_message_and_every_key(queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)

    text = shown("inspect", result.id)
    told = json.loads(shown("inspect", result.id, "--json"))

    assert f"{queue.prefix}:{{default}}:message:{result.id}" in text
    assert f"{queue.prefix}:{{default}}:ready" in text
    assert {"row", "broker", "keys", "differences", "explain"} <= set(told)
    assert told["row"]["args"] == [1, 2]
    assert told["broker"]["args"] == "[1,2]"


def test_explain_says_why(queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)

    assert shown("explain", result.id).startswith("No worker takes default")
    assert json.loads(shown("explain", result.id, "--json"))[1].startswith("0 are ahead of it")


@pytest.mark.parametrize("subcommand", ["inspect", "explain"])
def test_an_unknown_id_is_one_line_and_code_1(queue: TaskSettings, subcommand: str) -> None:
    with pytest.raises(CommandError, match="is not the id") as caught:
        call_command("tasks", subcommand, "nothing")

    assert caught.value.returncode == 1


def test_what_a_task_supplies_does_nothing_to_a_terminal(queue: TaskSettings) -> None:
    result = echo.enqueue("\x1b[2J\x07\u202e", "x", key="\r\n")

    text = shown("inspect", result.id)

    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
    assert "\\x1b[2J" in text or "\\u001b[2J" in text


def test_queues_with_the_broker_away_shows_what_is_known_and_ends_with_2(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}
    out = StringIO()

    with pytest.raises(CommandError, match="The broker does not serve") as caught:
        call_command("tasks", "queues", stdout=out)

    assert caught.value.returncode == 2
    assert "The broker does not serve" in out.getvalue()
    assert "No queue yet" not in out.getvalue()


def test_a_queue_is_paused_and_resumed(queue: TaskSettings) -> None:
    add.enqueue(1, 2)

    said = shown("pause", "default", "--reason", "bank holiday", "--minutes", "90")

    assert said == "default is paused. Resume it: manage.py tasks resume default"
    assert ': "bank holiday", until ' in shown("queues")
    assert json.loads(shown("pause", "default", "--json"))["changed"] is False
    assert shown("resume", "default") == "default is resumed."
    assert shown("resume", "default") == "default was not paused."


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "1e9"])
def test_a_pause_of_no_length_is_refused(queue: TaskSettings, minutes: str) -> None:
    with pytest.raises(CommandError, match="between 0 and a year"):
        call_command("tasks", "pause", "default", f"--minutes={minutes}")


@django_task(takes_context=True)
def pack(context: Any, text: str) -> None:
    context.progress(1, 3, text)
    context.log("a line: %s", text)


def test_inspect_shows_how_far_a_run_is_and_its_log(queue: TaskSettings) -> None:
    result, silent = pack.enqueue("bo\u202ex\x1b[2J"), add.enqueue(1, 2)
    burst(queue, ["default"])

    text = shown("inspect", result.id)
    told = json.loads(shown("inspect", result.id, "--json"))["report"]

    assert "Progress: 1 of 3 (33%) bo\\u202ex\\x1b[2J\n" in text
    assert " a line: bo\\u202ex\\x1b[2J\n" in text
    assert (told["done"], told["total"], told["text"]) == (1, 3, "bo\u202ex\x1b[2J")
    assert [line["text"] for line in told["log"]] == ["a line: bo\u202ex\x1b[2J"]
    assert "Progress" not in shown("inspect", silent.id)
    assert json.loads(shown("inspect", silent.id, "--json"))["report"] is None
