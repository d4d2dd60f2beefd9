"""Records in the admin: to be looked at, not edited; the mirror is the only writer of rows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from django_tasks.models import TaskAttempt, TaskRecord


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
    fields = ("number", "outcome", "consumer", "started_at", "finished_at", "error_message")
    extra = 0


@admin.register(TaskRecord)
class TaskRecordAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The list walks the primary key and the partial indexes; no count over the whole table."""

    list_display = ("description", "status", "queue_name", "priority", "attempt", "created_at")
    list_filter = ("status", "queue_name")
    search_fields = ("=id", "=task_name")
    show_full_result_count = False
    inlines = (TaskAttemptInline,)
