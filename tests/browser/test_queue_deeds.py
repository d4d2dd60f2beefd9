"""A queue is paused, resumed and purged from its status page, while a worker lives."""

from __future__ import annotations

import pytest

from django_tasks.broker import get_broker
from django_tasks.models import TaskRecord
from tests.browser import shop_tasks
from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, Window, expect
from tests.browser.project import Project
from tests.browser.scene import STATUS

pytestmark = pytest.mark.browser


def do(window: Window, queue: str, deed: str) -> None:
    """Follow the link in the queue's row."""
    window.find(f'tr[data-queue="{queue}"]').get_by_role("link", name=deed, exact=True).click()


def test_a_queue_is_paused_and_resumed(project: Project, open_page: OpenPage) -> None:
    project.start("payments", "mail", "--processes", "1")
    project.record(shop_tasks.send_invoice.enqueue(0), "SUCCESSFUL")
    window = open_page(STATUS)
    row = window.find('tr[data-queue="mail"]')

    do(window, "mail", "Pause")
    window.page.get_by_label("Reason").fill("the printer burns")
    window.press("Pause")
    expect(window.find(".messagelist .success")).to_have_text("Queue mail is paused.")
    expect(row.locator(".uncut-badge")).to_have_text("paused")
    window.page.evaluate("window.marked = true")
    waiting = [shop_tasks.send_invoice.enqueue(number) for number in (1, 2)]
    project.record(
        shop_tasks.charge_card.enqueue(1), "SUCCESSFUL"
    )  # so the worker lives, and takes
    expect(window.cell("mail", "ready")).to_have_text("2")
    assert window.page.evaluate("window.marked")

    do(window, "mail", "Resume")
    window.press("Resume")
    expect(row.locator(".uncut-badge")).to_have_count(0)
    expect(window.cell("mail", "total")).to_have_text("0", timeout=20_000)
    for result in waiting:
        project.record(result, "SUCCESSFUL")


def test_a_purge_is_typed(project: Project, open_page: OpenPage) -> None:
    results = [shop_tasks.send_invoice.enqueue(number) for number in (1, 2)]
    get_broker().settle()
    window = open_page(STATUS, look=Look("dark", 400))

    do(window, "mail", "Purge")
    expect(window.find("#content")).to_contain_text("2 ready")
    typed = window.page.get_by_label("Type the name of the queue")
    typed.fill("mall")
    window.press("Purge")
    expect(typed).to_have_attribute("aria-invalid", "true")
    expect(typed).to_have_accessible_description(
        "This is not the name of the queue: nothing was done."
    )
    assert window.inaccessible() == []
    assert window.overflow() == 0
    assert TaskRecord.objects.pending().count() == 2

    typed.fill("mail")
    window.press("Purge")
    expect(window.find(".messagelist .success")).to_contain_text("2 records changed")
    expect(window.cell("mail", "total")).to_have_text("0")
    for result in results:
        assert project.record(result).status == "CANCELLED"


def test_who_may_only_look_is_offered_nothing_and_refused(
    project: Project, open_page: OpenPage
) -> None:
    shop_tasks.send_invoice.enqueue(1)
    get_broker().settle()
    window = open_page(STATUS, "reader")
    expect(window.cell("mail", "ready")).to_have_text("1")
    assert window.find("#uncut-status a[href*=deed]").count() == 0

    token = {one["name"]: one["value"] for one in window.page.context.cookies()}["csrftoken"]
    for deed in ("pause", "resume", "purge"):
        form = {"queue": "mail", "typed": "mail", "csrfmiddlewaretoken": token}
        assert window.page.request.post(f"{STATUS}deed/{deed}/", form=form).status == 403

    window.page.reload()
    expect(window.cell("mail", "ready")).to_have_text("1")
    assert window.find('tr[data-queue="mail"] .uncut-badge').count() == 0
