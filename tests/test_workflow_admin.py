"""Workflows in the admin: what the list and the page show, to whom, at what cost; their deeds."""

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

from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord, Workflow
from django_tasks.models.record import new_id
from tests.ops.joined import chord, join, members, workflow
from tests.test_console import logged_in
from tests.workflow_pages import (
    LIST,
    RECORDS,
    deed_of,
    page_of,
    part_of,
    record_url,
    shown,
    text_of,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


def cells(page: str) -> list[dict[str, str]]:
    """Of each row of a list: the column → its text."""
    rows = page.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    found = [
        dict(re.findall(r'<t[dh] class="field-(\w+)[^"]*">(.*?)</t[dh]>', one)) for one in rows
    ]
    return [{key: re.sub("<[^>]*>", "", one).strip() for key, one in row.items()} for row in found]


def section(page: str, name: str) -> str:
    return page.partition(f'<h2 id="{name}">')[2].partition("</section>")[0]


# -- the list --------------------------------------------------------------------------------------


def test_a_row_says_how_far_it_is_and_how_many_are_in_each_state(client: Client) -> None:
    chord(
        3, ["SUCCESSFUL", "SUCCESSFUL", "FAILED", "CANCELLED"], "import", finished_at=timezone.now()
    )
    chord(3, ["SUCCESSFUL", "RUNNING", "READY", "DEFERRED"], "")

    page = shown(client, LIST)

    running, failed = cells(page)
    assert (failed["call"], failed["kind_of"], failed["state"]) == ("import", "Chord", "Failed")
    assert failed["progress"] == "4 / 4"
    assert failed["by_state"] == "1 cancelled, 1 failed, 2 successful"
    assert failed["finished"] != "–"
    assert (running["state"], running["progress"], running["finished"]) == ("Running", "1 / 4", "–")
    assert running["call"].startswith("chord 0")
    assert (
        'role="img" aria-label="1 of 4 done: 1 successful, 1 running, 1 ready, 1 deferred"' in page
    )


def test_it_is_filtered_by_state_kind_and_name(client: Client) -> None:
    chord(1, "SUCCESSFUL", "import")
    chord(1, "RUNNING", "imports 2")
    members(workflow("clean", "group"), ["shop.clean"], "FAILED")

    def listed(**words: str) -> list[str]:
        return [row["call"] for row in cells(shown(client, LIST, **words))]

    assert listed() == ["clean", "imports 2", "import"]
    assert listed(state="running") == ["imports 2"]
    assert listed(state="failed") == ["clean"]
    assert listed(q="import") == ["imports 2", "import"]
    assert listed(q="import", state="successful") == ["import"]
    assert listed(kind="group") == ["clean"]
    page = shown(client, LIST, state="lost")
    assert "is no state of a workflow" in page
    assert "No workflow is like this." in shown(client, LIST, state="cancelled")
    assert '<a href="?state=failed" aria-current="page">Failed</a>' in shown(
        client, LIST, state="failed"
    )


def test_a_page_of_the_list_costs_the_same_however_many_there_are(
    client: Client, django_assert_num_queries: Any
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        assert not [one for one in queries if "COUNT(*)" in one["sql"]]
        return len(queries)

    chord(3)
    few = cost()
    for _ in range(60):
        chord(3, "FAILED")

    assert cost() == few
    assert few <= 7  # session, user, workflows, counts, ends
    assert len(cells(shown(client, LIST))) == 50
    assert 'rel="next"' in shown(client, LIST)


def test_it_says_what_to_do_while_there_is_none(client: Client) -> None:
    assert "No workflow yet. Enqueue one:" in shown(client, LIST)


# -- the page --------------------------------------------------------------------------------------


def test_the_page_tells_progress_counts_and_what_failed_first(client: Client) -> None:
    now = timezone.now()
    made, (_, two, three, _) = chord(3, ["SUCCESSFUL", "FAILED", "FAILED", "CANCELLED"])
    for record, minutes in ((two, 1), (three, 2)):
        TaskRecord.objects.filter(pk=record.pk).update(
            finished_at=now - timedelta(minutes=minutes),
            error_class="shop.Unreadable",
            error_message=f"no picture <{record.description}>\nsecond line",
        )

    page = shown(client, page_of(made))

    assert '<strong data-name="progress">4 of 4 done</strong>' in page
    assert "uncut-state-failed" in page
    counted = page.partition('aria-label="Members by state"')[2].partition("</ul>")[0]
    assert re.findall(r"state=(\w+)\".*?>(\d+)</a>", counted) == [
        ("SUCCESSFUL", "1"),
        ("FAILED", "2"),
        ("CANCELLED", "1"),
    ]
    assert f"{RECORDS}?workflow={made.pk}&amp;state=FAILED" in counted
    first = section(page, "uncut-error")
    assert record_url(three) in first
    assert "shop.Unreadable: no picture &lt;clean(2)&gt;</strong>" in first
    assert "second line" not in first
    assert (
        len(client.get(f"{RECORDS}?workflow={made.pk}&state=FAILED").context["cl"].result_list) == 2
    )


def test_the_graph_has_a_box_for_each_of_a_few_and_leads_to_their_records(client: Client) -> None:
    made, (one, two, three, body) = chord(3, ["SUCCESSFUL", "RUNNING", "READY", "DEFERRED"])

    graph = section(shown(client, page_of(made)), "uncut-graph")

    assert graph.count('class="uncut-link"') == 3
    for record in (one, two, three, body):
        assert f'<a href="{record_url(record)}" id="uncut-box-{record.pk}">' in graph
    assert 'role="graphics-document document"' in graph
    assert '<title id="uncut-graph-title">Who waits for whom</title>' in graph
    assert "4 calls in 4 boxes." in graph
    for state, word in (("running", "Running"), ("ready", "Ready"), ("deferred", "Deferred")):
        assert re.search(rf'uncut-state-{state}">.*?class="uncut-word"[^>]*>{word}<', graph)
    assert "style" not in graph
    assert "Calls that stand alike" not in graph


def test_what_stands_alike_in_a_large_one_shares_a_box(client: Client) -> None:
    states = ["SUCCESSFUL"] * 280 + ["FAILED"] * 19 + ["RUNNING"]
    made, _ = chord(300, [*states, "DEFERRED"])

    page = shown(client, page_of(made))

    graph = section(page, "uncut-graph")
    assert graph.count("<a href") == 3  # two boxes, and the way past the picture
    assert ">clean × 300</text>" in graph
    assert "19 failed …" in graph
    assert "shop.tasks.clean × 300: 280 successful, 19 failed, 1 running" not in graph
    assert "shop.tasks.clean × 300: 19 failed, 280 successful, 1 running" in graph
    assert 'href="?task=shop.tasks.clean#uncut-members"' in graph
    assert "Calls that stand alike share a box." in graph
    table = section(page, "uncut-members")
    assert table.count("<tr data-record") == 50
    assert "The next ones" in table


def test_the_table_says_who_waits_for_whom_and_is_filtered_and_paged(client: Client) -> None:
    made, records = chord(120, ["FAILED"] * 60 + ["SUCCESSFUL"] * 60 + ["CANCELLED"])
    body = records[-1]

    rest = section(shown(client, page_of(made), task="shop.tasks.total"), "uncut-members")
    assert rest.count("<tr data-record") == 1
    assert f'<a href="{record_url(records[0])}" id="uncut-wait-{body.pk}-1">1 clean</a>,' in rest
    assert "3 clean</a> and 117 more" in rest

    failed = section(shown(client, page_of(made), state="FAILED"), "uncut-members")
    assert failed.count("uncut-state-failed") == 50
    assert 'aria-current="page">Failed 60</a>' in failed
    [more] = re.findall(r'href="(\?[^"]*)#uncut-members" id="uncut-members-more"', failed)
    further = section(
        text_of(client.get(page_of(made) + more.replace("&amp;", "&"))), "uncut-members"
    )
    assert further.count("<tr data-record") == 10
    assert "uncut-members-more" not in further
    assert "is no state" in shown(client, page_of(made), state="LOST")


def test_other_policies_and_records_outside_are_shown(client: Client) -> None:
    made = workflow("import", "chain")
    [outside] = members(None, ["shop.tasks.fetch"])
    load, tell, always = members(
        made, ["shop.load", "shop.tell", "shop.tidy"], ["RUNNING", "DEFERRED", "DEFERRED"]
    )
    join([outside, load, tell, always], [(0, 1, "any"), (1, 2, "failure"), (1, 3, "early")])

    page = shown(client, page_of(made))

    graph = section(page, "uncut-graph")
    assert graph.count("uncut-link-other") == 3
    assert ">if it fails</text>" in graph
    assert graph.count(">in any case</text>") == 2
    assert ">outside</text>" in graph
    assert record_url(outside) in graph
    assert "fetch</a> (in any case)" in section(page, "uncut-members")


@pytest.mark.parametrize("size", [3, 300])
def test_a_page_costs_the_same_however_many_members_there_are(client: Client, size: int) -> None:
    made, _ = chord(size, ["SUCCESSFUL"] * (size - 1) + ["FAILED", "CANCELLED"])
    client.get(page_of(made))

    with CaptureQueriesContext(connection) as queries:
        client.get(page_of(made))

    told = "\n".join(one["sql"][:120] for one in queries)
    # session, user; workflow; counts, not needed, end, first error; edges, members; of the table a
    # walk for each of three states, and its rows
    assert len(queries) == 13, told


def test_what_runs_renews_itself_and_its_end_is_told(client: Client) -> None:
    made, _ = chord(2, ["SUCCESSFUL", "RUNNING", "DEFERRED"])
    page = shown(client, page_of(made), state="RUNNING")
    assert f'data-url="{part_of(made)}?state=RUNNING" data-seconds="2"' in page
    first = client.get(part_of(made))
    assert "<html" not in first.content.decode()
    assert "data-ended" not in first.content.decode()
    tag = first.headers["ETag"]
    assert client.get(part_of(made), headers={"if-none-match": tag}).status_code == 304

    TaskRecord.objects.filter(workflow=made).update(status="SUCCESSFUL")

    ended = text_of(client.get(part_of(made), headers={"if-none-match": tag}))
    assert "3 of 3 done" in ended
    assert "data-ended" in ended
    assert "data-seconds" not in shown(client, page_of(made))
    assert client.get(part_of(Workflow(id=new_id()))).status_code == 404


def test_whatever_tasks_and_callers_supply_is_inert_and_bounded(client: Client) -> None:
    hostile = "<script>alert(1)</script>\u202e\x1b[2J" + "z" * 150
    made = workflow(hostile[:200])
    records = members(
        made,
        [hostile[:200]] * 60 + ["<b>x</b>.<i>y</i>"],
        "FAILED",
        error_class=hostile,
        error_message=hostile * 10_000,
    )
    TaskRecord.objects.filter(workflow=made).update(description=hostile * 10_000)
    join(records, [(place, 60) for place in range(60)])

    for address in (LIST, page_of(made), part_of(made), deed_of(made, "retry")):
        page = shown(client, address)
        for text in ("<script>alert", "<b>x", "<i>y", "\u202e", "\x1b"):
            assert text not in page
        assert len(page) < 200_000
    history = reverse("admin:django_tasks_workflow_history", args=[made.pk])
    assert "<script>alert" not in shown(client, history)


def test_a_workflow_without_records_opens(client: Client) -> None:
    page = shown(client, page_of(workflow("old")))

    assert "It has no records any more." in page
    assert "uncut-graph" not in page


def test_what_is_no_workflow_leads_back(client: Client) -> None:
    for key in ("nonsense", "0192aaaa-0000-7000-8000-000000000001"):
        address = reverse("admin:django_tasks_workflow_change", args=[key])
        assert client.get(address).status_code == 302


# -- from records, and back ------------------------------------------------------------------------


def test_a_record_leads_to_its_workflow_for_who_may_look_at_it(client: Client) -> None:
    made, (record, _) = chord(1, name="nightly <b>")
    link = f'<a href="{page_of(made)}">nightly &lt;b&gt;</a>'

    assert link in shown(client, record_url(record))
    assert f'href="{page_of(made)}">in a workflow</a>' in shown(client, RECORDS)
    assert f'href="{page_of(made)}"' in shown(client, RECORDS, workflow=str(made.pk))


def test_a_record_of_no_workflow_says_nothing_of_one(client: Client) -> None:
    [record] = members(None, ["shop.tasks.clean"])

    assert "in a workflow" not in shown(client, RECORDS)
    assert '<th scope="row">Workflow</th>' not in shown(client, record_url(record))
