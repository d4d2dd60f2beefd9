"""A shop in the middle of its day: something of every kind, for each page to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django_tasks.models import TaskRecord
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
    """The ids of records, by what is to be seen of them."""

    running: str
    failed: str
    succeeded: str
    ready: str
    scheduled: str
    hostile: str


def play(project: Project) -> Scene:
    """One worker of payments and reports; nobody takes mail; imports is paused."""
    charge, mail = shop_tasks.charge_card, shop_tasks.send_invoice
    failed = charge.enqueue(1042, why="card 4711 expired")
    hostile = charge.enqueue(1043, why=HOSTILE)
    succeeded = charge.enqueue(1044)
    running = shop_tasks.render_catalogue.enqueue("summer")
    scheduled = mail.using(run_after=timedelta(hours=3)).enqueue(7)
    ready = [mail.enqueue(order) for order in range(1, 6)][-1]
    mail.using(queue="imports").enqueue(1)
    pause("imports", by="anna", reason="bank holiday")
    project.start("payments", "reports", "--processes", "2")
    project.wait_for("began summer")
    for result in (failed, hostile, succeeded):
        project.record(result)
    wait_until(lambda: not TaskRecord.objects.pending().exists(), 20, "all rows are mirrored")
    results = (running, failed, succeeded, ready, scheduled, hostile)
    return Scene(*(str(result.id) for result in results))


STATUS = "/admin/django_tasks/queue/"
RECORDS = "/admin/django_tasks/taskrecord/"


def record_page(which: str) -> Callable[[Scene], str]:
    return lambda scene: f"{RECORDS}{getattr(scene, which)}/change/"


# Every page of the console; a new one is one line here.
PAGES: dict[str, Callable[[Scene], str]] = {
    "status": lambda scene: STATUS,
    "records": lambda scene: RECORDS,
    "record-running": record_page("running"),
    "record-failed": record_page("failed"),
    "record-ready": record_page("ready"),
    "record-hostile": record_page("hostile"),
}
