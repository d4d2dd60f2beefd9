"""Deeds in the admin: one form for one record, for a selection, and for all that match a filter.

First how many match and to how many it can be done, and why not to the others; then it is done, or,
if they are many, handed to a worker. You come back to where you were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.bridge.actions import preview
from django_tasks.bridge.deeds import BATCH, ELIGIBLE, MAX_REASON, NAMES, Deed, Preview
from django_tasks.calls import registry
from django_tasks.calls.sensitive import is_sensitive
from django_tasks.conf import task_settings
from django_tasks.errors import InvalidFilter, TaskQueueError
from django_tasks.models import TaskRecord
from django_tasks.ops.filters import RecordFilter, read_id
from django_tasks.states import State

MOST = 1000  # records of a selection


class DeedForm(forms.Form):
    """Why; and what a deed needs to know besides."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Kept in the record and in the admin's log."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    def options(self) -> dict[str, Any]:
        """What the deed is given, in a form that travels as JSON."""
        return {name: value for name, value in self.cleaned_data.items() if name != "reason"}


class RetryForm(DeedForm):
    again = forms.BooleanField(label=gettext_lazy("Also what succeeded"), required=False)


class CancelForm(DeedForm):
    terminate = forms.BooleanField(
        label=gettext_lazy("End running tasks with their process, at once"), required=False
    )


class RescheduleForm(DeedForm):
    when = forms.DateTimeField(
        label=gettext_lazy("Run at"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
    )

    def options(self) -> dict[str, Any]:
        return {"when": self.cleaned_data["when"].isoformat()}


class PriorityForm(DeedForm):
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"), min_value=-100, max_value=100, initial=0
    )


