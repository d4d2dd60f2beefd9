"""The list of workflows: quick views by what became of them (ops/workflow_pages.py finds them)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.admin.paged_list import PagedList
from django_tasks.calls import registry
from django_tasks.models import Workflow
from django_tasks.ops.workflow_pages import WorkflowFilter, WorkflowPage, search
from django_tasks.states import State

VIEWS: dict[str, object] = {
    "": gettext_lazy("All"),
    "running": State.RUNNING.label,
    "failed": State.FAILED.label,
    "cancelled": State.CANCELLED.label,
    "successful": State.SUCCESSFUL.label,
}


class WorkflowList(PagedList):
    """Each row bears ``seen``, its records by state, and ``ended``."""

    filter_class = WorkflowFilter

    def find(self, before: UUID | None, after: UUID | None) -> WorkflowPage:
        return search(self.wanted, before=before, after=after, limit=self.list_per_page)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        for row in self.result_list:
            row.seen = self.page.counts[row.pk]
            row.ended = self.page.ended.get(row.pk)

    def views(self) -> list[dict[str, Any]]:
        """One for each state, with the other filters as they are."""
        chosen = self.wanted.state if self.wanted is not None else None
        return [
            {"title": title, "url": self.link(state=state or None), "is_this": state == chosen}
            for state, title in VIEWS.items()
        ]

    def choices(self) -> dict[str, Iterable[Any]]:
        """What the fields offer."""
        return {"kinds": Workflow.Kind.choices, "databases": registry.databases()}

    def has_filter(self) -> bool:
        return any(self.values()[name] for name in ("kind", "since", "until"))

    def has_any(self) -> bool:
        """Whether anything is asked for."""
        return any(self.values().values()) or not self.at_end

    def nothing(self) -> str:
        """Why there is none."""
        if self.page is not None and self.page.looked_to:
            return _("None of those looked at.")
        if self.has_any():
            return _("No workflow is like this.")
        return _("No workflow yet. Enqueue one:")
