"""Cancel a workflow, retry what failed of it: asked first, done at once or, of a large one, by a
worker; logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.admin.deeds import CancelForm, DeedForm, may
from django_tasks.bridge.deeds import BATCH, NAMES, Deed
from django_tasks.conf import task_settings
from django_tasks.errors import TaskQueueError
from django_tasks.models import Workflow
from django_tasks.models.workflow import Counts
from django_tasks.ops import workflows
from django_tasks.ops.words import inert
from django_tasks.states import FINAL, State

WORDS: Mapping[Deed, object] = {
    Deed.CANCEL: NAMES[Deed.CANCEL],
    Deed.RETRY: gettext_lazy("Retry failed"),
}
FORMS: dict[Deed, type[DeedForm]] = {Deed.CANCEL: CancelForm}


def concerned(deed: Deed, counts: Counts) -> int:
    """How many it is done to, by their rows."""
    if deed is Deed.CANCEL:
        return counts.total - counts.done
    return sum(counts.by_state.get(state, 0) for state in workflows.FAILED)


class WorkflowDeeds(admin.ModelAdmin):  # type: ignore[type-arg]
    """What ``WorkflowAdmin`` has of deeds."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.deed_view)
        route = "deed/<slug:deed>/<uuid:workflow_id>/"
        urls: list[Any] = super().get_urls()
        return [path(route, view, name="django_tasks_workflow_deed"), *urls]

    def deeds_for(self, request: HttpRequest, seen: workflows.Overview) -> list[dict[str, str]]:
        """Those that this user may do and that find something to be done to."""
        name = "admin:django_tasks_workflow_deed"
        return [
            {
                "name": str(word),
                "url": reverse(
                    name,
                    args=[deed.value, seen.workflow.pk],
                    current_app=self.admin_site.name,
                ),
            }
            for deed, word in WORDS.items()
            if self._may(request, deed) and concerned(deed, seen.counts)
        ]

    def deed_view(self, request: HttpRequest, deed: str, workflow_id: Any) -> HttpResponse:
        """Asks, and does it once it is confirmed."""
        chosen = next((one for one in WORDS if one.value == deed), None)
        if chosen is None:
            raise Http404(f"no deed {deed!r}")
        if not self._may(request, chosen):
            raise PermissionDenied
        workflow = workflows.find(workflow_id)
        if workflow is None:
            raise Http404("no such workflow")
        workflow.name = inert(workflow.name)  # only for showing: nobody saves it
        seen = workflows.overview(workflow)
        form = FORMS.get(chosen, DeedForm)(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                self._do(request, chosen, seen, form)
            except TaskQueueError as error:
                messages.error(request, str(error))
            return HttpResponseRedirect(self._page(workflow))
        request.current_app = self.admin_site.name
        by_state = seen.counts.by_state
        context = {
            **self.admin_site.each_context(request),
            "title": f"{WORDS[chosen]}: {workflow}",
            "original": f"{WORDS[chosen]}: {workflow}",
            "opts": self.opts,
            "has_view_permission": True,
            "media": self.media + form.media,
            "deed": chosen.value,
            "name": WORDS[chosen],
            "form": form,
            "count": concerned(chosen, seen.counts),
            "running": by_state.get(State.RUNNING, 0),
            "waiting": sum(n for one, n in by_state.items() if one not in FINAL | {State.RUNNING}),
            "back": self._page(workflow),
            "in_background": _is_large(seen),
        }
        return TemplateResponse(request, "admin/django_tasks/workflow/deed.html", context)

    def _do(
        self, request: HttpRequest, deed: Deed, seen: workflows.Overview, form: DeedForm
    ) -> None:
        from django_tasks import tasks  # late: wrong settings are said by `check`, not at import

        by, reason = request.user.get_username(), form.cleaned_data["reason"]
        options, key = form.options(), seen.workflow.pk
        if _is_large(seen):
            call = tasks.carry_out_workflow.using(queue=task_settings().console_queue)
            result = call.enqueue(deed.value, str(key), seen.database, by, reason, options)
            name = "admin:django_tasks_taskrecord_change"
            url = reverse(name, args=[result.id], current_app=self.admin_site.name)
            said = _("%(deed)s of %(count)s records goes on in the background:") % {
                "deed": WORDS[deed],
                "count": f"{concerned(deed, seen.counts):,}",
            }
            link = format_html('{} <a href="{}">{}</a>', said, url, _("how far it is"))
            messages.success(request, link)
        else:
            done = tasks.do_to_workflow(deed, key, seen.database, options, by=by, reason=reason)
            level = messages.success if done.changed or done.told else messages.info
            level(request, f"{WORDS[deed]}: {done}.")
        user: Any = request.user.pk
        said = f"{WORDS[deed]}. {reason}".strip()
        LogEntry.objects.log_actions(user, [seen.workflow], CHANGE, change_message=said)

    def _page(self, workflow: Workflow) -> str:
        name = "admin:django_tasks_workflow_change"
        return reverse(name, args=[workflow.pk], current_app=self.admin_site.name)

    def _may(self, request: HttpRequest, deed: Deed) -> bool:
        return may(request, deed) and self.has_view_permission(request)


def _is_large(seen: workflows.Overview) -> bool:
    """A retry catches up with what has not ended, and revives what could not run."""
    return seen.counts.total - seen.counts.by_state.get(State.SUCCESSFUL, 0) > BATCH
