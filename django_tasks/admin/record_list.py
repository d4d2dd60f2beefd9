"""The list of records: Django's in its looks, paged by ids and never counted (ops/records.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, ChangeList
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from django_tasks.broker import get_broker
from django_tasks.calls import registry
from django_tasks.errors import BrokerError, InvalidFilter
from django_tasks.models import TaskRecord
from django_tasks.ops.filters import GROUPS, RecordFilter, task_names
from django_tasks.ops.records import VIEWS, Page, search
from django_tasks.ops.words import inert
from django_tasks.states import State

# Django's own parameters, and ours that are no filter.
DJANGO = {ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR}
BEFORE, AFTER = "before", "after"
MOST_OFFERED = 500  # names of tasks or queues that a field offers


class RecordList(ChangeList):
    """``refused``: why nothing is shown; ``wanted``: the filter, None if it was refused."""

    refused = ""
    wanted: RecordFilter | None = None
    page = Page()

    def __init__(self, request: HttpRequest, *args: Any, **given: Any) -> None:
        super().__init__(request, *args, **given)
        self.title = str(self.opts.verbose_name_plural).capitalize()

    # -- what Django's own asks ----------------------------------------------------------------

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """For actions: the rows that were chosen, whatever became of them since; "all that match"
        only where that is said."""
        self.filter_specs: list[Any] = []
        self.has_filters = self.has_active_filters = False
        try:
            self.wanted = wanted = RecordFilter.parse(_asked(request))
        except InvalidFilter as error:
            self.refused = str(error)
            return TaskRecord.objects.none()
        if request.POST.get("select_across") == "1":
            return wanted.queryset()
        return TaskRecord.objects.using(wanted.alias).order_by("-id")

    def get_results(self, request: HttpRequest) -> None:
        self.page = Page()
        if self.wanted is not None:
            try:
                before, after = _position(request, BEFORE), _position(request, AFTER)
                self.page = search(
                    self.wanted, before=before, after=after, limit=self.list_per_page
                )
            except InvalidFilter as error:
                self.refused = str(error)
            except DatabaseError as error:
                said = _("The database %(name)s does not serve: %(error)s")
                line = " ".join(str(error).split())[:300]
                self.refused = said % {"name": repr(self.wanted.alias), "error": line}
        self.result_list = self.page.rows
        self.result_count = self.full_result_count = len(self.page.rows)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = bool(self.page.rows)
        self.paginator = None

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}  # by ids only: there is nothing to sort by

    # -- what the page shows -------------------------------------------------------------------

    @property
    def at_end(self) -> bool:
        """Whether it is the first page."""
        return not {BEFORE, AFTER} & set(self.params)

    def link(self, **given: Any) -> str:
        """The same list with other parameters; None leaves one out, and so is the place in it."""
        query = {**(self.wanted.to_query() if self.wanted is not None else {}), **given}
        return "?" + urlencode({name: value for name, value in query.items() if value is not None})

    def links(self) -> dict[str, str]:
        """To the pages beside this one."""
        older, newer = self.page.older, self.page.newer
        found = {"first": self.link()} if not self.at_end else {}
        found |= {"newer": self.link(after=newer)} if newer else {}
        return found | ({"older": self.link(before=older)} if older else {})

    @property
    def further(self) -> str:
        """On from where it stopped looking."""
        links = self.links()
        return links.get("newer" if self._is_upward else "older", "")

    @property
    def _is_upward(self) -> bool:
        is_oldest_first = self.wanted is not None and self.wanted.is_oldest_first
        return AFTER in self.params or (BEFORE not in self.params and is_oldest_first)

    def other_order(self) -> str:
        is_oldest_first = self.wanted is not None and self.wanted.is_oldest_first
        return self.link(order=None if is_oldest_first else "oldest")

    def views(self) -> list[dict[str, Any]]:
        """Quick views, and whether this is one."""
        query = self.wanted.to_query() if self.wanted is not None else {}
        kept = {"database": query.pop("database")} if "database" in query else {}
        found: list[tuple[object, dict[str, str]]] = [(_("All"), {}), *VIEWS.values()]
        return [
            {
                "title": title,
                "url": "?" + urlencode({**asked, **kept}),
                "is_this": asked == query and not self.refused,
            }
            for title, asked in found
        ]

    def values(self) -> dict[str, str]:
        """What was typed, also where it was refused."""
        return {name: self.params.get(name, "") for name in vars(RecordFilter())}

    def has_filter(self) -> bool:
        return any(value for name, value in self.values().items() if name not in ("q", "database"))

    def choices(self) -> dict[str, Iterable[Any]]:
        """What the fields offer: nothing that would walk the table."""
        rows = self.page.rows
        return {
            "states": [*State.choices, *((name, _group(name)) for name in GROUPS)],
            "tasks": _offered([*task_names(), *(row.task_name for row in rows)]),
            "queues": _offered([*_queues(), *(row.queue_name for row in rows)]),
            "workers": _offered(row.worker_id for row in rows),
            "errors": _offered(row.error_class for row in rows),
            "releases": _offered(row.release for row in rows),
            "databases": registry.databases(),
        }


def _asked(request: HttpRequest) -> dict[str, str]:
    ours = DJANGO | {BEFORE, AFTER}
    given = {name: str(value) for name, value in request.GET.items()}
    return {name: value for name, value in given.items() if name not in ours and value}


def _position(request: HttpRequest, name: str) -> UUID | None:
    text = request.GET.get(name, "")
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidFilter(_("%s is not the id of a record.") % repr(text[:50])) from None


def _queues() -> set[str]:
    known = set(registry.queue_names())
    try:
        return known | set(get_broker().queue_names())
    except BrokerError:
        return known  # the list opens all the same


def _offered(names: Iterable[str]) -> list[str]:
    """Once each, without those that a page could not show as they are."""
    return sorted({name for name in names if name and inert(name, 200) == name})[:MOST_OFFERED]


def _group(name: str) -> str:
    return {
        "waiting": _("Waiting (any)"),
        "unfinished": _("Not finished (any)"),
        "final": _("Finished (any)"),
    }[name]
