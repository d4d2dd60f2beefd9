"""A record's page: what happened, what it was called with, what came of it; and that all of it is
harmless."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from model_bakery import baker

from django_tasks.bridge.mirror import mirror
from django_tasks.broker import Broker, get_broker
from django_tasks.broker.message import Outcome
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskAttempt, TaskDependency, TaskRecord
from django_tasks.models.record import new_id
from tests.tasks import add
from tests.test_console import logged_in

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "admin:django_tasks_taskrecord_change"
PROGRESS = "admin:django_tasks_taskrecord_progress"
LIST = "admin:django_tasks_taskrecord_changelist"


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


def make(status: str = "SUCCESSFUL", **given: Any) -> TaskRecord:
    return baker.make(TaskRecord, status=status, **{"task_name": "shop.send", **given})


def attempt(record: TaskRecord, number: int, **given: Any) -> TaskAttempt:
    values = {"number": number, "fence": number, "outcome": "failed", "consumer": "web-1:7"}
    return TaskAttempt.objects.create(record=record, **{**values, **given})


def shown(client: Client, record_id: Any, name: str = PAGE) -> str:
    get_broker().settle()
    answer = client.get(reverse(name, args=[record_id]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def section(page: str, name: str) -> str:
    return page.partition(f'<h2 id="{name}">')[2].partition("</section>")[0]


# -- what happened -----------------------------------------------------------------------------


def test_its_times_and_runs_are_a_list_with_durations_and_a_picture(client: Client) -> None:
    began = timezone.now() - timedelta(minutes=30)

    def at(seconds: float) -> Any:
        return began + timedelta(seconds=seconds)

    record = make(
        "FAILED",
        created_at=began,
        enqueued_at=at(1),
        run_after=at(100),
        started_at=at(102),
        finished_at=at(192),
    )
    attempt(record, 1, outcome="retried", claimed_at=at(5), started_at=at(6), finished_at=at(66))
    attempt(record, 2, claimed_at=at(101), started_at=at(102), finished_at=at(192))

    what = section(shown(client, record.pk), "uncut-timeline")

    steps = re.findall(
        r"</time> <span>(.*?)</span>(?: <span class=\"uncut-gap\">(.*?)</span>)?", what
    )
    assert steps == [
        ("Created", ""),
        ("Enqueued", "+1.0 s"),
        ("Run 1: claimed", "+4.0 s"),
        ("Run 1: started", "+1.0 s"),
        ("Run 1: retried", "+1 min"),
        ("Due", "+34 s"),
        ("Run 2: claimed", "+1.0 s"),
        ("Run 2: started", "+1.0 s"),
        ("Run 2: failed", "+1 min 30 s"),
        ("Failed", "+0.0 s"),
    ]
    assert 'role="img" aria-label="Waiting and runs, over 3 min 12 s"' in what
    assert re.findall(r'class="uncut-span-(\w+)"', what) == [
        "waiting",
        "retried",
        "waiting",
        "failed",
    ]


def test_a_real_run_is_shown_with_its_result(client: Client, queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)
    get_broker().settle()
    hands = Broker(queue)
    hands.beat(["default"], ["host:1"], register=True)
    [message] = hands.claim("default", "host:1")
    hands.ack("default", "host:1", [Outcome.successful(message, {"sum": 3})])
    mirror(hands, "default", "default")
    hands.close()

    page = shown(client, result.id)

    assert "uncut-state-successful" in page
    assert "{ &quot;sum&quot;: 3 }" in section(page, "uncut-call")
    assert "1: succeeded" in section(page, "uncut-attempts")
    assert "data-seconds" not in page  # nothing changes any more


def test_errors_are_told_and_tracebacks_are_folded_and_copied(client: Client) -> None:
    record = make(
        "FAILED", error_class="shop.NoStock", error_message="none <left>", traceback="T 2"
    )
    attempt(record, 1, error_class="shop.Busy", error_message="in a while", traceback="T 1")
    attempt(record, 2, error_class="shop.NoStock", traceback="T 2")

    page = shown(client, record.pk)

    error, runs = section(page, "uncut-error-head"), section(page, "uncut-attempts")
    assert "<strong>shop.NoStock</strong>" in error
    assert "none &lt;left&gt;" in error
    assert "<details><summary>Traceback</summary>" in error
    for place, copied in ((error, "uncut-traceback"), (runs, "uncut-run-1"), (runs, "uncut-run-2")):
        assert f'data-copy="{copied}" hidden>Copy</button> <pre id="{copied}"' in place
    assert runs.index("shop.Busy") < runs.index("T 1") < runs.index("shop.NoStock")


# -- what it was called with, by whom, and what it called --------------------------------------


def test_arguments_are_pretty_and_bounded(client: Client) -> None:
    record = make(args=[42, {"user": 7}], kwargs={"text": "y" * 1_000_000})

    page = shown(client, record.pk)

    call = section(page, "uncut-call")
    assert "[ 42, { &quot;user&quot;: 7 } ]" in call
    assert "… (1,000,016 characters)" in call
    assert len(page) < 60_000


def test_it_says_who_and_what_enqueued_it_and_what_it_enqueued(client: Client) -> None:
    parent = make()
    headers = {"user": "anna", "view": "shop.views.checkout", "<b>": "\u202ex"}
    record = make(parent_id=parent.pk, headers=headers, release="2.4.1")
    made = [make("READY", parent_id=record.pk, description=f"mail({i})") for i in range(60)]

    page = shown(client, record.pk)

    told = section(page, "uncut-provenance")
    for text in ("anna", "shop.views.checkout", "2.4.1", str(parent.pk), "&lt;b&gt;", "\\u202ex"):
        assert text in told
    below = section(page, "uncut-children")
    assert below.count("uncut-state-ready") == 50
    assert reverse(PAGE, args=[made[0].pk]) in below
    assert f'{reverse(LIST)}?parent={record.pk}">And more' in below
    rest = client.get(f"{reverse(LIST)}?parent={record.pk}")
    assert len(rest.context["cl"].result_list) == 60
    assert 'id="uncut-children"' not in shown(client, made[0].pk)


def test_it_shows_what_it_waits_for_and_what_waits_for_it(client: Client) -> None:
    parents = [make("SUCCESSFUL", description=f"load({i})<b>") for i in range(2)]
    record = make("DEFERRED")
    dependents = [make("DEFERRED", description=f"report({i})") for i in range(60)]
    for one in parents:
        TaskDependency.objects.create(parent=one, child=record)
    for one in dependents:
        TaskDependency.objects.create(parent=record, child=one)

    page = shown(client, record.pk)

    above = section(page, "uncut-parents")
    assert [above.count(reverse(PAGE, args=[one.pk])) for one in parents] == [1, 1]
    assert "load(0)&lt;b&gt;" in above
    below = section(page, "uncut-dependents")
    assert below.count("uncut-state-deferred") == 50
    assert "And more." in below
    of_parent = shown(client, parents[0].pk)
    assert reverse(PAGE, args=[record.pk]) in section(of_parent, "uncut-dependents")
    assert 'id="uncut-parents"' not in of_parent


def test_back_leads_to_the_list_as_it_was(client: Client) -> None:
    record = make("FAILED")
    page = client.get(reverse(LIST), {"state": "FAILED"}).content.decode()
    [link] = re.findall(r'<a href="([^"]*)">shop.send', page)

    text = client.get(link.replace("&amp;", "&")).content.decode()

    assert str(record.pk) in link
    assert f'<a href="{reverse(LIST)}?state=FAILED">Back to the list</a>' in text
    assert text.count('class="object-tools"') == 1


# -- progress ----------------------------------------------------------------------------------


def test_what_a_run_reported_stands_with_it(client: Client) -> None:
    record = make("FAILED")
    lines = [[1_795_000_000_000_000 + i * 1_000_000, f"item <{i}> \u202e"] for i in range(300)]
    at = lines[-1][0]
    report = {"done": 40, "total": 120, "text": "rendering", "at": at, "log": lines}
    attempt(record, 1, report=report)

    runs = section(shown(client, record.pk), "uncut-attempts")

    assert (
        '<progress max="100" value="33">33 %</progress></label> 33 % (40 / 120) · rendering' in runs
    )
    assert "item &lt;299&gt; \\u202e" in runs
    assert runs.count("item &lt;") == 50


@pytest.mark.parametrize("given", [[], "text", {"done": "many", "log": "no list"}], ids=str)
def test_a_report_of_any_shape_is_shown_or_left_out(client: Client, given: Any) -> None:
    record = make("FAILED")
    attempt(record, 1, report=given)

    assert "uncut-report" not in section(shown(client, record.pk), "uncut-attempts")


def test_what_runs_renews_itself_and_an_end_is_told(client: Client, queue: TaskSettings) -> None:
    result = add.enqueue(1, 2)
    page = shown(client, result.id)
    url = reverse(PROGRESS, args=[result.id])
    assert f'data-url="{url}" data-seconds="2"' in page
    first = client.get(url)
    assert first.status_code == 200
    assert "<html" not in first.content.decode()
    assert "data-ended" not in first.content.decode()
    hands = Broker(queue)
    hands.beat(["default"], ["host:1"], register=True)
    [message] = hands.claim("default", "host:1")

    assert "uncut-state-running" in client.get(url).content.decode()

    hands.ack("default", "host:1", [Outcome.successful(message, 3)])
    mirror(hands, "default", "default")
    hands.close()
    ended = client.get(url)
    assert "data-ended" in ended.content.decode()
    assert "uncut-state-successful" in ended.content.decode()
    tag = ended.headers["ETag"]
    # An age in its words: the same only within the same second.
    assert client.get(url, headers={"if-none-match": tag}).status_code in (200, 304)
    assert client.get(reverse(PROGRESS, args=[new_id()])).status_code == 404


# -- harmless, to whom, at what cost -----------------------------------------------------------


def test_whatever_a_task_supplies_is_inert_and_bounded_everywhere(client: Client) -> None:
    hostile = "<script>alert(1)</script>\u202e\u2066\x1b[2J\x00\ud800"
    long = hostile + "z" * 1_000_000
    record = make(
        "FAILED",
        description=long,
        args=[long],
        kwargs={hostile: long},
        return_value={hostile: long},
        error_class=long,
        error_message=long,
        traceback=long,
        dead_letter=long,
        metadata={hostile: long},
        headers={hostile: long},
        worker_id="<script>alert(1)",
        release="<script>alert(1)",
    )
    attempt(
        record,
        1,
        outcome="<script>",
        consumer="<script>alert(1)",
        error_class=long,
        error_message=long,
        traceback=long,
        report={"done": 1, "total": 2, "text": long, "log": [[0, long]]},
    )
    make("FAILED", parent_id=record.pk, description=long, return_value=long)

    page = shown(client, record.pk)

    for text in ("<script>alert", "<script>:", "\u202e", "\u2066", "\x1b", "\x00"):
        assert text not in page
    assert "\\u202e" in page
    assert len(page) < 250_000


def test_its_history_is_harmless_too(client: Client) -> None:
    record = make(description="\u202e\ud800<b>" + "z" * 1_000_000)

    page = shown(client, record.pk, "admin:django_tasks_taskrecord_history")

    assert "\\u202e\\ud800&lt;b&gt;z" in page
    assert len(page) < 30_000


def test_a_traceback_is_shown_by_its_end(client: Client) -> None:
    record = make("FAILED", traceback="first line\n" + "  File\n" * 10_000 + "ValueError: last")

    error = section(shown(client, record.pk), "uncut-error-head")

    assert "ValueError: last" in error
    assert "first line" not in error
    assert "… (70,027 characters)" in error


def test_a_call_without_a_row_is_shown_by_what_the_broker_holds(client: Client) -> None:
    result = add.using(record="never").enqueue(1, 2)

    page = shown(client, result.id)

    assert "What is where" in page
    assert "<code>[1,2]</code>" in page
    assert 'id="uncut-timeline"' not in page


def test_an_id_that_nobody_knows_leads_back(client: Client) -> None:
    for unknown in (new_id(), "no-id"):
        answer = client.get(reverse(PAGE, args=[unknown]))

        assert answer.status_code == 302


def test_who_may_not_look_is_refused(queue: TaskSettings) -> None:
    record = make()
    someone = logged_in("view_queue")

    assert someone.get(reverse(PAGE, args=[record.pk])).status_code == 403
    assert someone.get(reverse(PROGRESS, args=[record.pk])).status_code == 403
    assert Client().get(reverse(PROGRESS, args=[record.pk])).status_code == 302


def test_the_same_few_queries_however_often_it_ran(client: Client) -> None:
    record = make("FAILED")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            shown(client, record.pk)
        return len(queries)

    attempt(record, 1)
    few = cost()
    for number in range(2, 40):
        attempt(record, number)
        make(parent_id=record.pk)

    # The session, the user, the row, runs, what it waits for, what waits for it, what it enqueued.
    assert cost() == few <= 8


def test_without_time_zones_it_tells_local_times(client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    now = timezone.now()
    record = make("RUNNING", created_at=now, enqueued_at=now, fence=int(now.timestamp() * 1e6))
    attempt(record, 1, claimed_at=now, finished_at=now, report={"at": now.timestamp()})

    page = shown(client, record.pk)
    listed = client.get(reverse(LIST), {"since": "1h", "longer": "5m", "state": "RUNNING"})

    assert f"{now:%Y-%m-%d %H:%M:%S}</time> <span>Created" in page
    assert listed.status_code == 200
    assert not listed.context["cl"].refused
