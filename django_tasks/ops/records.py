"""Pages of records: bounded, whatever the size of the table. No COUNT, no OFFSET over rows.

What an index holds is walked in the order of ids, which is that of time. What no index knows (a
worker, an error, a word in the arguments) is looked for among the next ``GLANCE`` entries of such a
walk, then ``WINDOW`` more if these fill no page (and a few more while nothing is found), and the
page says how far it has looked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_tasks.calls.sensitive import is_sensitive
from django_tasks.errors import InvalidFilter
from django_tasks.models import TaskRecord
from django_tasks.models.record import TaskRecordQuerySet
from django_tasks.ops.filters import UNFINISHED, RecordFilter
from django_tasks.ops.lanes import is_all, lanes, needs_queues
from django_tasks.ops.moments import made_at

PAGE = 100
GLANCE = 1_000  # entries of an index that are looked through first: often they fill the page
WINDOW = 20_000  # entries of an index that one page looks through
PATIENCE = 0.3  # seconds for which it goes on to the next window while nothing is found
WINDOW_INSIDE = 2_000  # where arguments are read for it: of large ones each is a read of its own
MAX_QUEUES = 50  # that one look asks about
# What a list shows none of, and what may be large.
LARGE = tuple("args kwargs return_value error_message traceback metadata headers".split())

# Each is served by a small index. Oldest first, where the oldest are the ones that are sought.
VIEWS: dict[str, tuple[object, dict[str, str]]] = {
    "failed-today": (gettext_lazy("Failed today"), {"state": "FAILED", "finished": "today"}),
    "running-long": (
        gettext_lazy("Running for over 5 min"),
        {"state": "RUNNING", "longer": "5m", "order": "oldest"},
    ),
    "waiting-long": (
        gettext_lazy("Waiting for over 5 min"),
        {"state": "waiting", "longer": "5m", "order": "oldest"},
    ),
    "dead": (gettext_lazy("Dead letters"), {"dead": "1"}),
}


@dataclass(slots=True)
class Page:
    """``older``, ``newer``: what ``search`` is to be given for the next page in that direction,
    None where there is none; ``looked_to``: as far as it looked (a record's creation), if that was
    not to the end; ``window``: through how many."""

    rows: list[TaskRecord] = field(default_factory=list)
    older: UUID | None = None
    newer: UUID | None = None
    looked_to: datetime | None = None
    window: int = WINDOW


def search(
    wanted: RecordFilter,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
    limit: int = PAGE,
) -> Page:
    """One page: those ``before`` an id (older), ``after`` one (newer), or at the end that the
    filter's order says. Raises ``InvalidFilter``; ``DatabaseError`` if it is away."""
    is_upward = after is not None if before or after else wanted.is_oldest_first
    window = WINDOW_INSIDE if wanted.searched[0] == "contents" else WINDOW
    bounds = wanted.times
    if before is not None and not is_upward:
        bounds &= Q(id__lt=before)
    if after is not None and is_upward:
        bounds &= Q(id__gt=after)
    rows = TaskRecord.objects.using(wanted.alias)
    queues = _queues(rows, wanted) if needs_queues(wanted) else []
    walk = _Walk(rows, is_upward)
    chosen = lanes(wanted, queues)
    began, looked = time.monotonic(), min(GLANCE, window)
    ids, edge = _find(wanted, chosen, walk, bounds, looked, limit + 1)
    while edge is not None and len(ids) <= limit:
        if looked >= window and (ids or time.monotonic() - began > PATIENCE):
            break
        bounds &= Q(id__gt=edge) if is_upward else Q(id__lt=edge)
        further, edge = _find(wanted, chosen, walk, bounds, window, limit + 1 - len(ids))
        ids += further
        looked += window
    is_more = len(ids) > limit
    ids = ids[:limit]
    page = Page(rows=_fetched(rows, ids, wanted.is_oldest_first), window=looked)
    onward = ids[-1] if is_more else edge
    back = ids[0] if ids and (before if not is_upward else after) else None
    page.older, page.newer = (back, onward) if is_upward else (onward, back)
    if edge is not None and not is_more:
        page.looked_to = made_at(edge)
    return page


@dataclass(frozen=True, slots=True)
class _Walk:
    """Ids in their order. Where the index has all that is asked, no row is read."""

    rows: TaskRecordQuerySet
    is_upward: bool

    def ids(self, condition: Q, start: int, stop: int) -> list[UUID]:
        ordered = self.rows.filter(condition).order_by("id" if self.is_upward else "-id")
        return list(ordered.values_list("id", flat=True)[start:stop])

    def all_ids(self, condition: Q) -> list[UUID]:
        """In no order. Asked for the first hundred in order, PostgreSQL goes through the primary
        key from the table's beginning, since it thinks it meets them soon: what waits does not
        stand there."""
        return list(self.rows.filter(condition).order_by().values_list("id", flat=True))

    def nearest(self, ids: list[UUID]) -> UUID | None:
        """What a walk meets first."""
        return (min if self.is_upward else max)(ids, default=None)

    def until(self, edge: UUID) -> Q:
        return Q(id__lte=edge) if self.is_upward else Q(id__gte=edge)


def _find(
    wanted: RecordFilter, chosen: list[Q], walk: _Walk, bounds: Q, window: int, most: int
) -> tuple[list[UUID], UUID | None]:
    """The first ids of all lanes, in the order of the walk, and the last one that was looked at,
    None if that was the end."""
    is_served = is_all(wanted)
    found: list[UUID] = []
    edges: list[UUID] = []
    for lane in chosen:
        if is_served:
            found += walk.ids(lane & bounds, 0, most)
            continue
        # The index alone tells where the window ends.
        edge = walk.ids(lane & bounds, window - 1, window)
        inside = walk.until(edge[0]) if edge else Q()
        found += walk.all_ids(lane & bounds & inside & wanted.conditions())
        edges += edge
    nearest = walk.nearest(edges)
    if nearest is not None:  # behind it, not every lane was looked at
        found = [one for one in found if walk.nearest([one, nearest]) == one]
    return sorted(found, reverse=not walk.is_upward)[:most], nearest


def _fetched(rows: TaskRecordQuerySet, ids: list[UUID], is_oldest_first: bool) -> list[TaskRecord]:
    chosen = rows.filter(id__in=ids).defer(*LARGE) if ids else rows.none()
    found = described(rows, list(chosen))
    return sorted(found, key=lambda record: record.pk, reverse=not is_oldest_first)


def described(rows: TaskRecordQuerySet, found: list[TaskRecord]) -> list[TaskRecord]:
    """With the arguments of those whose task calls some sensitive: what a row says of itself may be
    older than that. One more query where there are such, none where not."""
    names = {name for name in {one.task_name for one in found} if is_sensitive(name)}
    hidden = [one.pk for one in found if one.task_name in names]
    if not hidden:
        return found
    kept = [name for name in LARGE if name not in ("args", "kwargs", "metadata")]
    whole = {one.pk: one for one in rows.filter(id__in=hidden).defer(*kept)}
    return [whole.get(one.pk, one) for one in found]


def _queues(rows: TaskRecordQuerySet, wanted: RecordFilter) -> list[str]:
    """The queues that have something unfinished (or dead), one step of the index for each."""
    if wanted.is_dead:
        rows = rows.dead_letters()  # index taskrecord_dead
    else:
        rows = rows.filter(status__in=UNFINISHED)  # index taskrecord_unfinished
    found: list[str] = []
    last = ""
    while True:
        step = rows.filter(queue_name__gt=last).order_by("queue_name")
        name = step.values_list("queue_name", flat=True).first()
        if name is None:
            return found
        if len(found) == MAX_QUEUES:
            raise InvalidFilter(_("These are in more than %d queues: name one.") % MAX_QUEUES)
        found.append(name)
        last = name


def joined(record: TaskRecord, limit: int) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """Those that it waits or waited for, and its dependents, oldest first."""
    alias = record._state.db or "default"
    found = []
    for related in (record.parents, record.dependents):
        rows = TaskRecord.objects.using(alias)
        chosen = related.using(alias).defer(*LARGE).order_by("id")[:limit]
        found.append(described(rows, list(chosen)))
    return found[0], found[1]


def children(parent: UUID, alias: str, limit: int) -> list[TaskRecord]:
    """What a task enqueued, oldest first. Index taskrecord_parent."""
    rows = TaskRecord.objects.using(alias).filter(parent_id=parent)
    return described(rows.all(), list(rows.defer(*LARGE).order_by("id")[:limit]))
