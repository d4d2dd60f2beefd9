"""Workflows in the admin: a list, and a page that renews itself: progress, graph, members."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from django_tasks.admin import workflow_page
from django_tasks.admin.charts import badge, shares
from django_tasks.admin.fragments import fragment
from django_tasks.admin.graph import said_of
from django_tasks.admin.records import ReadOnly, short_time
from django_tasks.admin.workflow_deeds import WorkflowDeeds
from django_tasks.admin.workflow_list import WorkflowList
from django_tasks.models import Workflow
from django_tasks.ops import workflows
from django_tasks.ops.words import inert
from django_tasks.ops.workflow_pages import PAGE

PART = "admin/django_tasks/workflow/_workflow.html"


@admin.register(Workflow)
class WorkflowAdmin(ReadOnly, WorkflowDeeds):
    """Whoever may look at records, too: its pages show them."""

    list_display = ("call", "kind_of", "state", "progress", "by_state", "created", "finished")
    list_display_links = ("call",)
    sortable_by = ()
    actions = None
    list_per_page = PAGE
    show_full_result_count = False
    change_list_template = "admin/django_tasks/workflow/change_list.html"
    change_form_template = "admin/django_tasks/workflow/change_form.html"

    class Media:
        css = {"all": ("django_tasks/console.css",)}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_see_records = request.user.has_perm("django_tasks.view_taskrecord")
        return may_see_records and super().has_view_permission(request, obj)

    def get_changelist(self, request: HttpRequest, **given: Any) -> type[WorkflowList]:
        return WorkflowList

    def get_urls(self) -> list[Any]:
        part = self.admin_site.admin_view(self.part_view)
        name = "django_tasks_workflow_part"
        return [path("<uuid:workflow_id>/part/", part, name=name), *super().get_urls()]

    # -- the list's columns ---------------------------------------------------------------------

    @admin.display(description=gettext_lazy("name"))
    def call(self, workflow: Workflow) -> str:
        return inert(workflow, 200)

    @admin.display(description=gettext_lazy("kind"))
    def kind_of(self, workflow: Workflow) -> str:
        return inert(workflow.get_kind_display(), 20)

    @admin.display(description=gettext_lazy("status"))
    def state(self, workflow: Any) -> SafeString:
        return badge(workflow.seen.status)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, workflow: Any) -> SafeString:
        counts = workflow.seen
        bar = shares(counts.by_state, workflow_page.told(counts)) if counts.total else ""
        done = f"{counts.done:,} / {counts.total:,}"
        return format_html('{}<span class="uncut-done">{}</span>', bar, done)

    @admin.display(description=gettext_lazy("records"))
    def by_state(self, workflow: Any) -> str:
        return said_of(workflow.seen.by_state)

    @admin.display(description=gettext_lazy("created"))
    def created(self, workflow: Workflow) -> str:
        return short_time(workflow.created_at)

    @admin.display(description=gettext_lazy("finished"), empty_value="–")
    def finished(self, workflow: Any) -> str | None:
        return short_time(workflow.ended) if workflow.ended else None

    # -- a workflow's page ----------------------------------------------------------------------

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Workflow | None:
        """In whichever database it is; its name is only for showing (its history): nobody saves
        it."""
        workflow = workflows.find(object_id)
        if workflow is not None:
            workflow.name = inert(workflow.name)
        return workflow

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        workflow = self.get_object(request, object_id)
        if workflow is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        request.current_app = self.admin_site.name
        base, site = "admin:django_tasks_workflow_", self.admin_site.name
        asked = workflow_page.asked_of(request.GET)
        part = self._part(request, workflow, asked)
        url = reverse(f"{base}part", args=[workflow.pk], current_app=site)
        context = {
            **self.admin_site.each_context(request),
            **part,
            "title": inert(workflow, 200),
            "original": inert(workflow, 200),
            "opts": self.opts,
            "has_view_permission": True,
            "media": self.media + Media(js=("django_tasks/status.js", "django_tasks/copy.js")),
            "preserved_filters": self.get_preserved_filters(request),
            "list_url": reverse(f"{base}changelist", current_app=site),
            "history_url": reverse(f"{base}history", args=[workflow.pk], current_app=site),
            "part_url": f"{url}?{urlencode(asked)}" if asked else url,
            "seconds": workflow_page.seconds_of(part["seen"].counts),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.change_form_template, context)

    def part_view(self, request: HttpRequest, workflow_id: Any) -> HttpResponse:
        """What changes on it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        workflow = self.get_object(request, str(workflow_id))
        if workflow is None:
            return HttpResponse(status=404)
        request.current_app = self.admin_site.name
        asked = workflow_page.asked_of(request.GET)
        return fragment(request, PART, self._part(request, workflow, asked))

    def _part(
        self, request: HttpRequest, workflow: Workflow, asked: dict[str, str]
    ) -> dict[str, Any]:
        def record_url(key: Any) -> str:
            name = "admin:django_tasks_taskrecord_change"
            return reverse(name, args=[key], current_app=self.admin_site.name)

        seen = workflows.overview(workflow)
        part = workflow_page.shown(seen, asked, record_url)
        return {**part, "workflow": workflow, "deeds": self.deeds_for(request, seen)}
