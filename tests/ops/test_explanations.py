"""explain: each sentence, with its cause brought about step by step.

What needs a worker's processes to come about is in tests/worker/test_explained.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from model_bakery import baker

from django_tasks import django_task
from django_tasks.bridge import actions
from django_tasks.bridge.deliver import deliver
from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.ops.control import pause
from django_tasks.ops.inspection import explain
from django_tasks.worker.atomic import LATER
from django_tasks.worker.execute import execute
from tests.bridge.steps import pushed
from tests.tasks import add
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = "No worker takes default: python manage.py runworker default"
FIRST = "0 are ahead of it in default"
TIME = r"[\d.]+ (?:s|min|h)(?: \d+ \w+)?"


@django_task(atomic=True, name="tests.add_atomically")
def add_atomically(a: int, b: int) -> int:
    return a + b


def said(result: Any) -> str:
    get_broker().settle()
    return " ".join(explain(result.id))


def register(hands: Broker, queue: str = "default") -> None:
    hands.beat([queue], ["host:1"], register=True)


def claimed(hands: Broker, queue: str = "default") -> Message:
    get_broker().settle()
    register(hands, queue)
    [message] = hands.claim(queue, "host:1")
    return message


# -- ready -------------------------------------------------------------------------------------


def test_how_many_are_ahead_by_priority(hands: Broker) -> None:
    results = [add.enqueue(number, 1) for number in range(3)]
    urgent = add.using(priority=5).enqueue(9, 1)

    assert said(urgent) == f"{NOBODY} {FIRST}."
    assert said(results[0]) == f"{NOBODY} 1 is ahead of it in default."
    assert said(results[2]) == f"{NOBODY} 3 are ahead of it in default."


def test_how_long_that_takes_at_the_present_rate(hands: Broker) -> None:
    for number in range(60):
        add.enqueue(number, 1)
    for _ in range(60):
        hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 1)])
    more = [add.enqueue(number, 1) for number in range(30)]

    [text] = re.findall(r"29 are ahead of it in default, (.*)\.", said(more[-1]))

    # Sixty left in the last minute: one a second.
    rate, seconds = re.findall(rf"([\d.]+) a second leave: about ({TIME})", text)[0]
    assert float(rate) == pytest.approx(1, abs=0.2)
    assert 20 < float(seconds.split()[0]) < 45


def test_nothing_left_in_the_last_minute(hands: Broker) -> None:
    register(hands)

    assert said(add.enqueue(1, 1)) == f"{FIRST}, and in the last minute none left."


def test_who_paused_its_queue_when_why_and_until_when(hands: Broker) -> None:
    register(hands)
    result = add.enqueue(1, 1)
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d"

    pause("default", by="anna", reason="bank holiday", until=timezone.now() + timedelta(hours=2))
    why = rf'The queue default is paused since {day} by anna: "bank holiday", until {day}\.'
    assert re.fullmatch(rf"{why} {FIRST}\.", said(result))

    pause("default", by="bob", until=timezone.now() - timedelta(minutes=1))
    assert re.fullmatch(
        rf"The queue default is paused since {day} by bob, until {day}, which is over: a worker of"
        rf" the queue ends it\. {FIRST}\.",
        said(result),
    )
    hands.promote("default")
    assert said(result).startswith(FIRST)


def test_it_expires(hands: Broker, redis_client: Any) -> None:
    register(hands)
    soon = timezone.now() + timedelta(seconds=0.3)
    result = add.using(expires=soon).enqueue(1, 1)
    waits = said(result)
    wait_until(lambda: timezone.now() > soon)
    late = said(result)
    hands.promote("default")

    unless = r"It expires in 0\.\d s, unless a worker begins it before\."
    assert re.fullmatch(rf"{FIRST}, and in the last minute none left\. {unless}", waits)
    assert re.fullmatch(r".* It expired 0\.\d s ago, and is not begun any more\.", late)
    assert re.fullmatch(
        r"Expired 0\.\d s ago, before a worker began it\. Its row does not say so yet: .*",
        said(result),
    )


def test_it_ran_beside_others_when_their_process_died(hands: Broker) -> None:
    results = [add.enqueue(1, 1), add.enqueue(2, 1)]
    get_broker().settle()
    register(hands)
    held = hands.claim("default", "host:1", 2)
    hands.reap("default", "host:1", [one.id for one in held])

    assert said(results[0]) == (
        f"{NOBODY} {FIRST}."
        " It ran beside others when their process died: it runs alone next time, to tell."
    )


def test_it_is_in_doubt(hands: Broker) -> None:
    record = baker.make(TaskRecord, status="PENDING", task_name="tests.tasks.add")
    deliver(hands, "default")

    assert " ".join(explain(record)) == (
        f"{NOBODY} {FIRST}. In doubt: whoever claims it looks at its row first."
    )


# -- scheduled ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use_tz", [True, False])
def test_it_waits_for_its_time_as_the_readers_clock_says_it(
    hands: Broker, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "UTC"
    result = add.using(run_after=timedelta(hours=4, minutes=1)).enqueue(1, 1)
    due = datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(hours=4, minutes=1)

    with timezone.override("Asia/Tokyo"):
        text = said(result)

    [day, hour, left] = re.findall(r"Scheduled for (\S+) (\S+) Asia/Tokyo, in (.*)\.", text)[0]
    assert day == f"{due:%Y-%m-%d}" or hour.startswith("00:00")
    assert hour.startswith((f"{due:%H:%M}", f"{due - timedelta(seconds=5):%H:%M}"))
    assert left in ("4 h", "4 h 1 min")


def test_it_is_due_and_nobody_makes_it_ready(hands: Broker) -> None:
    soon = timezone.now() + timedelta(seconds=0.2)
    result = add.using(run_after=soon).enqueue(1, 1)
    wait_until(lambda: timezone.now() > soon)

    assert re.fullmatch(rf"It was due 0\.\d s ago\. {NOBODY}", said(result))

    register(hands)
    ready = "A worker of its queue makes it ready within a second."
    assert re.fullmatch(rf"It was due 0\.\d s ago\. {ready}", said(result))


def test_a_retry_names_an_error_whose_class_is_gone(hands: Broker) -> None:
    result = add.using(retries=3, backoff=(40, 1, 40, False)).enqueue(1, "x")  # type: ignore[arg-type]
    message = claimed(hands)
    outcome = execute(message, "host:1", hands.settings)
    gone = outcome.fields["error_class"] = "shop.errors.NoStock"
    note = f"attempt:{message.fence}"
    outcome.fields[note] = outcome.fields[note].replace("builtins.TypeError", gone)
    told = Outcome(message, outcome.word, outcome.delay, outcome.run, outcome.fields)
    hands.ack("default", "host:1", [told])
    failed = rf"Attempt 1 of 4 failed with NoStock; the next is in {TIME}\."

    assert re.fullmatch(failed, said(result))
    mirror(hands, "default", "default")  # the run is a row by now
    assert re.fullmatch(failed, said(result))


def test_it_failed_before_and_waits_for_a_worker(hands: Broker) -> None:
    result = add.using(retries=1, backoff=0).enqueue(1, "x")  # type: ignore[arg-type]
    hands.ack("default", "host:1", [execute(claimed(hands), "host:1", hands.settings)])

    assert said(result).endswith(
        f"{FIRST}, and in the last minute none left."
        " This is attempt 2 of 2: the last one failed with TypeError."
    )


def test_its_commit_was_cut_off(hands: Broker) -> None:
    result = add_atomically.enqueue(1, 1)
    # As execute() tells it of a commit that was cut off.
    hands.ack("default", "host:1", [Outcome(claimed(hands), "snoozed", LATER)])

    assert re.fullmatch(
        rf"Its commit was cut off: in {TIME} a worker sees what became of it\.", said(result)
    )


# -- held --------------------------------------------------------------------------------------


def test_it_was_claimed_and_no_worker_says_that_it_runs(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    claimed(hands)

    assert re.fullmatch(
        r"Claimed by host:1 0\.\d s ago; its worker has not said yet that it runs\.", said(result)
    )


def test_its_holder_is_gone(hands: Broker, redis_client: Any) -> None:
    result = add.enqueue(1, 1)
    claimed(hands)
    hands.beat(["default"], ["other:2"], register=True)
    back = "A worker of its queue takes it back now."
    redis_client.zadd(hands.keys("default").workers, {"host:1": 1})
    assert said(result) == f"Held by host:1, whose lease ran out. {back}"

    redis_client.zrem(hands.keys("default").workers, "host:1")
    assert said(result) == f"Held by host:1, which the broker does not know. {back}"


# -- the two stores disagree -------------------------------------------------------------------


def test_its_row_is_behind(hands: Broker) -> None:
    result, older = add.enqueue(1, 1), add.enqueue(2, 1)
    get_broker().settle()
    register(hands)
    for message, ago in zip(hands.claim("default", "host:1", 2), (0, 180), strict=True):
        outcome = execute(message, "host:1", hands.settings)
        ended = int(outcome.fields["finished_at"]) - ago * 1_000_000
        fields = {**outcome.fields, "finished_at": str(ended)}
        hands.ack("default", "host:1", [Outcome(message, outcome.word, fields=fields)])

    assert re.fullmatch(
        r"Succeeded 0\.\d s ago\. Its row does not say so yet: the mirror is a moment behind\.",
        said(result),
    )
    assert said(older) == (
        "Succeeded 3 min ago. Its row has not said so for 3 min: does a worker's keeper run?"
    )
    mirror(hands, "default", "default")
    assert said(older) == "Succeeded 3 min ago."


def test_its_row_is_final_and_its_message_still_runs(hands: Broker) -> None:
    result = add_atomically.enqueue(1, 1)
    message = claimed(hands)
    mirror(hands, "default", "default")

    outcome = execute(message, "host:1", hands.settings)  # the row says so in its transaction

    assert re.fullmatch(
        r"Succeeded 0\.\d s ago\. The broker still says RUNNING: whatever comes of that, this end"
        r" stands\.",
        said(result),
    )
    hands.ack("default", "host:1", [outcome])
    assert re.fullmatch(r"Succeeded 0\.\d s ago\.", said(result))


def test_its_row_is_of_a_later_round_than_its_message(hands: Broker) -> None:
    result = add.enqueue(1, 1)
    hands.ack("default", "host:1", [Outcome.successful(claimed(hands), 2)])
    mirror(hands, "default", "default")
    # As a person's retry writes it.
    TaskRecord.objects.filter(id=result.id).update(status="PENDING", round=2)

    assert said(result).startswith("Committed, and not yet in the broker: no worker runs")


@pytest.mark.parametrize("recording", ["never", "after", "first"])
def test_it_has_no_row(hands: Broker, recording: str) -> None:
    result = add.using(record=recording, queue="mail").enqueue(1, 1)
    TaskRecord.objects.filter(id=result.id).delete()
    line = "No worker takes mail: python manage.py runworker mail 0 are ahead of it in mail."
    row = {
        "never": 'It has no row (record="never"): the broker alone knows it.',
        "after": "It has no row yet: the mirror writes it.",
        "first": "Its row was deleted: it is not run any more, but dropped.",
    }

    assert said(result) == f"{line} {row[recording]}"

    message = claimed(hands, "mail")
    if recording == "first":
        assert said(result).endswith("Its row was deleted: when this run ends, it is forgotten.")
    hands.ack("mail", "host:1", [Outcome.successful(message, 2)])
    if recording == "first":
        assert said(result).endswith("Its row was deleted.")


def test_the_database_does_not_serve(hands: Broker, take_table_away: Callable[[], None]) -> None:
    result = add.enqueue(1, 1)
    get_broker().settle()
    take_table_away()

    text = said(result)

    assert text.startswith(f"{NOBODY} {FIRST}. The database 'default' does not serve: ")


def test_the_broker_does_not_serve(settings: Any, queue: TaskSettings) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": "redis://127.0.0.1:1/0"}
    waits, over = baker.make(TaskRecord, status="READY"), baker.make(TaskRecord, status="CANCELLED")

    [text, away] = explain(waits)

    assert text == "The row says READY; where it is now only the broker knows."
    assert away.startswith("The broker does not serve: ")
    assert explain(over)[0] == "Cancelled."


# -- final -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"status": "SUCCESSFUL"}, "Succeeded 3 min ago."),
        ({"status": "CANCELLED"}, "Cancelled 3 min ago."),
        ({"status": "EXPIRED"}, "Expired 3 min ago, before a worker began it."),
        (
            {"status": "FAILED", "error_class": "shop.errors.NoStock", "attempt": 4},
            "Failed 3 min ago with NoStock, after 4 attempts.",
        ),
        (
            {"status": "FAILED", "error_class": "", "attempt": 1},
            "Failed 3 min ago with an error, after 1 attempt.",
        ),
        (
            {"status": "FAILED", "dead_letter": "No task is named 'x' here."},
            "Dead letter: No task is named 'x' here.",
        ),
    ],
)
def test_it_is_over(hands: Broker, given: dict[str, Any], text: str) -> None:
    ended = timezone.now() - timedelta(minutes=3)

    assert explain(baker.make(TaskRecord, finished_at=ended, **given)) == [text]


def test_somebody_did_something_to_it(hands: Broker) -> None:
    record, running = pushed(hands), pushed(hands, priority=1)
    hands.beat(["default"], ["host:1"], register=True)
    hands.claim("default", "host:1")

    actions.cancel(record, by="anna", reason="not wanted")
    actions.cancel(running)

    said = explain(record)
    assert said[0].startswith("Cancelled ")
    assert re.fullmatch(r'Cancel, by anna at [-0-9: ]{19} UTC: "not wanted"\.', said[1])
    said = explain(running)
    assert said[-1] == "Its run is told to end, and then ended."
    assert re.fullmatch(r"Cancel, by somebody at [-0-9: ]{19} UTC\.", said[-2])
