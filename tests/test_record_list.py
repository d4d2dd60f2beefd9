"""The list of records in the admin: columns, filters, pages, what it costs and to whom it opens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone
from model_bakery import baker

from django_tasks.admin import QueueAdmin, TaskRecordAdmin
from django_tasks.admin.charts import ICONS, badge
from django_tasks.broker import get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import Queue, TaskRecord
from django_tasks.ops import records
from django_tasks.states import State
from tests.tasks import add
from tests.test_console import logged_in

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "admin:django_tasks_taskrecord_changelist"


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


def opened(client: Client, name: str = LIST, **words: Any) -> Any:
    answer = client.get(reverse(name), words)
    assert answer.status_code == 200
    return answer


def shown(client: Client, **words: Any) -> str:
    return " ".join(opened(client, **words).content.decode().split())


def listed(client: Client, **words: Any) -> list[Any]:
    return [one.pk for one in opened(client, **words).context["cl"].result_list]


def make(status: str = "SUCCESSFUL", **given: Any) -> TaskRecord:
    values = {"task_name": "shop.send", "description": "send(42)", "queue_name": "mail"}
    return baker.make(TaskRecord, status=status, **{**values, **given})


# -- columns -----------------------------------------------------------------------------------


def test_a_row_says_all_that_is_asked_first(client: Client) -> None:
    now = timezone.now()
    make(
        priority=7,
        attempt=1,
        max_attempts=4,
        enqueued_at=now - timedelta(seconds=100),
        started_at=now - timedelta(seconds=60),
        finished_at=now - timedelta(seconds=18),
        worker_id="web-1:4711",
    )

    page = shown(client)

    cells = dict(re.findall(r'<t[dh] class="field-(\w+)[^"]*">(.*?)</t[dh]>', page))
    assert re.sub("<[^>]*>", "", cells["state"]).strip() == "Successful"
    assert ">send(42)</a>" in cells["call"]
    assert (cells["task"], cells["queue"], cells["priority"]) == (
        "shop.<wbr>send",
        "mail",
        "7",
    )
    assert (cells["tried"], cells["waited"], cells["took"]) == ("1 / 4", "40 s", "42 s")
    assert cells["worker"] == "web-1:4711"


def test_what_runs_is_counted_from_its_claim_and_what_waits_until_now(client: Client) -> None:
    now = timezone.now()
    then = now - timedelta(minutes=10)
    fence = int((now - timedelta(minutes=4, seconds=1)).timestamp() * 1e6)
    make("RUNNING", enqueued_at=then, fence=fence, started_at=None)
    make("READY", enqueued_at=then - timedelta(minutes=10))
    make("SCHEDULED", run_after=now + timedelta(hours=2, minutes=1))

    page = shown(client)

    assert re.search(r"field-waited[^>]*>5 min 5\d s<.*field-took[^>]*>4 min [1-5] s<", page)
    assert re.search(r"field-waited[^>]*>20 min( \d s)?<", page)
    assert re.search(r"field-waited[^>]*>due in 2 h", page)


@pytest.mark.parametrize("state", list(State))
def test_a_badge_has_a_word_an_icon_of_its_own_and_a_class(state: State) -> None:
    made = badge(state.value)

    assert f"uncut-state-{state.lower()}" in made
    assert f"> {state.label}</span>" in made
    assert 'aria-hidden="true"' in made
    assert len(set(ICONS.values())) == len(State)
    assert badge("<b>") == '<span class="uncut-state">&lt;b&gt;</span>'


def test_what_tasks_supply_is_inert_in_the_list(client: Client) -> None:
    hostile = "<script>alert(1)</script>\u202e\x1b[2J\x00\ud800"
    make(
        description=hostile + "x" * 1_000_000,
        task_name="<b>t</b>",
        queue_name="<em>\u202e",
        worker_id="<i>w</i>\u202e",
        error_class=f"<u>{hostile}</u>",
    )

    page = shown(client)

    for text in ("<script>alert", "<b>t", "<em>", "<i>w", "<u>", "\u202e", "\x1b", "\x00"):
        assert text not in page
    assert "\\u202e" in page
    assert len(page) < 60_000


# -- filters and pages -------------------------------------------------------------------------


def test_filters_are_those_of_ops_and_are_kept_in_the_form(client: Client) -> None:
    wanted = make("FAILED", worker_id="web-1:7", error_class="builtins.KeyError", release="2.4")
    make("FAILED")
    words = {"state": "FAILED", "worker": "web-1", "error": "KeyError", "release": "2.4"}

    assert listed(client, **words, since="1h", until="today") == [wanted.pk]
    page = shown(client, **words)
    assert '<option value="FAILED" selected>Failed</option>' in page
    assert 'name="worker" id="uncut-worker" list="uncut-workers" value="web-1"' in page
    assert "<details open>" in page
    assert "<details open>" not in shown(client)


def test_it_offers_what_is_known_without_asking_the_table(client: Client) -> None:
    add.using(queue="news").enqueue(1, 2)
    get_broker().settle()

    page = shown(client, state="FAILED")

    assert '<datalist id="uncut-tasks"><option value="' in page
    assert '<option value="tests.tasks.add">' in page
    assert '<option value="news">' in page  # the broker knows it


def test_a_filter_that_means_nothing_is_refused_and_shows_no_rows(client: Client) -> None:
    make("FAILED")

    for words in ({"state": "<b>FAILD"}, {"status__exact": "FAILED"}, {"before": "x"}):
        answer = opened(client, **words)

        page = answer.content.decode()
        assert answer.context["cl"].result_list == []
        assert 'class="errornote" role="alert"' in page
        assert "<b>FAILD" not in page
        assert "No record yet" not in page


def test_pages_are_linked_by_ids_and_keep_the_filter(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskRecordAdmin, "list_per_page", 2)
    made = [make("FAILED").pk for _ in range(5)][::-1]
    make()

    first = opened(client, state="FAILED")
    links = first.context["cl"].links()
    second = client.get(reverse(LIST) + links["older"])

    assert set(links) == {"older"}
    assert f"before={made[1]}" in links["older"]
    assert "state=FAILED" in links["older"]
    rows = [one.pk for one in second.context["cl"].result_list]
    assert rows == made[2:4]
    back = second.context["cl"].links()
    assert set(back) == {"older", "newer", "first"}
    again = client.get(reverse(LIST) + back["newer"]).context["cl"]
    assert [one.pk for one in again.result_list] == made[:2]
    assert "2 shown" in " ".join(first.content.decode().split())


def test_the_oldest_first_is_a_link(client: Client) -> None:
    one, two = make().pk, make().pk

    order = opened(client).context["cl"].other_order()
    page = client.get(reverse(LIST) + order)

    assert [row.pk for row in page.context["cl"].result_list] == [one, two]
    assert page.context["cl"].other_order() == "?"


def test_it_says_how_far_it_looked_and_looks_further(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "WINDOW", 2)
    monkeypatch.setattr(records, "PATIENCE", 0)
    old = make(worker_id="w")
    for _ in range(3):
        make()

    answer = opened(client, worker="w")
    page = " ".join(answer.content.decode().split())
    further = client.get(reverse(LIST) + answer.context["cl"].further)

    assert "Looked through 2 records, as far as " in page
    assert "None of those looked at." in page
    assert [one.pk for one in further.context["cl"].result_list] == [old.pk]


def test_quick_views_are_links_and_the_present_one_is_marked(client: Client) -> None:
    now = timezone.now()
    made = {
        "Failed today": make("FAILED", finished_at=now),
        "Running for over 5 min": make("RUNNING", fence=1),
        "Waiting for over 5 min": make("READY", created_at=now - timedelta(hours=1)),
        "Dead letters": make("FAILED", dead_letter="why", finished_at=now - timedelta(days=3)),
    }

    for view in opened(client).context["cl"].views()[1:]:
        answer = client.get(reverse(LIST) + view["url"])

        rows = [one.pk for one in answer.context["cl"].result_list]
        assert rows == [made[str(view["title"])].pk]
        views = answer.content.decode().partition("uncut-views")[2].partition("</nav>")[0]
        [marked] = re.findall(r'aria-current="page">([^<]*)</a>', views)
        assert marked == view["title"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "No record yet. Enqueue something: <code>my_task.enqueue()</code>"),
        ({"state": "FAILED"}, "No record is like this."),
    ],
)
def test_empty_it_says_what_to_do(client: Client, words: dict[str, str], said: str) -> None:
    assert said in shown(client, **words)


# -- cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{}, {"state": "READY"}, {"worker": "w"}, {"q": "a:1"}])
def test_the_same_few_queries_whatever_is_in_the_table(
    client: Client, words: dict[str, str]
) -> None:
    def cost() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            opened(client, **words)
        return len(queries), " ".join(one["sql"] for one in queries)

    make("READY", worker_id="w", kwargs={"a": 1})
    cost()  # what a connection is asked once
    few, _ = cost()
    for _ in range(60):
        make("READY", worker_id="w", kwargs={"a": 1})

    many, said = cost()

    assert many == few <= 7  # the session and the user; the rest is ours
    assert "COUNT(" not in said
    for column in ("return_value", "error_message", "traceback"):
        assert column not in said


# -- who, where, and what is away --------------------------------------------------------------


def test_who_may_not_look_is_refused(queue: TaskSettings) -> None:
    assert logged_in("view_queue").get(reverse(LIST)).status_code == 403
    User.objects.all().delete()
    assert logged_in("view_taskrecord").get(reverse(LIST)).status_code == 200


def test_with_the_broker_away_it_opens(client: Client, settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://127.0.0.1:1/0", "PREFIX": "x"}
    record = make()

    assert listed(client) == [record.pk]


def test_with_the_database_away_it_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **given: Any) -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr("django_tasks.admin.record_list.search", away)

    page = shown(client)

    assert "The database &#x27;default&#x27; does not serve: connection refused" in page


def test_nothing_on_it_runs_or_styles_in_line(client: Client) -> None:
    make("FAILED")

    main = shown(client, state="FAILED").partition('id="content"')[2]

    assert "uncut" in main
    for forbidden in (" style=", "<style", "onclick=", "javascript:", "<script>"):
        assert forbidden not in main


class Site(admin.AdminSite):
    """As a project has one of its own, beside Django's."""


