"""A workflow's page while it lives: it renews itself and keeps what a person does, it is inert; and
what a person does to it, against live workers."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from django_tasks import chain, chord
from django_tasks.broker import get_broker
from django_tasks.models import TaskRecord, Workflow
from tests.browser import shop_tasks
from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, Window, expect
from tests.browser.project import Project
from tests.browser.scene import WORKFLOWS
from tests.ops.joined import join, members, workflow
from tests.waiting import wait_until
from tests.worker.running import WAIT

pytestmark = pytest.mark.browser
HOSTILE = "<script>window.obeyed = 1</script><img src=x onerror='window.obeyed = 2'>\u202e"


def page_of(made: Workflow) -> str:
    return f"{WORKFLOWS}{made.pk}/change/"


def box(window: Window, record: TaskRecord) -> Any:
    return window.find(f'[id="uncut-box-{record.pk}"]')


def ended(made: Workflow) -> None:
    def is_over() -> bool:
        return not made.records.unfinished().exists()

    wait_until(is_over, WAIT, "the workflow has ended")


def test_it_runs_to_its_end_without_a_reload(project: Project, open_page: OpenPage) -> None:
    charge = shop_tasks.charge_card
    chord([charge.s(1), charge.s(2)], charge.si(3)).enqueue(name="orders")
    get_broker().settle()
    made = Workflow.objects.get()
    last = made.records.order_by("id").last()
    assert last is not None
    window = open_page(page_of(made))
    window.page.evaluate("window.marked = true")
    expect(window.find("[data-name=progress]")).to_have_text("0 of 3 done")

    project.start("payments", "--processes", "1")

    expect(window.find("[data-name=progress]")).to_have_text("3 of 3 done", timeout=20_000)
    expect(box(window, last)).to_contain_text("Successful")
    expect(window.find("#uncut-table tbody tr .uncut-state-successful")).to_have_count(3)
    expect(window.find("[data-ended]")).to_be_visible()
    expect(window.page.get_by_role("link", name="Cancel")).to_have_count(0)
    assert window.page.evaluate("window.marked")


def test_what_a_person_looks_at_stays_where_it_was(project: Project, open_page: OpenPage) -> None:
    made = workflow("wide")
    records = members(made, [f"shop.step_{n}" for n in range(40)], "DEFERRED")
    join(records, [((n - 1) // 3, n) for n in range(1, 40)])
    window = open_page(page_of(made), look=Look(width=400))
    canvas = window.find("#uncut-canvas")
    canvas.evaluate("one => { one.scrollLeft = 150; one.scrollTop = 300 }")
    box(window, records[5]).focus()
    where = canvas.evaluate("one => [one.scrollLeft, one.scrollTop]")

    TaskRecord.objects.filter(pk=records[0].pk).update(status="SUCCESSFUL")
    expect(window.find("[data-name=progress]")).to_have_text("1 of 40 done")

    expect(box(window, records[5])).to_be_focused()
    assert canvas.evaluate("one => [one.scrollLeft, one.scrollTop]") == where
    assert where[1] > 0


def test_what_tasks_and_callers_supply_does_nothing(project: Project, open_page: OpenPage) -> None:
    made = workflow(HOSTILE)
    records = members(made, [HOSTILE] * 3, ["FAILED", "RUNNING", "DEFERRED"], error_message=HOSTILE)
    TaskRecord.objects.update(description=HOSTILE)
    join(records, [(0, 1), (1, 2)])

    for address in (WORKFLOWS, page_of(made), f"{WORKFLOWS}deed/retry/{made.pk}/"):
        window = open_page(address)
        assert window.page.evaluate("window.obeyed") is None
        assert window.find("img[src=x]").count() == 0
        assert "\u202e" not in window.find("#content").inner_text()
        expect(window.find("#content")).to_contain_text("<script>window.obeyed = 1</script>")
        assert window.overflow() == 0


def test_what_failed_is_retried_and_the_rest_comes_after(
    project: Project, open_page: OpenPage
) -> None:
    shut = project.folder / "bank-is-shut"
    shut.touch()
    charge = shop_tasks.charge_card
    chain(charge.s(1), charge.si(2)).enqueue(name="order 1")
    project.start("payments", "--processes", "1")
    made = Workflow.objects.get()
    ended(made)
    shut.unlink()
    window = open_page(page_of(made))
    expect(window.find("section:has(#uncut-error)")).to_contain_text("the bank is shut")

    window.page.get_by_role("link", name="Retry failed").click()
    expect(window.find("#uncut-counts")).to_contain_text("1 record failed or expired")
    window.page.get_by_label("Reason").fill("the bank is open")
    window.press("Retry failed")

    assert window.page.url.endswith(page_of(made))
    expect(window.find(".messagelist .success")).to_contain_text("Retry failed:")
    expect(window.find("[data-name=progress]")).to_have_text("2 of 2 done", timeout=20_000)
    ended(made)
    assert set(made.records.values_list("status", "round")) == {("SUCCESSFUL", 2)}
    entry = LogEntry.objects.get(object_id=str(made.pk))
    assert "the bank is open" in entry.change_message


def test_a_workflow_is_cancelled_also_what_runs(project: Project, open_page: OpenPage) -> None:
    render = shop_tasks.render_catalogue
    chain(render.s("autumn"), render.si("winter")).enqueue(name="catalogues")
    project.start("reports", "--processes", "1")
    project.wait_for("began autumn")
    made = Workflow.objects.get()
    window = open_page(page_of(made))

    window.page.get_by_role("link", name="Cancel").click()
    window.page.get_by_label("Reason").fill("wrong prices")
    window.press("Cancel")

    expect(window.find(".messagelist .success")).to_contain_text("1 run told to end")
    ended(made)
    assert set(made.records.values_list("status", flat=True)) == {"CANCELLED"}
    expect(window.find(".uncut-head")).to_contain_text("Cancelled", timeout=20_000)
