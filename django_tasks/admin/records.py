"""Records in the admin: to be looked at, and what may be done to them (deeds.py); not edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.forms import CheckboxInput
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.admin import record_page
from django_tasks.admin.charts import badge
from django_tasks.admin.deeds import Deeds
from django_tasks.admin.fragments import fragment
from django_tasks.admin.record_list import RecordList
from django_tasks.bridge.databases import read_record
from django_tasks.calls import registry
from django_tasks.errors import ResultNotFound
from django_tasks.models import TaskRecord
from django_tasks.ops import timeline
from django_tasks.ops.inspection import description_of, inspect
from django_tasks.ops.records import PAGE
from django_tasks.ops.words import duration, inert

PROGRESS = "admin/django_tasks/taskrecord/_progress.html"


def short_time(at: datetime) -> str:
    """As lists show it, in the current time zone."""
    return date_format(localtime(at) if is_aware(at) else at, "SHORT_DATETIME_FORMAT")


class ReadOnly:
    """No one adds, changes or deletes by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnly, Deeds):
    """The list is paged by ids (record_list.py); a record's page is put together in
    record_page.py."""

    list_display = (
        *("state", "call", "task", "queue", "priority", "tried", "waited", "took"),
        *("worker", "created"),
    )
    list_display_links = ("call",)
    sortable_by = ()
    list_per_page = PAGE
    show_full_result_count = False
    change_list_template = "admin/django_tasks/taskrecord/change_list.html"
    change_form_template = "admin/django_tasks/taskrecord/change_form.html"

    class Media:
        css = {"all": ("django_tasks/console.css",)}

    def get_changelist(self, request: HttpRequest, **given: Any) -> type[RecordList]:
        return RecordList

    def get_urls(self) -> list[Any]:
        progress = self.admin_site.admin_view(self.progress_view)
        name = "django_tasks_taskrecord_progress"
        return [path("<path:object_id>/progress/", progress, name=name), *super().get_urls()]

    # -- the list's columns ---------------------------------------------------------------------

    @admin.display(description=mark_safe('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, record: TaskRecord) -> SafeString:
        """As Django's; what it names is made inert."""
        label = gettext_lazy("Select this object for an action - {}")
        named = str(label).format(inert(description_of(record), 100))
        box = CheckboxInput({"class": "action-select", "aria-label": named}, lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, str(record.pk))

    @admin.display(description=gettext_lazy("status"))
    def state(self, record: TaskRecord) -> SafeString:
        return badge(record.status)

    @admin.display(description=gettext_lazy("description"))
    def call(self, record: TaskRecord) -> str:
        return inert(description_of(record), 200)

    @admin.display(description=gettext_lazy("task"))
    def task(self, record: TaskRecord) -> SafeString:
        parts = inert(record.task_name).split(".")
        name = format_html_join(SafeString(".<wbr>"), "{}", ((part,) for part in parts))
        if not getattr(record, "is_workflow_shown", False):
            return name
        url = self._workflow_url(record.workflow_id)
        link = '{} <a class="uncut-of" href="{}">{}</a>'
        return format_html(link, name, url, _("in a workflow"))

    @admin.display(description=gettext_lazy("queue"))
    def queue(self, record: TaskRecord) -> str:
        return inert(record.queue_name)

    @admin.display(description=gettext_lazy("attempt"))
    def tried(self, record: TaskRecord) -> str:
        return f"{record.attempt} / {record.max_attempts}"

    @admin.display(description=gettext_lazy("waited"))
    def waited(self, record: TaskRecord) -> str:
        seconds = timeline.waited(record, timezone.now())
        if seconds is not None and seconds < 0:
            return _("due in %s") % duration(-seconds)
        return duration(seconds)

    @admin.display(description=gettext_lazy("took"))
    def took(self, record: TaskRecord) -> str:
        return duration(timeline.took(record, timezone.now()))

    @admin.display(description=gettext_lazy("worker"), empty_value="–")
    def worker(self, record: TaskRecord) -> str:
        return inert(record.worker_id, 60)

    @admin.display(description=gettext_lazy("created"))
    def created(self, record: TaskRecord) -> str:
        return short_time(record.created_at)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the deeds for all that match its filter."""
        context = {"deeds": self.deeds_for(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    # -- a record's page ------------------------------------------------------------------------

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskRecord | None:
        """In whichever database it is; its name is only for showing (its history): nobody saves
        it."""
        try:
            key = UUID(str(object_id))
        except ValueError:
            return None
        found = (read_record(key, database) for database in registry.databases())
        record = next((one for one in found if one is not None), None)
        if record is not None:
            record.description = inert(description_of(record), 200)
        return record

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The record's page: why it is where it is, what happened to it, and what is where."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        try:
            inspection = inspect(object_id)
        except ResultNotFound:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        base = "admin:django_tasks_taskrecord_"
        site = self.admin_site.name
        shown = record_page.shown(inspection)
        context = {
            **self.admin_site.each_context(request),
            **shown,
            "title": shown["description"] or inspection.id,
            "original": shown["description"] or inspection.id,
            "opts": self.opts,
            "has_view_permission": True,
            "media": self.media + record_page.media(),
            "preserved_filters": self.get_preserved_filters(request),
            "workflow_url": self._workflow_url(shown.get("workflow"), request),
            "deeds": self.deeds_for(request, str((inspection.row or {}).get("status", "-"))),
            "list_url": reverse(f"{base}changelist", current_app=site),
            "history_url": reverse(f"{base}history", args=[inspection.id], current_app=site),
            "progress_url": reverse(f"{base}progress", args=[inspection.id], current_app=site),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.change_form_template, context)

    def _workflow_url(self, workflow: Any, request: HttpRequest | None = None) -> str:
        """ "" for none, and for who may not look at it."""
        name = "admin:django_tasks_workflow_change"
        if not workflow or (request and not request.user.has_perm("django_tasks.view_workflow")):
            return ""
        key = getattr(workflow, "pk", workflow)
        return reverse(name, args=[key], current_app=self.admin_site.name)

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What changes on it while it runs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            inspection = inspect(object_id)
        except ResultNotFound:
            return HttpResponse(status=404)
        return fragment(request, PROGRESS, record_page.progress(inspection))
