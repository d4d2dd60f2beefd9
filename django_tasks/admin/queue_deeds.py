"""Pause, resume and purge a queue in the admin: who, why, until when; a purge is typed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.bridge.deeds import BATCH
from django_tasks.conf import DEFAULT_ALIAS, task_settings
from django_tasks.errors import TaskQueueError
from django_tasks.models import Queue
from django_tasks.ops import control
from django_tasks.ops.status import QueueLine, status

NAMES = {
    "pause": gettext_lazy("Pause"),
    "resume": gettext_lazy("Resume"),
    "purge": gettext_lazy("Purge"),
}
MOST_MINUTES = 366 * 24 * 60


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=1000,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )


class PauseForm(ReasonForm):
    minutes = forms.IntegerField(
        label=gettext_lazy("Resume by itself after (minutes)"),
        required=False,
        min_value=1,
        max_value=MOST_MINUTES,
    )


class PurgeForm(ReasonForm):
    def __init__(self, queue: str, *args: Any) -> None:
        super().__init__(*args)
        self.queue = queue
        self.fields["typed"] = forms.CharField(
            label=_("Type the name of the queue"),
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
        )

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"]
        if typed != self.queue:
            raise forms.ValidationError(_("This is not the name of the queue: nothing was done."))
        return typed


class QueueDeeds(admin.ModelAdmin):  # type: ignore[type-arg]
    """What ``QueueAdmin`` has of deeds."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.deed_view)
        urls: list[Any] = super().get_urls()
        return [path("deed/<slug:deed>/", view, name="django_tasks_queue_deed"), *urls]

    def deeds_for(self, request: HttpRequest) -> set[str]:
        """Those that this user may do."""
        return {word for word in NAMES if _may(request, word)}

    def deed_view(self, request: HttpRequest, deed: str) -> HttpResponse:
        """Asks, and does it once it is confirmed."""
        if deed not in NAMES:
            raise Http404(f"no deed {deed!r}")
        if not _may(request, deed):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        queue = given.get("queue", "")
        line = next((one for one in status().queues if one.queue == queue), None)
        if line is None:
            messages.error(request, _("There is no queue %s, or the broker is away.") % repr(queue))
            return HttpResponseRedirect(self._back())
        posted = request.POST if request.method == "POST" else None
        form = _form(deed, queue, posted)
        if posted is not None and form.is_valid():
            try:
                self._do(request, deed, line, form.cleaned_data)
            except TaskQueueError as error:
                messages.error(request, str(error))
            return HttpResponseRedirect(self._back())
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": f"{NAMES[deed]}: {queue}",
            "original": f"{NAMES[deed]}: {queue}",
            "opts": self.opts,
            "has_view_permission": True,
            "media": self.media,
            "deed": deed,
            "name": NAMES[deed],
            "queue": queue,
            "line": line,
            "form": form,
            "back": self._back(),
        }
        return TemplateResponse(request, "admin/django_tasks/queue/deed.html", context)

    def _do(self, request: HttpRequest, deed: str, line: QueueLine, given: dict[str, Any]) -> None:
        by, queue, reason = request.user.get_username(), line.queue, given["reason"]
        user: Any = request.user.pk
        said = f"{NAMES[deed]}. {reason}".strip()
        if deed == "pause":
            minutes = given["minutes"]
            until = timezone.now() + timedelta(minutes=minutes) if minutes else None
            control.pause(queue, by=by, reason=reason, until=until)
            messages.success(request, _("Queue %s is paused.") % queue)
        elif deed == "resume":
            control.resume(queue, by=by)
            messages.success(request, _("Queue %s is resumed.") % queue)
        elif line.ready + line.scheduled + line.deferred > BATCH:
            from django_tasks import tasks  # late: wrong settings are said by `check`

            call = tasks.purge.using(queue=task_settings().console_queue)
            result = call.enqueue(queue, by, reason, DEFAULT_ALIAS)
            name = "admin:django_tasks_taskrecord_change"
            url = reverse(name, args=[result.id], current_app=self.admin_site.name)
            text = _("The purge of %s goes on in the background:") % queue
            link = format_html('{} <a href="{}">{}</a>', text, url, _("how far it is"))
            messages.success(request, link)
        else:
            done = control.purge(queue, by=by, reason=reason)
            messages.success(request, f"{_('Queue %s') % queue}: {done}.")
        LogEntry.objects.log_actions(user, [Queue(pk=queue)], CHANGE, change_message=said)

    def _back(self) -> str:
        name = "admin:django_tasks_queue_changelist"
        return reverse(name, current_app=self.admin_site.name)


def _may(request: HttpRequest, deed: str) -> bool:
    user = request.user
    return user.has_perm(f"django_tasks.{deed}_queue") and user.has_perm("django_tasks.view_queue")


def _form(deed: str, queue: str, posted: Any) -> ReasonForm:
    if deed == "purge":
        return PurgeForm(queue, posted)
    return PauseForm(posted) if deed == "pause" else ReasonForm(posted)
