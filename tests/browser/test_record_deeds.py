"""What a person does to tasks, with a real browser against live workers; and who may not."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction

from django_tasks.bridge.deeds import BATCH
from django_tasks.broker import get_broker
from django_tasks.models import TaskRecord
from tests.browser import shop_tasks
from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, Window, expect
from tests.browser.project import Project
from tests.browser.scene import RECORDS
from tests.waiting import wait_until
from tests.worker.running import WAIT

pytestmark = pytest.mark.browser
CHARGE = "shop.tasks.charge_card"
MANY = 4 * BATCH


def page_of(record_id: object) -> str:
    return f"{RECORDS}{record_id}/change/"


def fail(project: Project, count: int) -> None:
    """As many cards are refused; the worker lives on, and the bank opens."""
    shut = project.folder / "bank-is-shut"
    shut.touch()
    results = [shop_tasks.charge_card.enqueue(number) for number in range(count)]
    project.start("payments", "default", "--processes", "1")
    for result in results:
        project.record(result, "FAILED")
    shut.unlink()


def confirm(window: Window, deed: str, reason: str) -> None:
    window.page.get_by_label("Reason").fill(reason)
    window.press(deed)


def test_all_failed_of_one_task_are_retried(project: Project, open_page: OpenPage) -> None:
    other = shop_tasks.book_parcel.using(retries=0).enqueue(9)
    fail(project, 3)
    project.record(other, "FAILED")
    window = open_page(RECORDS)

    window.page.get_by_text("Filters", exact=True).click()
    window.page.get_by_label("Status").select_option("FAILED")
    window.page.get_by_label("Task", exact=True).fill("charge_card")
    window.press("Filter")
    expect(window.find("#result_list tbody tr")).to_have_count(3)
    filtered = window.page.url
    window.find("nav.uncut-deeds").get_by_role("link", name="Retry").click()
    expect(window.find("#uncut-counts")).to_have_text("3 records; it can be done to 3.")
    expect(window.find("#content")).to_contain_text("state=FAILED")
    assert TaskRecord.objects.failed().count() == 4  # it only asked
    confirm(window, "Retry", "the bank is open")

    expect(window.find(".messagelist .success")).to_contain_text("3 records changed")
    assert parse_qs(urlsplit(window.page.url).query) == parse_qs(urlsplit(filtered).query)
    for record in TaskRecord.objects.filter(task_name=CHARGE):
        again = project.record(record, "SUCCESSFUL")
        assert again.round == 2
        assert again.metadata["deed"]["by"] == "chief"
        assert again.metadata["deed"]["reason"] == "the bank is open"
    assert project.record(other).status == "FAILED"
    window.page.reload()
    expect(window.find("#result_list")).to_have_count(0)


def test_what_is_done_to_many_goes_on_in_the_background_and_is_seen_to(
    project: Project, open_page: OpenPage
) -> None:
    rows = [TaskRecord(task_name=CHARGE, queue_name="mail", status="FAILED") for _ in range(MANY)]
    TaskRecord.objects.bulk_create(rows, batch_size=1000)
    window = open_page(f"{RECORDS}?state=FAILED&task={CHARGE}")

    window.find("nav.uncut-deeds").get_by_role("link", name="Retry").click()
    expect(window.find("#uncut-counts")).to_contain_text(f"it can be done to {MANY}.")
    expect(window.find("#content")).to_contain_text("in the background")
    confirm(window, "Retry", "the bank is open")
    window.page.get_by_role("link", name="how far it is").click()
    window.page.evaluate("window.marked = true")

    project.start("default", "--processes", "1")
    wait_until(TaskRecord.objects.filter(task_name=CHARGE).pending().exists, WAIT, "it began")
    with transaction.atomic():  # what is still to be done waits for this row, or for the database
        TaskRecord.objects.filter(pk=rows[-1].pk).update(error_class="")
        expect(window.find("#uncut-progress progress")).to_be_visible(timeout=20_000)
    ended = window.page.get_by_role("link", name="It has ended")
    expect(ended).to_be_visible(timeout=60_000)
    expect(window.find(".uncut-head")).to_contain_text("Successful")
    assert window.page.evaluate("window.marked")  # all of it without a reload
    assert not TaskRecord.objects.failed().exists()
    ended.click()
    expect(window.find("#uncut-result")).to_contain_text(f'"changed": {MANY}')


def test_two_are_selected_and_cancelled(project: Project, open_page: OpenPage) -> None:
    results = [shop_tasks.send_invoice.enqueue(number) for number in range(3)]
    get_broker().settle()
    window = open_page(f"{RECORDS}?queue=mail&state=waiting")

    for result in results[:2]:
        window.find(f'input.action-select[value="{result.id}"]').check()
    window.find("select[name=action]").select_option("cancel")
    window.find("button[name=index]").click()  # "Go", from Django 6.1 on "Run"
    expect(window.find("#uncut-counts")).to_have_text("2 records; it can be done to 2.")
    confirm(window, "Cancel", "ordered twice")

    expect(window.find(".messagelist .success")).to_contain_text("2 records changed")
    expect(window.find("#result_list tbody tr")).to_have_count(1)
    states = {str(one.pk): one.status for one in TaskRecord.objects.all()}
    assert [states[str(result.id)] for result in results[:2]] == ["CANCELLED"] * 2
    assert states[str(results[2].id)] != "CANCELLED"


def test_a_running_task_is_cancelled_and_seen_to_end(project: Project, open_page: OpenPage) -> None:
    project.start("reports", "--processes", "1")
    result = shop_tasks.render_catalogue.enqueue("autumn")
    project.wait_for("began autumn")
    project.record(result, "RUNNING")
    watching = open_page(page_of(result.id), "reader", Look("dark", 400))
    watching.page.evaluate("window.marked = true")
    expect(watching.find(".uncut-head")).to_contain_text("Running")
    expect(watching.find("#uncut-progress progress")).to_be_visible()

    window = open_page(page_of(result.id))
    window.press("Cancel")
    expect(window.find("#uncut-counts")).to_have_text("1 record; it can be done to 1.")
    confirm(window, "Cancel", "wrong prices")
    expect(window.find(".messagelist .success")).to_contain_text("told to end")
    assert window.page.url.endswith(page_of(result.id))

    expect(watching.find(".uncut-head")).to_contain_text("Cancelled", timeout=20_000)
    expect(watching.page.get_by_role("link", name="It has ended")).to_be_visible()
    assert watching.page.evaluate("window.marked")
    assert project.record(result).metadata["deed"]["reason"] == "wrong prices"
    assert LogEntry.objects.filter(object_id=result.id).count() == 1


@pytest.mark.parametrize(
    ("role", "allowed"), [("reader", []), ("retrier", ["Retry"])], ids=["reader", "retrier"]
)
def test_one_is_offered_what_he_may_and_refused_the_rest(
    project: Project, open_page: OpenPage, role: str, allowed: list[str]
) -> None:
    fail(project, 1)
    [record] = TaskRecord.objects.all()
    window = open_page(page_of(record.pk), role)
    assert window.find(".uncut-deeds button").all_inner_texts() == allowed
    window.page.goto(RECORDS)
    assert window.find("nav.uncut-deeds a").all_inner_texts() == allowed
    offered = window.find("select[name=action] option:not([value=''])").all_inner_texts()
    assert offered == allowed

    token = {one["name"]: one["value"] for one in window.page.context.cookies()}["csrftoken"]
    for deed in ("retry", "cancel", "discard"):
        answer = window.page.request.post(
            f"{RECORDS}deed/{deed}/",
            form={"ids": str(record.pk), "confirm": "1", "csrfmiddlewaretoken": token},
        )
        assert (answer.status == 200) == (deed.capitalize() in allowed), deed
        assert answer.status in (200, 403)

    again = project.record(record, "SUCCESSFUL" if allowed else "FAILED")
    assert again.round == (2 if allowed else 1)


def test_a_traceback_is_opened_by_keyboard_and_copied(
    project: Project, open_page: OpenPage
) -> None:
    fail(project, 1)
    [record] = TaskRecord.objects.all()
    window = open_page(page_of(record.pk))
    window.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    traceback = window.find("#uncut-traceback")
    expect(traceback).to_be_hidden()

    window.page.get_by_text("Traceback", exact=True).first.focus()
    window.page.keyboard.press("Enter")
    expect(traceback).to_be_visible()
    window.page.keyboard.press("Tab")
    window.page.keyboard.press("Enter")

    expect(window.find('[data-copy="uncut-traceback"]')).to_have_text("✓")
    copied = window.page.evaluate("navigator.clipboard.readText()")
    assert copied == traceback.text_content()
    assert "CardRefused" in copied
