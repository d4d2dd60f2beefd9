"""What a workflow's page shows: how far it is, what failed first, its graph, its members.

All of it may change while it runs, so all of it is one part that renews itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.http import urlencode
from django.utils.translation import gettext as _

from django_tasks.admin.charts import badge, shares
from django_tasks.admin.graph import draw, label_of, said_of
from django_tasks.errors import InvalidFilter
from django_tasks.models import TaskRecord
from django_tasks.models.workflow import Counts
from django_tasks.ops import workflows
from django_tasks.ops.filters import read_id
from django_tasks.ops.folding import Box, Node, fold
from django_tasks.ops.inspection import description_of
from django_tasks.ops.records import Page
from django_tasks.ops.words import inert
from django_tasks.ops.workflows import Graph, Overview
from django_tasks.states import State

MOST_WAITS = 3  # named in a row of the table
ASKED = ("state", "task", "after")  # which members the table shows
# Members → seconds between two looks at what runs.
SECONDS = ((1_000, 2), (5_000, 5))
SELDOM = 15

Address = Callable[[Any], str]  # the page of a record's id


def shown(seen: Overview, asked: Mapping[str, str], record_url: Address) -> dict[str, Any]:
    """The context of the part that renews itself."""
    graph = workflows.graph(seen)
    counts = seen.counts
    folded = fold(graph.nodes, graph.links)
    page, refused = _members(seen, asked)
    waits = graph.waits(*(one.pk for one in page.rows))
    return {
        "seen": seen,
        "badge": badge(counts.status),
        "progress": progress_of(counts),
        "bar": shares(counts.by_state, told(counts)) if counts.total else "",
        "states": [
            {
                "badge": badge(state),
                "name": state.label,
                "count": counts.by_state[state],
                "state": state.value,
                "url": _query(asked, state=state.value, after=""),
            }
            for state in State
            if counts.by_state.get(state)
        ],
        "error": _error(seen.first_error),
        "graph": graph,
        "folded": folded,
        "picture": draw(folded, lambda box: _address(box, record_url)),
        "rows": [_row(one, graph, waits[one.pk]) for one in page.rows],
        "more": _query(asked, after=str(page.newer)) if page.newer else "",
        "refused": refused,
        "asked": {name: inert(value, 200) for name, value in asked.items()},
        "all_url": _query(asked, state="", after=""),
        "list_query": urlencode(
            {"workflow": str(seen.workflow.pk), **{k: v for k, v in asked.items() if k != "after"}}
        ),
    }


def seconds_of(counts: Counts) -> int:
    """How often it is looked at: a large one costs more."""
    return next((seconds for most, seconds in SECONDS if counts.total <= most), SELDOM)


def asked_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Of an address' parameters those of the table."""
    return {name: str(given[name])[:500] for name in ASKED if given.get(name)}


def progress_of(counts: Counts) -> str:
    """``12 of 30 done``."""
    return _("%(done)s of %(total)s done") % {
        "done": f"{counts.done:,}",
        "total": f"{counts.total:,}",
    }


def told(counts: Counts) -> str:
    """The same, with how many are in each state."""
    said = said_of(counts.by_state)
    return f"{progress_of(counts)}: {said}" if said else progress_of(counts)


def _members(seen: Overview, asked: Mapping[str, str]) -> tuple[Page, str]:
    try:
        after = read_id(asked["after"]) if "after" in asked else None
        wanted = {name: asked.get(name, "") for name in ("state", "task")}
        return workflows.members(seen, after=after, **wanted), ""
    except InvalidFilter as error:
        return Page(), str(error)


def _error(record: TaskRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    said = (record.error_message or "").strip().split("\n", 1)[0]
    line = ": ".join(filter(None, (inert(record.error_class, 200), inert(said, 500))))
    return {
        "id": record.pk,
        "call": inert(description_of(record), 200),
        "line": line or inert(record.dead_letter, 500),
        "at": record.finished_at,
        "badge": badge(record.status),
    }


def _address(box: Box, record_url: Address) -> str:
    if len(box.nodes) == 1:
        return record_url(box.nodes[0].id)
    tasks = box.tasks
    return (_query({}, task=tasks[0]) if len(tasks) == 1 else "") + "#uncut-members"


def _query(asked: Mapping[str, str], **given: str) -> str:
    query = {name: value for name, value in {**asked, **given}.items() if value}
    return f"?{urlencode(query)}"


def _row(record: TaskRecord, graph: Graph, waits: Sequence[tuple[Node, str]]) -> dict[str, Any]:
    place = graph.places.get(record.pk.hex)
    return {
        "id": record.pk,
        "number": None if place is None else graph.nodes[place].number,
        "badge": badge(record.status),
        "call": inert(description_of(record), 200),
        "task": inert(record.task_name, 200),
        "waits": [_wait(parent, policy) for parent, policy in waits[:MOST_WAITS]],
        "more_waits": max(len(waits) - MOST_WAITS, 0),
    }


def _wait(parent: Node, policy: str) -> dict[str, Any]:
    name = inert(parent.task, 100).rpartition(".")[2]
    return {
        "id": parent.id,
        "name": f"{parent.number} {name}" if parent.number else name,
        "label": label_of([policy]),
    }
