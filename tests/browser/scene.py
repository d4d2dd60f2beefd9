"""A shop in the middle of its day: something of every kind, for each page to show."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django_tasks import chain, chord
from django_tasks.models import TaskRecord, Workflow
from django_tasks.ops.control import pause
from tests.browser import shop_tasks
from tests.browser.project import Project
from tests.waiting import wait_until

# What tasks supply is hostile: what a browser, a reader's eye or a terminal would obey.
HOSTILE = (
    "<script>window.obeyed = 1</script><img src=x onerror='window.obeyed = 2'>"
    "{{ 7|add:7 }} &lt;b&gt; \u202eevil \x1b[31m \x00 "
) + "W" * 5000


@dataclass(frozen=True)
class Scene:
    """The ids of records, by what is to be seen of them. ``succeeded``: it enqueued others;
    ``failed``: one of these, after two runs; ``dead``: a dead letter; ``deferred``: it waits for
    others, and one for it; ``few``, ``many``: workflows, of 3 calls and of 300."""

    running: str
    failed: str
    succeeded: str
    ready: str
    scheduled: str
    dead: str
    hostile: str
    deferred: str
    few: str
    many: str


def play(project: Project) -> Scene:
    """One worker of payments and reports; nobody takes mail; imports is paused."""
    charge, mail = shop_tasks.charge_card, shop_tasks.send_invoice
    few, many = join()
    refused = charge.enqueue(1042, why="card 4711 expired")
    hostile = charge.using(queue="reports").enqueue(1043, why=HOSTILE)
    running = shop_tasks.render_catalogue.enqueue("summer")
    scheduled = mail.using(run_after=timedelta(hours=3)).enqueue(7)
    first, *_, ready = [mail.enqueue(order) for order in range(1, 6)]
    mail.using(queue="imports").enqueue(1)
    deferred = mail.using(depends_on=[first, ready], on_success=mail.si(11)).enqueue(10)
    pause("imports", by="anna", reason="bank holiday")
    succeeded = order(project, 1044)
    project.start("payments", "reports", "--processes", "2")
    project.wait_for("began summer")
    dead = shop_tasks.resize_photos.enqueue("/media/photos/2026")
    for result in (refused, hostile, dead):
        project.record(result)
    failed = wait_until(
        TaskRecord.objects.filter(task_name=shop_tasks.book_parcel.task_name).failed().first,
        20,
        "the parcel could not be booked",
    )
    members = TaskRecord.objects.filter(workflow__in=(few, many), queue_name="reports")
    wait_until(lambda: not members.unfinished().exists(), 20, "what is joined has run")
    wait_until(lambda: not TaskRecord.objects.pending().exists(), 20, "all rows are mirrored")
    results: list[Any] = [running, failed, succeeded, ready, scheduled, dead, hostile, deferred]
    return Scene(*(str(result.id) for result in results), few, many)


def join() -> tuple[str, str]:
    """The ids of two workflows, each in the middle of it: what goes to imports waits."""
    charge = shop_tasks.charge_card.using(queue="reports")
    write = shop_tasks.send_invoice.using(queue="imports")
    chain(charge.s(2001), write.si(2001), write.si(2002)).enqueue(name="order 2001")
    paid = [charge.s(order) for order in range(3000, 3240)]
    refused = [charge.s(order, why=f"card {order} expired") for order in range(3240, 3250)]
    waits = [write.si(order) for order in range(3000, 3048)]
    told = write.using(on_failure=write.si(1)).si(0)
    chord([*paid, *refused, *waits], told).enqueue(name="invoices of November")
    few, many = Workflow.objects.order_by("id").values_list("id", flat=True)
    return str(few), str(many)


def order(project: Project, number: int) -> TaskRecord:
    """A customer orders: a request of the site enqueues ``take_order``."""
    request = urllib.request.Request(
        f"{project.address}/shop/order/{number}/", headers={"X-Request-ID": "a3f9c2e1"}
    )
    with urllib.request.urlopen(request) as answer:
        return TaskRecord.objects.get(pk=answer.read().decode())


STATUS = "/admin/django_tasks/queue/"
RECORDS = "/admin/django_tasks/taskrecord/"
WORKFLOWS = "/admin/django_tasks/workflow/"


def record_page(which: str) -> Callable[[Scene], str]:
    return lambda scene: f"{RECORDS}{getattr(scene, which)}/change/"


def workflow_page(which: str, query: str = "") -> Callable[[Scene], str]:
    return lambda scene: f"{WORKFLOWS}{getattr(scene, which)}/change/{query}"


def fixed(path: str) -> Callable[[Scene], str]:
    return lambda scene: path


# Every page of the console; a new one is one line here.
PAGES: dict[str, Callable[[Scene], str]] = {
    "status": fixed(STATUS),
    "queue-pause": fixed(f"{STATUS}deed/pause/?queue=mail"),
    "queue-resume": fixed(f"{STATUS}deed/resume/?queue=imports"),
    "queue-purge": fixed(f"{STATUS}deed/purge/?queue=mail"),
    "records": fixed(RECORDS),
    "records-filtered": fixed(f"{RECORDS}?state=final&queue=payments&since=today"),
    "records-view": fixed(f"{RECORDS}?dead=1"),
    "records-empty": fixed(f"{RECORDS}?state=EXPIRED"),
    "records-of-workflow": lambda scene: f"{RECORDS}?workflow={scene.few}",
    "records-refused": fixed(f"{RECORDS}?state=LOST&since=noon"),
    "record-running": record_page("running"),
    "record-failed": record_page("failed"),
    "record-succeeded": record_page("succeeded"),
    "record-ready": record_page("ready"),
    "record-deferred": record_page("deferred"),
    "record-dead": record_page("dead"),
    "record-hostile": record_page("hostile"),
    "record-history": lambda scene: f"{RECORDS}{scene.failed}/history/",
    "workflows": fixed(WORKFLOWS),
    "workflows-filtered": fixed(f"{WORKFLOWS}?state=running&kind=chord&q=inv*"),
    "workflows-empty": fixed(f"{WORKFLOWS}?state=cancelled"),
    "workflows-refused": fixed(f"{WORKFLOWS}?state=lost"),
    "workflow-few": workflow_page("few"),
    "workflow-many": workflow_page("many"),
    "workflow-members": workflow_page("many", "?state=FAILED&task=shop.tasks.charge_card"),
    "workflow-history": lambda scene: f"{WORKFLOWS}{scene.few}/history/",
    "workflow-cancel": lambda scene: f"{WORKFLOWS}deed/cancel/{scene.few}/",
    "workflow-retry": lambda scene: f"{WORKFLOWS}deed/retry/{scene.many}/",
    "deed-retry": fixed(f"{RECORDS}deed/retry/?task=shop.tasks.charge_card"),
    "deed-reschedule": fixed(f"{RECORDS}deed/reschedule/?queue=mail"),
    "deed-prioritize": fixed(f"{RECORDS}deed/prioritize/?queue=mail"),
    "deed-discard": fixed(f"{RECORDS}deed/discard/?dead=1"),
    "deed-cancel": record_page("ready"),
}
# Where the page is behind a button of the one above.
PRESSED = {"deed-cancel": "Cancel"}
