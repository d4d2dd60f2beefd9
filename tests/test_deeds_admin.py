"""Deeds in the admin: who may, what is asked first, what is done, what is logged, where you end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from model_bakery import baker

from django_tasks import tasks
from django_tasks.admin import deeds as admin_deeds
from django_tasks.bridge.deeds import Deed
from django_tasks.broker import Broker, get_broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.worker.burst import burst
from tests.tasks import add
from tests.test_console import logged_in

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:django_tasks_taskrecord_changelist")
QUEUES = reverse("admin:django_tasks_queue_changelist")


def url(deed: str) -> str:
    return reverse("admin:django_tasks_taskrecord_deed", args=[deed])


def queue_url(deed: str) -> str:
    return reverse("admin:django_tasks_queue_deed", args=[deed])


@pytest.fixture
def client(queue: TaskSettings) -> Client:
    return logged_in(is_superuser=True)


def failed(count: int = 1, **given: Any) -> list[TaskRecord]:
    values = {"task_name": "tests.tasks.add", "args": [1, 2], "status": "FAILED", **given}
    made: list[TaskRecord] = baker.make(TaskRecord, count, **values)
    return made


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


# -- one, a selection, all that match --------------------------------------------------------------


def test_a_selection_is_asked_about_and_then_done_with_its_reason(client: Client) -> None:
    one, two, other = failed(2) + failed(1, status="SUCCESSFUL")
    asked = client.post(
        f"{LIST}?state=FAILED",
        {"action": "retry", "_selected_action": [str(one.pk), str(two.pk), str(other.pk)]},
    )
    page = text_of(asked)
    assert "3 records; it can be done to 2." in page
    assert "1 × succeeded" in page
    assert TaskRecord.objects.failed().count() == 2  # nothing was done yet

    answer = client.post(
        url("retry"),
        {
            "confirm": "Retry",
            "ids": [str(one.pk), str(two.pk), str(other.pk)],
            "query": "state=FAILED",
            "reason": "the bank is back",
        },
        follow=True,
    )

    assert answer.redirect_chain == [(f"{LIST}?state=FAILED", 302)]
    assert "2 records changed; left as they are: 1 × succeeded" in text_of(answer)
    assert TaskRecord.objects.pending().count() == 2
    one.refresh_from_db()
    assert one.metadata["deed"] == {
        **one.metadata["deed"],
        "by": "ada",
        "reason": "the bank is back",
    }
    entries = LogEntry.objects.all()
    assert {one.object_id for one in entries} == {str(one.pk), str(two.pk), str(other.pk)}
    assert {one.get_change_message() for one in entries} == {"Retry. the bank is back"}


def test_all_that_match_a_filter_are_counted_first_and_few_are_done_at_once(client: Client) -> None:
    failed(3)
    failed(2, task_name="shop.tasks.send")
    failed(1, status="CANCELLED")

    page = text_of(client.get(url("retry"), {"state": "FAILED", "task": "tests.tasks.add"}))
    assert "3 records; it can be done to 3." in page
    assert "<code>task=tests.tasks.add</code>" in page
    query = "state=FAILED&task=tests.tasks.add"
    answer = client.post(url("retry"), {"confirm": "1", "all": "1", "query": query}, follow=True)

    assert answer.redirect_chain == [(f"{LIST}?{query}", 302)]
    assert TaskRecord.objects.pending().count() == 3
    assert TaskRecord.objects.failed().count() == 2
    [*logged] = LogEntry.objects.all()
    assert len(logged) == 3
    assert "all that match" in logged[0].get_change_message()


def test_a_selection_that_is_gone_is_not_taken_for_all(client: Client) -> None:
    [gone] = failed()
    gone_id = str(gone.pk)
    gone.delete()
    failed(2)

    asked = client.post(LIST, {"action": "retry", "_selected_action": [gone_id]}, follow=True)
    for posted in ({"ids": [gone_id]}, {"query": "state=FAILED"}, {}):
        client.post(url("retry"), {"confirm": "1", **posted})

    assert "All records" not in text_of(asked)
    assert "0 records; it can be done to 0." in text_of(asked)
    assert TaskRecord.objects.failed().count() == 2


def test_many_are_done_in_the_background_with_progress(client: Client, queue: TaskSettings) -> None:
    made = baker.prepare(TaskRecord, 601, status="FAILED", task_name="tests.tasks.add", args=[1, 2])
    TaskRecord.objects.bulk_create(made)
    page = text_of(client.get(url("retry"), {"state": "FAILED"}))
    assert "A worker does it in the background" in page

    answer = client.post(
        url("retry"),
        {"confirm": "1", "all": "1", "query": "state=FAILED", "reason": "why not"},
        follow=True,
    )

    call = TaskRecord.objects.get(task_name=tasks.carry_out.task_name)
    assert reverse("admin:django_tasks_taskrecord_change", args=[call.pk]) in text_of(answer)
    assert TaskRecord.objects.failed().count() == 601
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, "why not" in entry.get_change_message()) == (str(call.pk), True)
    get_broker().settle()
    burst(queue, ["default"])
    call.refresh_from_db()
    assert call.status == "SUCCESSFUL"
    assert (call.return_value["matched"], call.return_value["changed"]) == (601, 601)
    assert TaskRecord.objects.successful().count() == 602
    assert not TaskRecord.objects.failed().exists()
    progress = call.attempts.get().report
    assert progress["done"] == 601


def test_a_record_s_page_has_what_can_be_done_and_brings_you_back(client: Client) -> None:
    result = add.using(run_after=timedelta(hours=1)).enqueue(1, 2)
    get_broker().settle()
    burst_mirror(result.id)
    record_url = reverse("admin:django_tasks_taskrecord_change", args=[result.id])
    page = text_of(client.get(record_url))
    offered = {one.value for one in Deed if url(one.value) in page}
    assert offered == {"cancel", "run_now", "reschedule", "prioritize", "move_to_front"}

    answer = client.post(
        url("cancel"),
        {"confirm": "1", "ids": [result.id], "page": result.id, "reason": "no"},
        follow=True,
    )

    assert answer.redirect_chain == [(record_url, 302)]
    assert TaskRecord.objects.get().status == "CANCELLED"
    assert url("retry") in text_of(answer)
    assert url("cancel") not in text_of(answer)


def burst_mirror(record_id: str) -> None:
    from django_tasks.bridge.mirror import mirror

    mirror(get_broker(), "default", "default")
    assert TaskRecord.objects.get(pk=record_id).status != "PENDING"


@pytest.mark.parametrize(
    ("deed", "given", "expected"),
    [
        ("prioritize", {"priority": "7"}, {"priority": 7}),
        ("run_now", {}, {"status": "READY"}),
        ("move_to_front", {}, {"status": "READY"}),
        ("reschedule", {"when": "2099-01-02T03:04"}, {"status": "SCHEDULED"}),
    ],
)
def test_each_deed_has_its_form(
    client: Client, deed: str, given: dict[str, str], expected: dict[str, Any]
) -> None:
    result = add.using(run_after=timedelta(hours=1)).enqueue(1, 2)
    get_broker().settle()
    burst_mirror(result.id)

    client.post(url(deed), {"confirm": "1", "ids": [result.id], **given})

    burst_mirror(result.id)
    record = TaskRecord.objects.get()
    assert {name: getattr(record, name) for name in expected} == expected


def test_what_a_form_refuses_is_said_and_nothing_is_done(client: Client) -> None:
    result = add.enqueue(1, 2)
    get_broker().settle()
    burst_mirror(result.id)

    page = text_of(
        client.post(url("prioritize"), {"confirm": "1", "ids": [result.id], "priority": "1000"})
    )

    assert "less than or equal to 100" in page
    assert TaskRecord.objects.get().priority == 0
    page = text_of(
        client.post(url("reschedule"), {"confirm": "1", "ids": [result.id], "when": "soon"})
    )
    assert "Enter a valid date" in page
    answer = client.post(url("cancel"), {"confirm": "1", "ids": ["no-id"]}, follow=True)
    assert "is not the id of a record" in text_of(answer)
    assert client.get(url("explode")).status_code == 404
    answer = client.get(url("retry"), {"nonsense": "1"}, follow=True)
    assert "is no filter of records" in text_of(answer)


def test_a_dead_letter_is_discarded(client: Client) -> None:
    [dead] = failed(1, dead_letter="killed its process 3 times")

    client.post(url("discard"), {"confirm": "1", "ids": [str(dead.pk)], "reason": "known"})

    dead.refresh_from_db()
    assert (dead.status, dead.dead_letter) == ("FAILED", "")


# -- who may ---------------------------------------------------------------------------------------


def test_who_may_only_look_sees_all_and_can_do_nothing(queue: TaskSettings) -> None:
    reader = logged_in("view_taskrecord", "view_queue")
    [record] = failed()
    add.using(queue="mail").enqueue(1, 2)
    get_broker().settle()

    pages = [LIST, reverse("admin:django_tasks_taskrecord_change", args=[record.pk]), QUEUES]
    for address in pages:
        answer = reader.get(address)
        assert answer.status_code == 200
        assert "/deed/" not in text_of(answer)
    for deed in Deed:
        answer = reader.post(url(deed.value), {"confirm": "1", "ids": [str(record.pk)]})
        assert answer.status_code == 403
    for word in ("pause", "resume", "purge"):
        answer = reader.post(queue_url(word), {"confirm": "1", "queue": "mail", "typed": "mail"})
        assert answer.status_code == 403
    record.refresh_from_db()
    assert record.status == "FAILED"
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("deed", list(Deed))
def test_each_deed_has_a_permission_of_its_own(queue: TaskSettings, deed: Deed) -> None:
    person = logged_in("view_taskrecord", f"{deed.value}_taskrecord")
    failed()

    for other in Deed:
        status = person.get(url(other.value)).status_code
        assert status == (200 if other is deed else 403)
    page = text_of(person.get(LIST))
    assert url(deed.value) in page
    assert page.count("/deed/") == 1


# -- queues ----------------------------------------------------------------------------------------


def test_a_queue_is_paused_with_who_why_and_an_end_and_resumed(
    client: Client, queue: TaskSettings
) -> None:
    add.using(queue="mail").enqueue(1, 2)
    get_broker().settle()
    assert f"{queue_url('pause')}?queue=mail" in text_of(client.get(QUEUES))

    answer = client.post(
        queue_url("pause"),
        {"queue": "mail", "reason": "bank holiday", "minutes": "60"},
        follow=True,
    )

    page = text_of(answer)
    assert "Queue mail is paused." in page
    assert "by ada" in page
    assert "bank holiday" in page
    assert f"{queue_url('resume')}?queue=mail" in page
    broker = Broker(queue)
    broker.beat(["mail"], ["c"], register=True)
    assert broker.claim("mail", "c") == []
    assert "Queue mail is resumed." in text_of(
        client.post(queue_url("resume"), {"queue": "mail"}, follow=True)
    )
    assert len(broker.claim("mail", "c")) == 1
    broker.close()
    said = [one.get_change_message() for one in LogEntry.objects.order_by("pk")]
    assert said == ["Pause. bank holiday", "Resume."]
    entry = LogEntry.objects.first()
    assert entry is not None
    address = entry.get_admin_url()
    assert address is not None
    assert client.get(address, follow=True).redirect_chain == [(QUEUES, 302)]


def test_a_purge_is_typed(client: Client) -> None:
    for _ in range(3):
        add.using(queue="mail").enqueue(1, 2)
    get_broker().settle()

    page = text_of(client.post(queue_url("purge"), {"queue": "mail", "typed": "mial"}))
    assert "This is not the name of the queue" in page
    assert not TaskRecord.objects.filter(status="CANCELLED").exists()

    answer = client.post(queue_url("purge"), {"queue": "mail", "typed": "mail"}, follow=True)

    assert "3 records changed" in text_of(answer)
    assert TaskRecord.objects.filter(status="CANCELLED").count() == 3


def test_a_queue_that_is_none_is_said(client: Client) -> None:
    answer = client.post(queue_url("pause"), {"queue": "<b>nobody"}, follow=True)

    assert "There is no queue &#x27;&lt;b&gt;nobody&#x27;" in text_of(answer)


def test_while_the_broker_is_away_a_deed_says_so(client: Client, settings: Any) -> None:
    result = add.enqueue(1, 2)
    get_broker().settle()
    burst_mirror(result.id)
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "BROKER": "redis://127.0.0.1:1/0"}

    answer = client.post(url("cancel"), {"confirm": "1", "ids": [result.id]}, follow=True)

    assert "does not serve" in text_of(answer)
    assert TaskRecord.objects.get().status == "READY"


def test_the_forms_offer_what_the_deeds_take() -> None:
    assert set(admin_deeds.FORMS) <= set(Deed)
    for deed, form in admin_deeds.FORMS.items():
        assert len(form.base_fields) == 2, deed
