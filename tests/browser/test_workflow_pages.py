"""The pages of two workflows, of 3 calls and of 300: where they lead, by the keyboard too, what a
screen reader is told, and what is offered to whom."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.looking import expect
from tests.browser.scene import PAGES, Scene

pytestmark = pytest.mark.browser


def test_a_box_leads_to_its_record_and_a_stack_to_its_rows_by_the_keyboard(
    open_page: OpenPage, scene: Scene
) -> None:
    window = open_page(PAGES["workflow-few"](scene))
    window.find(".uncut-graph a").first.focus()
    with window.page.expect_navigation():
        window.page.keyboard.press("Enter")
    expect(window.find("#uncut-where")).to_be_visible()
    window.page.get_by_role("link", name="order 2001").click()
    expect(window.find(".uncut-graph a")).to_have_count(3)

    window = open_page(PAGES["workflow-many"](scene))
    stack = window.find(".uncut-graph a").filter(has_text="charge_card × 250")
    stack.focus()
    with window.page.expect_navigation():
        window.page.keyboard.press("Enter")
    expect(window.find("#uncut-table tbody tr")).to_have_count(50)
    window.find("#uncut-members-FAILED").click()
    expect(window.find("#uncut-table tbody tr")).to_have_count(10)


def test_what_is_shown_is_told_to_a_screen_reader_too(open_page: OpenPage, scene: Scene) -> None:
    window = open_page(PAGES["workflow-few"](scene))

    graph = window.find("svg.uncut-graph")
    assert graph.evaluate("one => one.getAttribute('role')") == "graphics-document document"
    expect(graph).to_have_accessible_name("Who waits for whom")
    links = graph.get_by_role("link").all()
    assert len(links) == 3
    table = window.page.get_by_role("table", name="Members, and what each waits for")
    row = table.get_by_role("row", name="send_invoice(2002)")
    expect(row).to_contain_text("2 send_invoice")
    expect(row).to_contain_text("Deferred")


def test_who_may_only_look_is_offered_nothing(open_page: OpenPage, scene: Scene) -> None:
    window = open_page(PAGES["workflow-many"](scene), "reader")
    expect(window.find(".uncut-deeds")).to_have_count(0)

    window = open_page(PAGES["workflow-many"](scene), "retrier")
    expect(window.find(".uncut-deeds a")).to_have_count(1)
    open_page(PAGES["workflow-cancel"](scene), "retrier", refused=403)
