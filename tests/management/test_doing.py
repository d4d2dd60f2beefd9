"""manage.py tasks retry, cancel, purge: what is asked first, what is done, what is told, codes."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.management.commands.tasks import Command
from django_tasks.models import TaskRecord
from tests.bridge.steps import pushed, written
from tests.management.conftest import Terminal
from tests.ops.made import make
from tests.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = {"BROKER": "redis://127.0.0.1:1/0", "MODULES": ["tests.tasks"]}


def shown(*arguments: str) -> str:
    get_broker().settle()
    out = StringIO()
    call_command("tasks", *arguments, stdout=out)
    get_broker().settle()
    return out.getvalue().strip()


def told(*arguments: str) -> Any:
    return json.loads(shown(*arguments, "--json"))


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        shown(*arguments)
    return caught.value


def states() -> list[str]:
    return [str(one) for one in TaskRecord.objects.order_by("id").values_list("status", flat=True)]


# -- which ----------------------------------------------------------------------------------------


def test_ids_are_done_at_once_and_who_and_why_is_kept(hands: Broker) -> None:
    one, other = make("FAILED", args=[1, 2]), make("FAILED", args=[1, 2])

    said = shown("retry", str(one.pk), str(one.pk).upper(), "--reason", "the bank is back")

    assert said.splitlines() == ["1 match; retry can be done to 1.", "1 record changed."]
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.status, one.round, other.status) == ("PENDING", 2, "FAILED")
    assert one.metadata["deed"]["reason"] == "the bank is back"
    assert one.metadata["deed"]["by"] not in ("", "?")
    assert hands.backlog("default")["ready"] == 1


def test_all_that_match_a_filter_and_no_others(hands: Broker) -> None:
    for given in ({"queue_name": "mail"}, {"queue_name": "mail"}, {"queue_name": "other"}):
        make("FAILED", args=[1, 2], **given)
    make("SUCCESSFUL", queue_name="mail")

    done = told("retry", "--queue", "mail", "--yes")

    assert (done["deed"], done["matched"], done["changed"], done["told"]) == ("retry", 3, 2, 0)
    assert done["skipped"] == {"succeeded": 1}
    assert states() == ["PENDING", "PENDING", "FAILED", "SUCCESSFUL"]


def test_what_succeeded_is_run_again_only_if_that_is_said(hands: Broker) -> None:
    record = make("SUCCESSFUL", args=[1, 2])

    assert told("retry", str(record.pk))["changed"] == 0
    assert told("retry", str(record.pk), "--again")["changed"] == 1


def test_a_dry_run_counts_and_changes_nothing(hands: Broker) -> None:
    make("FAILED")
    make("SUCCESSFUL")

    text = shown("retry", "--task", "add", "--dry-run")
    counted = told("retry", "--task", "add", "--dry-run")

    assert text == "2 match; retry can be done to 1. Left as they are: 1 × succeeded."
    assert counted == {"matched": 2, "eligible": 1, "skipped": {"succeeded": 1}}
    assert states() == ["FAILED", "SUCCESSFUL"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give ids, or a filter"),
        (("--order", "oldest"), "Give ids, or a filter"),
        (("--dead", "0"), "Give ids, or a filter"),
        (("--state", ","), "is no state"),
        (("--queue", ""), "--queue is empty"),
        (("--task", " "), "--task is empty"),
        (("--state", "nope"), "is no state"),
        ((str(uuid4()), "--state", "failed"), "ids or a filter, not both"),
        (("--state", "failed", "--backend", "nope"), "TASKS has no alias 'nope'"),
    ],
)
@pytest.mark.parametrize("subcommand", ["retry", "cancel"])
def test_what_could_mean_all_is_refused(
    hands: Broker, subcommand: str, arguments: tuple[str, ...], said: str
) -> None:
    make("FAILED")
    pushed(hands)

    error = refused(subcommand, *arguments, "--yes")

    assert said in str(error)
    assert error.returncode == 2
    assert states() == ["FAILED", "PENDING"]


def test_an_unknown_id_is_code_1_and_nothing_is_done_to_the_others(hands: Broker) -> None:
    known, strange = make("FAILED"), uuid4()

    for subcommand in ("retry", "cancel"):
        error = refused(subcommand, str(known.pk), str(strange), str(uuid4()))
        assert str(error) == (
            f"No record has the id {strange} (1 more are unknown). Nothing was done."
        )
        assert error.returncode == 1
    assert refused("retry", str(known.pk), "no-id").returncode == 1
    assert states() == ["FAILED"]


def test_only_what_an_alias_enqueued_where_one_is_named(hands: Broker, settings: Any) -> None:
    backend = {"BACKEND": "django_tasks.RedisBackend"}
    settings.TASKS = {"default": backend, "second": {**backend, "OPTIONS": {"PREFIX": "elsewhere"}}}
    make("FAILED", args=[1, 2], metadata={"backend": "second"})
    make("FAILED", args=[1, 2])
    make("FAILED", args=[1, 2], metadata={"backend": "default"})

    assert told("retry", "--state", "failed", "--backend", "default", "--yes")["changed"] == 2
    assert states() == ["FAILED", "PENDING", "PENDING"]
    assert told("retry", "--state", "failed", "--backend", "second", "--yes")["changed"] == 1
    second = get_broker("second")
    second.settle()
    assert (second.backlog("default")["ready"], hands.backlog("default")["ready"]) == (1, 2)


# -- asked first ----------------------------------------------------------------------------------


def test_where_nobody_can_be_asked_nothing_is_done(hands: Broker) -> None:
    make("FAILED")
    pushed(hands)

    for arguments in (("retry", "--state", "failed"), ("purge", "default")):
        error = refused(*arguments)
        assert "Add --yes" in str(error)
        assert error.returncode == 2
    assert states() == ["FAILED", "PENDING"]


def test_a_person_is_asked_on_stderr_and_stdout_stays_json(
    hands: Broker, terminal: Terminal
) -> None:
    make("FAILED", args=[1, 2])

    terminal.type("yes\n")
    done = told("retry", "--state", "failed")

    assert done["changed"] == 1
    assert "retry 1 record? Type yes: " in terminal.shows()


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "\x04"])
def test_anything_but_yes_does_nothing(hands: Broker, terminal: Terminal, answer: str) -> None:
    make("FAILED")

    terminal.type(answer)
    error = refused("retry", "--state", "failed")

    assert (str(error), error.returncode) == ("Nothing was done.", 2)
    assert states() == ["FAILED"]


def test_a_purge_wants_the_queue_s_name_typed(hands: Broker, terminal: Terminal) -> None:
    pushed(hands)

    terminal.type("yes\n")
    assert str(refused("purge", "default")) == "Nothing was done."
    assert states() == ["PENDING"]

    terminal.type("default\n")
    assert shown("purge", "default").endswith("1 record changed.")
    assert states() == ["CANCELLED"]
    assert terminal.shows().count("purge default? Type default: ") == 2


def test_nobody_is_asked_where_there_is_nothing_to_do(hands: Broker) -> None:
    make("SUCCESSFUL")

    done = told("retry", "--task", "add")

    assert (done["matched"], done["changed"], done["skipped"]) == (1, 0, {"succeeded": 1})
    assert shown("purge", "default").endswith("0 records changed.")


def test_ctrl_c_is_a_line_and_a_code_and_says_that_it_may_be_repeated(
    hands: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("FAILED")

    def interrupt(*args: Any, **given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Command, "_import_tasks", interrupt)
    error = refused("retry", "--state", "failed", "--yes")

    assert error.returncode == 130
    assert str(error).startswith("Interrupted. What was done until then stays")
    assert str(refused("queues")) == "Interrupted."


# -- cancel ---------------------------------------------------------------------------------------


def test_what_waits_is_cancelled_and_what_runs_is_told(hands: Broker) -> None:
    hands.beat(["default"], ["c"], register=True)
    running = pushed(hands)
    hands.claim("default", "c")
    pushed(hands)
    mirror(hands, "default", "default")
    make("FAILED")

    done = told("cancel", "--queue", "default", "--yes", "--reason", "not wanted")

    assert (done["matched"], done["changed"], done["told"]) == (3, 1, 1)
    assert done["skipped"] == {"has ended": 1}
    assert states() == ["RUNNING", "CANCELLED", "FAILED"]
    running.refresh_from_db()
    assert running.metadata["deed"]["reason"] == "not wanted"
    assert shown("cancel", str(running.pk)).endswith("0 records changed; 1 run told to end.")


@pytest.mark.parametrize(("arguments", "how"), [((), "soft"), (("--terminate",), "hard")])
def test_how_a_run_is_ended(
    hands: Broker, redis_client: Any, arguments: tuple[str, ...], how: str
) -> None:
    hands.beat(["default"], ["c"], register=True)
    running = pushed(hands)
    hands.claim("default", "c")

    shown("cancel", str(running.pk), *arguments)

    assert redis_client.hget(hands.keys("default").message(str(running.pk)), "cancel") == how


def test_calls_without_a_row_are_cancelled_by_id(hands: Broker) -> None:
    results = [add.using(record=word, queue="mail").enqueue(1, 2) for word in ("never", "after")]
    ids = [one.id for one in results]
    row = pushed(hands)

    assert told("cancel", *ids, "--dry-run") == {"matched": 2, "eligible": 2, "skipped": {}}
    done = told("cancel", *ids, str(row.pk))

    assert (done["matched"], done["changed"]) == (3, 3)
    assert hands.backlog("mail")["ready"] == hands.backlog("default")["ready"] == 0
    assert told("cancel", ids[0])["skipped"] == {"has ended": 1}
    mirror(hands, "mail", "default")
    assert TaskRecord.objects.get(pk=ids[1]).status == "CANCELLED"


# -- stores that are away -------------------------------------------------------------------------


def test_a_retry_needs_no_broker_and_says_what_it_changed(settings: Any) -> None:
    settings.DJANGO_TASKS = AWAY
    make("FAILED", args=[1, 2])

    out = StringIO()
    call_command("tasks", "retry", "--state", "failed", "--yes", stdout=out)

    assert out.getvalue().strip().endswith("1 record changed.")
    assert states() == ["PENDING"]


def test_cancel_and_purge_without_the_broker_are_a_line_and_code_2(
    queue: TaskSettings, settings: Any
) -> None:
    record = make("READY")
    pending = written(queue)
    settings.DJANGO_TASKS = AWAY

    for arguments, said in (
        (("cancel", str(record.pk)), "the command may be repeated"),
        (("cancel", str(uuid4())), "does not serve"),
        (("purge", "default", "--yes"), "Nothing was done."),
        (("pause", "default"), "does not serve"),
        (("resume", "default"), "does not serve"),
        (("workers",), "The broker does not serve"),
        (("inspect", str(record.pk)), "The broker does not serve"),
        (("explain", str(record.pk)), "The broker does not serve"),
    ):
        with pytest.raises(CommandError, match=said) as caught:
            call_command("tasks", *arguments, stdout=StringIO())
        assert caught.value.returncode == 2
        assert "\n" not in str(caught.value)
    pending.refresh_from_db()
    assert states() == ["READY", "PENDING"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", "--state", "failed", "--yes"),
        ("cancel", str(uuid4())),
        ("purge", "default", "--yes"),
        ("queues",),
        ("inspect", str(uuid4())),
    ],
)
def test_without_the_database_it_is_a_line_and_code_2(
    hands: Broker, take_table_away: Any, arguments: tuple[str, ...]
) -> None:
    take_table_away()

    error = refused(*arguments)

    assert "does not serve: " in str(error)
    assert error.returncode == 2


# -- purge ----------------------------------------------------------------------------------------


def test_a_purge_counts_what_is_pushed_what_is_not_and_what_has_no_row(hands: Broker) -> None:
    pushed(hands)
    written(hands.settings)
    add.using(record="never").enqueue(1, 2)

    text = shown("purge", "default", "--yes", "--reason", "a mistake")

    assert text.splitlines() == [
        "2 wait in default; their records stay, cancelled.",
        "3 records changed.",
    ]
    assert set(states()) == {"CANCELLED"}
    assert told("purge", "default", "--yes") == {
        "deed": "cancel",
        "matched": 0,
        "changed": 0,
        "told": 0,
        "skipped": {},
    }


def test_what_people_say_can_be_kept_and_shown(hands: Broker) -> None:
    record = make("FAILED", args=[1, 2])

    shown("retry", str(record.pk), "--reason", "\udcff\x00\x1b[2J" + "r" * 5000)
    shown("pause", "default", "--reason", "\udcff\x1b[2J")
    pushed(hands)

    record.refresh_from_db()
    reason = record.metadata["deed"]["reason"]
    assert reason.startswith("?\x1b[2Jr")
    assert len(reason) < 1001
    assert "\x1b" not in shown("queues")
    assert '"?\\x1b[2J"' in shown("queues")


def test_tasks_that_can_not_be_imported_stop_nobody_from_looking(
    hands: Broker, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('no \\x1b[2J')")
    monkeypatch.syspath_prepend(tmp_path)
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "MODULES": ["broken_tasks"]}
    out, err = StringIO(), StringIO()

    call_command("tasks", "pause", "default", stdout=out, stderr=err)

    assert "default is paused" in out.getvalue()
    assert "can't all be imported: RuntimeError: no \\x1b[2J" in err.getvalue()
