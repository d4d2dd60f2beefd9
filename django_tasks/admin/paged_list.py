"""A list in Django's looks that is paged by ids and never counted: what records and workflows
share."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin.options import IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, ChangeList
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from django_tasks.errors import InvalidFilter
from django_tasks.ops.filters import read_id

# Django's own parameters, and ours that are no filter.
DJANGO = {ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR}
BEFORE, AFTER = "before", "after"


class PagedList(ChangeList):
    """``refused``: why nothing is shown; ``wanted``: the filter, None if it was refused;
    ``filter_class``: of ops/, as is what ``find`` asks."""

    filter_class: ClassVar[Any]
    refused = ""
    wanted: Any = None
    page: Any = None

    def __init__(self, request: HttpRequest, *args: Any, **given: Any) -> None:
        super().__init__(request, *args, **given)
        self.title = str(self.opts.verbose_name_plural).capitalize()

    def find(self, before: UUID | None, after: UUID | None) -> Any:
        """A page: ``rows``, and what is ``older`` and ``newer``."""
        raise NotImplementedError

    # -- what Django's own asks ----------------------------------------------------------------

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """For actions: the rows that were chosen, whatever became of them since; "all that match"
        only where that is said."""
        self.filter_specs: list[Any] = []
        self.has_filters = self.has_active_filters = False
        try:
            self.wanted = wanted = self.filter_class.parse(_asked(request))
        except InvalidFilter as error:
            self.refused = str(error)
            return self.model._default_manager.none()
        if request.POST.get("select_across") == "1":
            return wanted.queryset()
        return self.model._default_manager.using(wanted.alias).order_by("-id")

    def get_results(self, request: HttpRequest) -> None:
        if self.wanted is not None:
            try:
                self.page = self.find(_position(request, BEFORE), _position(request, AFTER))
            except InvalidFilter as error:
                self.refused = str(error)
            except DatabaseError as error:
                said = _("The database %(name)s does not serve: %(error)s")
                line = " ".join(str(error).split())[:300]
                self.refused = said % {"name": repr(self.wanted.alias), "error": line}
        self.result_list = self.page.rows if self.page is not None else []
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = bool(self.result_list)
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
        older, newer = (self.page.older, self.page.newer) if self.page is not None else (None, None)
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

    def values(self) -> dict[str, str]:
        """What was typed, also where it was refused."""
        return {name: self.params.get(name, "") for name in vars(self.filter_class())}

    def has_filter(self) -> bool:
        return any(value for name, value in self.values().items() if name not in ("q", "database"))


def _asked(request: HttpRequest) -> dict[str, str]:
    ours = DJANGO | {BEFORE, AFTER}
    given = {name: str(value) for name, value in request.GET.items()}
    return {name: value for name, value in given.items() if name not in ours and value}


def _position(request: HttpRequest, name: str) -> UUID | None:
    text = request.GET.get(name, "")
    return read_id(text) if text else None
