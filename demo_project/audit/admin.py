"""Audits in Django's admin, to read and to delete."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from demo_project.audit.models import Audit, DistributionReport


class DistributionInline(admin.TabularInline):  # type: ignore[type-arg]
    """The distributions of one audit."""

    model = DistributionReport
    fields = readonly_fields = ("name", "version", "licence", "files", "verified", "size")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Audit | None = None) -> bool:
        return False


@admin.register(Audit)
class AuditAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Written by tasks, so nothing here is to be edited."""

    list_display = ("__str__", "created_at", "finished_at")
    readonly_fields = ("created_at", "finished_at", "workflow_id", "report_task_id", "report")
    inlines = (DistributionInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
