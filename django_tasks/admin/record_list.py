"""The list of records: what it offers to choose from (ops/records.py finds them)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from django_tasks.admin.paged_list import PagedList
from django_tasks.broker import get_broker
from django_tasks.calls import registry
from django_tasks.errors import BrokerError
from django_tasks.ops.filters import GROUPS, RecordFilter, task_names
from django_tasks.ops.records import VIEWS, Page, search
from django_tasks.ops.words import inert
from django_tasks.states import State

MOST_OFFERED = 500  # names of tasks or queues that a field offers


class RecordList(PagedList):
    """``may_view_workflows``: whether each shows the way to its workflow."""

    filter_class = RecordFilter

    def find(self, before: UUID | None, after: UUID | None) -> Page:
        return search(self.wanted, before=before, after=after, limit=self.list_per_page)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.may_view_workflows = request.user.has_perm("django_tasks.view_workflow")
        for row in self.result_list:
            row.is_workflow_shown = bool(row.workflow_id) and self.may_view_workflows

    def views(self) -> list[dict[str, Any]]:
        """Quick views, and whether this is one."""
        query = self.wanted.to_query() if self.wanted is not None else {}
        kept = {"database": query.pop("database")} if "database" in query else {}
        found: list[tuple[object, dict[str, str]]] = [(_("All"), {}), *VIEWS.values()]
        return [
            {
                "title": title,
                "url": "?" + urlencode({**asked, **kept}),
                "is_this": asked == query and not self.refused,
            }
            for title, asked in found
        ]

    def choices(self) -> dict[str, Iterable[Any]]:
        """What the fields offer: nothing that would walk the table."""
        rows = self.result_list
        return {
            "states": [*State.choices, *((name, _group(name)) for name in GROUPS)],
            "tasks": _offered([*task_names(), *(row.task_name for row in rows)]),
            "queues": _offered([*_queues(), *(row.queue_name for row in rows)]),
            "workers": _offered(row.worker_id for row in rows),
            "errors": _offered(row.error_class for row in rows),
            "releases": _offered(row.release for row in rows),
            "databases": registry.databases(),
        }


def _queues() -> set[str]:
    known = set(registry.queue_names())
    try:
        return known | set(get_broker().queue_names())
    except BrokerError:
        return known  # the list opens all the same


def _offered(names: Iterable[str]) -> list[str]:
    """Once each, without those that a page could not show as they are."""
    return sorted({name for name in names if name and inert(name, 200) == name})[:MOST_OFFERED]


def _group(name: str) -> str:
    return {
        "waiting": _("Waiting (any)"),
        "unfinished": _("Not finished (any)"),
        "final": _("Finished (any)"),
    }[name]
