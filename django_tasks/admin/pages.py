"""The console's pages: thin views over ops/."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _

from django_tasks.admin.fragments import fragment
from django_tasks.admin.queue_deeds import QueueDeeds
from django_tasks.admin.records import ReadOnly
from django_tasks.models import Queue
from django_tasks.ops.status import status

FRAGMENT = "admin/django_tasks/queue/_status.html"


@admin.register(Queue)
class QueueAdmin(ReadOnly, QueueDeeds):
    """What every queue holds, what workers run, what is wrong; renewed while it is looked at."""

    class Media:
        css = {"all": ("django_tasks/console.css",)}
        js = ("django_tasks/status.js",)

    def get_urls(self) -> list[Any]:
        fragment = self.admin_site.admin_view(self.fragment_view)
        name = "django_tasks_queue_fragment"
        return [path("fragment/", fragment, name=name), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page."""
        self._require_view(request)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Queue status"),
            "opts": self.opts,
            "cl": {"opts": self.opts},
            "actions_on_top": True,  # without, Django's page has a style in line
            "media": self.media,
            "status": status(),
            "deeds": self.deeds_for(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/django_tasks/queue/status.html", context)

    def fragment_view(self, request: HttpRequest) -> HttpResponse:
        """What changes on it."""
        self._require_view(request)
        request.current_app = self.admin_site.name
        return fragment(request, FRAGMENT, {"status": status(), "deeds": self.deeds_for(request)})

    def change_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        """Where the admin's log points for a queue: there is one page for all of them."""
        self._require_view(request)
        return HttpResponseRedirect(self._back())

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
