"""Records in the admin: to be looked at, not edited; the mirror is the only writer of rows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from django_tasks.errors import ResultNotFound
from django_tasks.models import TaskAttempt, TaskRecord
from django_tasks.models.fields import AnyJSONField, AnyTextField
from django_tasks.ops.inspection import inspect


def showable(value: Any) -> Any:
    """``value`` as a page can show it: what has no UTF-8 form, and NUL, are written as escapes."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
        case list():
            return [showable(item) for item in value]
        case dict():
            return {showable(key): showable(item) for key, item in value.items()}
    return value


class ReadOnly:
    """No one adds, changes or deletes by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TaskAttemptInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The runs of a record."""

    model = TaskAttempt
    fields = ("number", "outcome", "consumer", "started_at", "finished_at", "error")
    readonly_fields = ("error",)
    extra = 0

    @admin.display(description=_("error message"))
    def error(self, attempt: TaskAttempt) -> str:
        return str(showable(attempt.error_message))


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The list walks the primary key and the partial indexes; no count over the whole table."""

    list_display = ("description", "status", "queue_name", "priority", "attempt", "created_at")
    list_filter = ("status", "queue_name")
    search_fields = ("=id", "=task_name")
    show_full_result_count = False
    inlines = (TaskAttemptInline,)

    class Media:
        css = {"all": ("django_tasks/console.css",)}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The record's page: its columns and runs, why it is where it is, and what is where."""
        context = dict(extra_context or {})
        try:
            context["inspection"] = inspect(object_id)
        except ResultNotFound:
            pass  # the page itself says so
        return super().change_view(request, object_id, form_url, context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TaskRecord | None:
        """The record, in a form that is only for showing: nobody saves it."""
        record: TaskRecord | None = super().get_object(request, object_id, from_field)
        if record is not None:
            for field in record._meta.concrete_fields:
                if isinstance(field, AnyTextField | AnyJSONField):
                    setattr(record, field.attname, showable(getattr(record, field.attname)))
        return record