FORMS: dict[Deed, type[DeedForm]] = {
    Deed.RETRY: RetryForm,
    Deed.CANCEL: CancelForm,
    Deed.RESCHEDULE: RescheduleForm,
    Deed.PRIORITIZE: PriorityForm,
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a deed is asked for: records by id, or all that match a filter. ``query``: of the list
    that it was asked from; ``page``: the record whose page that was, "" for the list."""

    records: Any
    ids: list[str]
    wanted: RecordFilter
    query: str
    page: str
    is_all: bool


def _action_of(deed: Deed) -> Callable[..., HttpResponse]:
    """For a selection in the list."""

    @admin.action(permissions=[deed.value], description=NAMES[deed])
    def act(model_admin: Deeds, request: HttpRequest, chosen: Any) -> HttpResponse:
        ids = [str(one) for one in chosen.values_list("pk", flat=True)[:MOST]]
        chosen_ones = _chosen(ids, request.GET.urlencode(), "", is_all=False)
        return model_admin.ask(request, deed, chosen_ones)

    act.__name__ = deed.value
    return act


class Deeds(admin.ModelAdmin):  # type: ignore[type-arg]
    """What ``TaskRecordAdmin`` has of deeds."""

    actions = [_action_of(deed) for deed in Deed]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.deed_view)
        urls: list[Any] = super().get_urls()
        return [path("deed/<slug:deed>/", view, name="django_tasks_taskrecord_deed"), *urls]

    def deeds_for(self, request: HttpRequest, status: str = "") -> list[dict[str, str]]:
        """Those that this user may do (and that can be done in this state), for buttons."""
        return [
            {"word": deed.value, "name": str(NAMES[deed]), "url": self._url(deed)}
            for deed in Deed
            if may(request, deed) and (not status or _is_fitting(deed, status))
        ]

    def deed_view(self, request: HttpRequest, deed: str) -> HttpResponse:
        """Asks, and does it once it is confirmed."""
        try:
            chosen_deed = Deed(deed)
        except ValueError:
            raise Http404(f"no deed {deed!r}") from None
        if not may(request, chosen_deed):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        query = request.POST.get("query", "") if given is request.POST else given.urlencode()
        ids = request.POST.getlist("ids")[:MOST]
        try:
            # Said by itself: a selection of which nothing is left is not "all that match".
            is_all = request.method == "GET" or request.POST.get("all") == "1"
            chosen = _chosen(ids, query, request.POST.get("page", ""), is_all=is_all)
            return self.ask(request, chosen_deed, chosen)
        except InvalidFilter as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self._list_url(""))

    def ask(self, request: HttpRequest, deed: Deed, chosen: Chosen) -> HttpResponse:
        """The form; what it says is done if it is filled in."""
        if not may(request, deed):
            raise PermissionDenied
        form_class = FORMS.get(deed, DeedForm)
        is_confirmed = request.method == "POST" and "confirm" in request.POST
        form = form_class(request.POST if is_confirmed else None)
        again = bool(is_confirmed and request.POST.get("again"))
        seen = preview(deed, chosen.records, **({"again": True} if again else {}))
        if is_confirmed and form.is_valid():
            return self._do(request, deed, chosen, form, seen)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": str(NAMES[deed]),
            "original": str(NAMES[deed]),
            "opts": self.opts,
            "has_view_permission": True,
            "media": self.media + form.media,
            "deed": deed.value,
            "form": form,
            "seen": seen,
            "skipped": sorted(seen.skipped.items()),
            "chosen": chosen,
            "filter": sorted(chosen.wanted.to_query().items()),
            "url": self._url(deed),
            "back": self._back(chosen),
            "in_background": chosen.is_all and seen.matched > BATCH,
        }
        return TemplateResponse(request, "admin/django_tasks/taskrecord/deed.html", context)

    def _do(
        self, request: HttpRequest, deed: Deed, chosen: Chosen, form: DeedForm, seen: Preview
    ) -> HttpResponse:
        from django_tasks import tasks  # late: wrong settings are said by `check`, not at import

        reason, options = form.cleaned_data["reason"], form.options()
        by = request.user.get_username()
        try:
            if chosen.is_all and seen.matched > BATCH:
                call = tasks.carry_out.using(queue=task_settings().console_queue)
                result = call.enqueue(deed.value, chosen.wanted.to_query(), by, reason, options)
                url = self._record_url(result.id)
                text = _("%(deed)s of %(count)s records goes on in the background:")
                said = text % {"deed": NAMES[deed], "count": f"{seen.eligible:,}"}
                link = format_html('{} <a href="{}">{}</a>', said, url, _("how far it is"))
                messages.success(request, link)
                _log(request, f"{NAMES[deed]}: {_told(chosen)}. {reason}", result.id)
            else:
                if chosen.is_all:
                    _log(request, f"{NAMES[deed]}: {_told(chosen)}. {reason}", "", chosen.records)
                done = tasks.do(deed, chosen.records, options, by=by, reason=reason)
                if not chosen.is_all:
                    _log(request, f"{NAMES[deed]}. {reason}".strip(), "", chosen.records)
                level = messages.success if done.changed or done.told else messages.info
                level(request, f"{NAMES[deed]}: {done}.")
        except TaskQueueError as error:
            messages.error(request, str(error))
        return HttpResponseRedirect(self._back(chosen))

    def _url(self, deed: Deed) -> str:
        name = "admin:django_tasks_taskrecord_deed"
        return reverse(name, args=[deed.value], current_app=self.admin_site.name)

    def _list_url(self, query: str) -> str:
        name = "admin:django_tasks_taskrecord_changelist"
        return reverse(name, current_app=self.admin_site.name) + (f"?{query}" if query else "")

    def _record_url(self, record_id: str) -> str:
        name = "admin:django_tasks_taskrecord_change"
        return reverse(name, args=[record_id], current_app=self.admin_site.name)

    def _back(self, chosen: Chosen) -> str:
        return self._record_url(chosen.page) if chosen.page else self._list_url(chosen.query)


def _permission_of(deed: Deed) -> Callable[[Deeds, HttpRequest], bool]:
    return lambda model_admin, request: may(request, deed)


for _deed in Deed:  # has_retry_permission and its like, by which Django asks who may do an action
    setattr(Deeds, f"has_{_deed.value}_permission", _permission_of(_deed))


def may(request: HttpRequest, deed: Deed) -> bool:
    """Each deed has a permission of its own; whoever does one may look, too."""
    user = request.user
    return user.has_perm(deed.permission) and user.has_perm("django_tasks.view_taskrecord")


def _is_fitting(deed: Deed, status: str) -> bool:
    return status in ELIGIBLE[deed] or (deed is Deed.RETRY and status == State.SUCCESSFUL)


def _chosen(ids: list[str], query: str, page: str, *, is_all: bool) -> Chosen:
    """Raises ``InvalidFilter``."""
    given = {name: value for name, value in QueryDict(query).items() if isinstance(value, str)}
    for name in ("before", "after", "p", "o", "all", "e"):  # a place in the list is no filter
        given.pop(name, None)
    wanted = RecordFilter.parse({name: value for name, value in given.items() if value})
    if is_all:
        return Chosen(wanted.queryset(), [], wanted, query, page, is_all)
    keys = [read_id(one) for one in ids]
    found: list[TaskRecord] = []
    for database in registry.databases():
        rows = TaskRecord.objects.using(database).filter(pk__in=keys)
        found += rows.only("id", "status", "dead_letter", "task_name", "metadata", "description")
    return Chosen(
        found, [str(one) for one in keys], wanted, query, page if page in ids else "", is_all
    )


def _told(chosen: Chosen) -> str:
    said = ", ".join(f"{name}={value}" for name, value in chosen.wanted.to_query().items())
    return _("all that match %s") % said if said else _("all records")


def _log(request: HttpRequest, message: str, record_id: str, records: Any = ()) -> None:
    """Into Django's own log: an entry for each of a selection, one for all of a filter."""
    user: Any = request.user.pk
    if record_id:
        records = [TaskRecord(id=UUID(record_id), description="django_tasks.tasks.carry_out")]
    elif not isinstance(records, list):
        records = list(records.only("id", "description", "task_name")[:BATCH])
    for record in records:
        if is_sensitive(record.task_name):  # its description may be older than that
            record.description = ""
    if records:
        LogEntry.objects.log_actions(user, records, CHANGE, change_message=message)
