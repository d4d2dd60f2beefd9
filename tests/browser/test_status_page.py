"""Queue status while it is looked at: it renews itself, asks little, keeps what a person does."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session

from django_tasks.broker import get_broker
from tests.browser import shop_tasks
from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, Window, expect
from tests.browser.project import Project
from tests.browser.scene import STATUS

pytestmark = pytest.mark.browser
FRAGMENT = "/queue/fragment/"
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def enqueue(*orders: int) -> None:
    for order in orders:
        shop_tasks.send_invoice.enqueue(order)
    get_broker().settle()


def mark(window: Window) -> None:
    """What a reload of the page would take away."""
    window.page.evaluate("window.marked = true")


def was_reloaded(window: Window) -> bool:
    return not window.page.evaluate("window.marked")


def test_a_queue_fills_and_drains_without_a_reload(project: Project, open_page: OpenPage) -> None:
    window = open_page(STATUS)
    mark(window)
    expect(window.find("#uncut-status")).to_contain_text("No queue yet.")

    enqueue(1, 2, 3)
    expect(window.cell("mail", "ready")).to_have_text("3")
    expect(window.find(".uncut-alarms")).to_contain_text("nothing takes them")
    expect(window.find("#uncut-said")).to_contain_text("nothing takes them")

    project.start("mail")
    expect(window.cell("mail", "total")).to_have_text("0", timeout=20_000)
    expect(window.find(".uncut-alarms")).to_have_count(0)
    expect(window.find("#uncut-said")).to_have_text("")
    assert not was_reloaded(window)


def test_what_runs_is_shown_and_leads_to_its_page(project: Project, open_page: OpenPage) -> None:
    window = open_page(STATUS)
    project.start("reports", "--processes", "1")
    result = shop_tasks.render_catalogue.enqueue("spring")
    project.wait_for("began spring")

    expect(window.cell("reports", "unacked")).to_have_text("1")
    window.page.get_by_role("link", name=str(result.id)).click()
    expect(window.find(".uncut-explain")).to_contain_text("Running for")

    project.let_go("spring")
    project.record(result, "SUCCESSFUL")
    window.page.reload()
    expect(window.find(".uncut-explain")).to_contain_text("Succeeded")


def test_a_hidden_tab_asks_nothing_and_renews_itself_once_shown(
    project: Project, open_page: OpenPage
) -> None:
    window = open_page(STATUS)
    window.page.clock.install()
    window.page.reload()
    window.page.clock.pause_at("2100-01-01")
    window.page.clock.run_for(5000)
    window.wait_for_answers()
    assert window.answered(FRAGMENT)  # so it asks while it is seen

    window.page.evaluate(HIDE, True)
    before = len(window.answered(FRAGMENT))
    enqueue(1)
    window.page.clock.run_for(60_000)
    window.wait_for_answers()
    hidden = len(window.answered(FRAGMENT)) - before
    window.page.evaluate(HIDE, False)

    expect(window.cell("mail", "ready")).to_have_text("1")
    assert hidden == 0


def test_what_did_not_change_is_not_sent_again(project: Project, open_page: OpenPage) -> None:
    window = open_page(STATUS)
    expect(window.find("#uncut-status")).to_contain_text("No queue yet.")

    with window.page.expect_response(
        lambda answer: FRAGMENT in answer.url and answer.status == 304
    ):
        pass


def test_focus_and_scrolling_survive_a_renewal(project: Project, open_page: OpenPage) -> None:
    enqueue(1)
    window = open_page(STATUS, look=Look(width=400))
    region = window.page.get_by_role("region", name="Queues")
    region.focus()
    region.evaluate("one => { one.scrollLeft = 150 }")

    enqueue(2)
    expect(window.cell("mail", "ready")).to_have_text("2")

    expect(region).to_be_focused()
    assert region.evaluate("one => one.scrollLeft") == 150


def test_who_was_logged_out_is_told_that_it_is_old(project: Project, open_page: OpenPage) -> None:
    enqueue(1)
    window = open_page(STATUS)
    expect(window.find("#uncut-stale")).to_be_hidden()

    Session.objects.all().delete()

    expect(window.find("#uncut-stale")).to_be_visible()
    expect(window.cell("mail", "ready")).to_have_text("1")
