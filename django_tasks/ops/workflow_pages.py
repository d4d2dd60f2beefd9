"""Pages of workflows: bounded, whatever the size of the tables. No COUNT, no OFFSET over rows.

The newest first, by ids. What no index knows (a state, a kind, a part of the name) is looked for
among the next ``GLANCE`` of them, then ``WINDOW`` more, as ops/records.py does it."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from uuid import UUID

from django.db.models import Max, Q
from django.utils.translation import gettext as _

from django_tasks.errors import InvalidFilter
from django_tasks.models import TaskRecord, Workflow
from django_tasks.models.workflow import Counts, WorkflowQuerySet, counts_of
from django_tasks.ops.filters import ORDERS, database_of, readable
from django_tasks.ops.moments import first_id, made_at, moment
from django_tasks.states import FINAL

PAGE = 50
GLANCE = 500  # workflows that are looked through first: often they fill the page
WINDOW = 5_000  # workflows that one page looks through
PATIENCE = 0.3  # seconds for which it goes on while nothing is found
MOST_ENDS = 20_000  # records of one page that are asked when they finished
STATES = ("running", "failed", "cancelled", "successful")


@dataclass(frozen=True)
class WorkflowFilter:
    """All text, as typed; "" says nothing. ``q``: an id, or a part of the name (``import*``: its
    beginning); ``state``: one of ``STATES``; ``since``, ``until``: of the creation."""

    q: str = ""
    state: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    order: str = ""
    database: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> WorkflowFilter:
        """Raises ``InvalidFilter`` for a name that is none and for a value that means nothing."""
        names = [one.name for one in fields(cls)]
        for name in given:
            if name not in names:
                text = _("%s is no filter of workflows. There are:") % repr(name)
                raise InvalidFilter(f"{text} {', '.join(names)}.")
        made = cls(**{name: readable(name, value) for name, value in given.items()})
        made = cls(**{**vars(made), "state": made.state.lower(), "kind": made.kind.lower()})
        made.alias  # noqa: B018 - each is said now, if it is wrong
        made.queryset()
        _require(made.order, ORDERS, _("%s is no order."))
        return made

    def to_query(self) -> dict[str, str]:
        """What brings the same back: parameters of an address."""
        values = {one.name: str(getattr(self, one.name)) for one in fields(self)}
        return {name: value for name, value in values.items() if value}

    @property
    def alias(self) -> str:
        """Of the database that is looked at."""
        return database_of(self.database)

    @property
    def is_oldest_first(self) -> bool:
        return self.order == "oldest"

    @property
    def bounds(self) -> Q:
        """What the primary key knows: ids begin with their time."""
        found = Q()
        if self.since:
            found &= Q(id__gte=first_id(moment(self.since)))
        if self.until:
            found &= Q(id__lt=first_id(moment(self.until, is_end=True)))
        if (key := self._key()) is not None:
            found &= Q(id=key)
        return found

    @property
    def is_served(self) -> bool:
        """Whether no row has to be looked at."""
        return not self.state and not self.kind and (not self.q or self._key() is not None)

    def chosen(self, rows: WorkflowQuerySet) -> WorkflowQuerySet:
        """Of these what is like it, beside ``bounds``."""
        _require(self.state, STATES, _("%s is no state of a workflow."))
        _require(self.kind, Workflow.Kind.values, _("%s is no kind of workflow."))
        if self.state:
            rows = getattr(rows, self.state)()
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.q.endswith("*"):
            return rows.filter(name__istartswith=self.q.rstrip("*"))
        return rows.filter(name__icontains=self.q) if self.q and self._key() is None else rows

    def queryset(self) -> WorkflowQuerySet:
        """All that match, unbounded. Newest first."""
        rows: WorkflowQuerySet = Workflow.objects.using(self.alias).filter(self.bounds)
        return self.chosen(rows).order_by("-id")

    def _key(self) -> UUID | None:
        try:
            return UUID(self.q)
        except ValueError:
            return None


@dataclass(slots=True)
class WorkflowPage:
    """As ``records.Page``; ``counts``: of each, ``ended``: when the last record of a finished one
    did, of those that are not too large."""

    rows: list[Workflow] = field(default_factory=list)
    counts: dict[UUID, Counts] = field(default_factory=dict)
    ended: dict[UUID, datetime] = field(default_factory=dict)
    older: UUID | None = None
    newer: UUID | None = None
    looked_to: datetime | None = None
    window: int = 0


def search(
    wanted: WorkflowFilter,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
    limit: int = PAGE,
) -> WorkflowPage:
    """One page: those ``before`` an id (older), ``after`` one (newer), or at the end that the
    filter's order says. Raises ``InvalidFilter``; ``DatabaseError`` if it is away."""
    is_upward = after is not None if before or after else wanted.is_oldest_first
    order = "id" if is_upward else "-id"
    bounds = wanted.bounds
    if before is not None and not is_upward:
        bounds &= Q(id__lt=before)
    if after is not None and is_upward:
        bounds &= Q(id__gt=after)
    page, found = WorkflowPage(), list[Workflow]()
    edge, window, began = None, GLANCE, time.monotonic()
    while True:
        rows: WorkflowQuerySet = Workflow.objects.using(wanted.alias).filter(bounds)
        if not wanted.is_served:  # the primary key alone tells where the window ends
            ids = rows.order_by(order).values_list("id", flat=True)
            edge = next(iter(ids[window - 1 : window]), None)
            if edge is not None:
                rows = rows.filter(Q(id__lte=edge) if is_upward else Q(id__gte=edge))
        found += wanted.chosen(rows).order_by(order)[: limit + 1 - len(found)]
        page.window += window
        is_late = bool(found) or time.monotonic() - began > PATIENCE
        if edge is None or len(found) > limit or (page.window >= WINDOW and is_late):
            break
        bounds &= Q(id__gt=edge) if is_upward else Q(id__lt=edge)
        window = WINDOW
    is_more, found = len(found) > limit, found[:limit]
    onward = found[-1].pk if is_more else edge
    back = found[0].pk if found and (before if not is_upward else after) else None
    page.older, page.newer = (back, onward) if is_upward else (onward, back)
    if edge is not None and not is_more:
        page.looked_to = made_at(edge)
    page.rows = sorted(found, key=lambda one: one.pk, reverse=not wanted.is_oldest_first)
    page.counts = counts_of([one.pk for one in found], wanted.alias) if found else {}
    page.ended = _ended(page, wanted.alias)
    return page


def _ended(page: WorkflowPage, alias: str) -> dict[UUID, datetime]:
    """No index knows it: rows are read, and so not too many."""
    chosen, size = [], 0
    for one in page.rows:
        counts = page.counts[one.pk]
        size += counts.total
        if counts.total and counts.done == counts.total and size <= MOST_ENDS:
            chosen.append(one.pk)
    if not chosen:
        return {}
    rows = TaskRecord.objects.using(alias).filter(workflow__in=chosen, status__in=FINAL).order_by()
    return dict(rows.values_list("workflow").annotate(last=Max("finished_at")))


def _require(word: str, known: tuple[str, ...] | list[str], text: str) -> None:
    if word and word not in known:
        close = difflib.get_close_matches(word, known, n=1)
        hint = _(" Did you mean %s?") % close[0] if close else ""
        said = _("There are: %s.") % ", ".join(known)
        raise InvalidFilter(f"{text % repr(word)}{hint} {said}")