class ActingAdmin(TaskRecordAdmin):
    """With an action, as deeds will be."""

    chosen: list[Any] = []

    @admin.action(description="Touch")
    def touch(self, request: HttpRequest, queryset: Any) -> None:
        self.chosen.append(sorted(queryset.values_list("pk", flat=True)))

    actions = ("touch",)


site = Site(name="ops")
site.register(TaskRecord, ActingAdmin)
site.register(Queue, QueueAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("ops/", site.urls)]


@pytest.fixture
def own_site() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.usefixtures("own_site")
def test_under_a_site_of_ones_own_every_link_stays_there(client: Client) -> None:
    parent = make()
    child = make("READY", parent_id=parent.pk)
    pages = ["/ops/django_tasks/taskrecord/", "/ops/django_tasks/queue/"]
    pages += [f"/ops/django_tasks/taskrecord/{one.pk}/change/" for one in (parent, child)]

    for page in pages:
        answer = client.get(page)

        assert answer.status_code == 200
        text = answer.content.decode()
        assert "/admin/django_tasks/" not in text, page
        assert "/ops/django_tasks/" in text


@pytest.mark.usefixtures("own_site")
def test_an_action_gets_the_rows_that_were_chosen(client: Client) -> None:
    one, two, other = make("FAILED"), make("FAILED"), make()
    url = "/ops/django_tasks/taskrecord/?state=FAILED"
    page = client.get(url).content.decode()
    assert page.count('name="_selected_action"') == 2
    assert "objects across all pages" not in page  # Django's own would take the whole table

    post = {"action": "touch", "index": "0", "_selected_action": [str(one.pk), str(other.pk)]}
    client.post(url, post)
    client.post(url, {**post, "select_across": "1"})

    # One that is not like the filter any more was chosen all the same; "all" are those like it.
    assert ActingAdmin.chosen == [sorted([one.pk, other.pk]), sorted([one.pk, two.pk])]


def test_a_permission_to_look_is_all_that_links_ask_for(queue: TaskSettings) -> None:
    reader = logged_in()
    reader_user = User.objects.get()
    reader_user.user_permissions.set(Permission.objects.filter(codename="view_taskrecord"))
    record = make()

    page = reader.get(reverse(LIST)).content.decode()

    assert reverse("admin:django_tasks_taskrecord_change", args=[record.pk]) in page
