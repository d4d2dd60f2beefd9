"""The nodes of a chain, group, chord or graph → drafts with edges → rows, a push, results.

All rows and edges are written in the caller's transaction, and pushed at its commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_tasks.calls.canvas import Earlier, Leaf, Node, Values, leaves
from django_tasks.calls.group_result import GroupResult
from django_tasks.errors import InvalidWorkflow
from django_tasks.framework import task_enqueued
from django_tasks.states import Recording

if TYPE_CHECKING:
    from django_tasks.bridge.outbox import Draft

MAX_NAME = 200  # characters: the width of Workflow.name


def enqueue(backend: Any, nodes: list[Node], shape: Values, kind: str, name: str) -> Any:
    """The result of ``shape``: the one whose value is the whole's, or those of a group. Raises
    ``InvalidWorkflow``, and what the enqueue of each call raises; then nothing was written."""
    from django_tasks.bridge import workflows
    from django_tasks.models import Workflow

    drafts = lay_down(backend, nodes)
    is_alone = len(drafts) == 1 and kind == Workflow.Kind.GRAPH  # it only waits for others
    workflow = None if is_alone else Workflow(kind=kind, name=checked_name(name))
    with workflows.written(workflow, drafts):
        write(backend, [node.signature.task for node in nodes], drafts)
    return result_of(shape, nodes, drafts, backend, "" if workflow is None else str(workflow.id))


def write(backend: Any, tasks: Sequence[Any], drafts: Sequence[Draft]) -> None:
    """Their rows now, a push at the commit."""
    from django_tasks.bridge import outbox

    if task_enqueued.receivers:  # who hears of each as a result
        backend.enqueue_drafts(list(zip(tasks, drafts, strict=True)))
    else:
        outbox.enqueue(drafts)


def checked_name(name: Any) -> str:
    """A workflow's. Raises ``InvalidWorkflow``."""
    if not isinstance(name, str) or len(name) > MAX_NAME or "\0" in name:
        raise InvalidWorkflow(
            f"The workflow's name is {name!r:.300}; it must be text of at most {MAX_NAME}"
            " characters."
        )
    return name


def lay_down(
    backend: Any,
    nodes: Sequence[Node],
    ids: Iterator[UUID] | None = None,
) -> list[Draft]:
    """Drafts with their edges, in order; nothing is written. ``ids``: theirs, if not new ones."""
    drafts = [node.signature.draft(_arguments_before(node)) for node in nodes]
    if ids is not None:
        for draft in drafts:
            draft.record.id = next(ids)
    for task in {id(node.signature.task): node.signature.task for node in nodes}.values():
        if task.backend == backend.alias:
            backend.validate_task(task)
    _require_rows(nodes, drafts)
    of_node = {id(node): draft for node, draft in zip(nodes, drafts, strict=True)}
    for node, draft in zip(nodes, drafts, strict=True):
        _join(node, draft, of_node)
    return drafts


def _join(node: Node, draft: Draft, of_node: dict[int, Draft]) -> None:
    from django_tasks.bridge import workflows

    places: dict[Any, int] = {}  # of those whose values it gets
    if node.is_told:
        for parent, _ in node.parents:
            places.setdefault(_key(parent), len(places))
        draft.record.metadata["inputs"] = f"error:{len(places)}"
    elif node.shape is not None:
        for parent in leaves(node.shape):
            places.setdefault(_key(parent), len(places))
        draft.record.metadata["inputs"] = _inputs(node.shape, places)
    policies: dict[Any, str] = {}
    for parent, policy in node.parents:
        key = _key(parent)
        if policies.setdefault(key, policy) != policy:
            raise InvalidWorkflow(
                f"{draft.record} waits for one and the same call by two policies,"
                f" {policies[key]!r} and {policy!r}."
            )
    for parent in {_key(parent): parent for parent, _ in node.parents}.values():
        if isinstance(parent, Node):
            record = of_node[id(parent)].record
            found = (record.id, record.queue_name)
        else:
            found = (parent.id, parent.queue)
        workflows.join(draft, *found, policies[_key(parent)], places.get(_key(parent)))


def _key(leaf: Leaf) -> Any:
    return id(leaf) if isinstance(leaf, Node) else leaf.id


def _arguments_before(node: Node) -> int:
    """How many of what it waits for stand before its own."""
    return 3 if node.is_told else 0 if node.shape is None else 1


def _inputs(shape: Values, places: dict[Any, int]) -> str:
    """As worker/inputs.py reads it: the argument, with the parents' positions in it."""
    if not isinstance(shape, list):
        return "values:1"
    if len(places) == len(shape) and not any(isinstance(part, list) for part in shape):
        return f"list:{len(shape)}"

    def placed(part: Values) -> Any:
        return [placed(one) for one in part] if isinstance(part, list) else places[_key(part)]

    return f"shape:{len(places)}:{json.dumps(placed(shape), separators=(',', ':'))}"


def result_of(
    shape: Values, nodes: Sequence[Node], drafts: Sequence[Draft], backend: Any, workflow_id: str
) -> Any:
    """The result of a shape: one, or those of a group in its order."""
    found = {id(node): draft for node, draft in zip(nodes, drafts, strict=True)}

    def made(part: Values) -> Any:
        if isinstance(part, list):
            return GroupResult(workflow_id, [made(one) for one in part])
        assert isinstance(part, Node)
        return backend.result_of(part.signature.task, found[id(part)])

    return made(shape)


def require_no_cycle(drafts: Sequence[Draft]) -> None:
    """Raises ``InvalidWorkflow`` if some wait for each other in a ring, and names it."""
    records = {draft.record.id: draft.record for draft in drafts}
    waits = {
        draft.record.id: {edge.parent for edge in draft.edges if edge.parent in records}
        for draft in drafts
    }
    dependents: dict[UUID, list[UUID]] = {}
    for child, parents in waits.items():
        for parent in parents:
            dependents.setdefault(parent, []).append(child)
    free = [child for child, parents in waits.items() if not parents]
    while free:
        ended = free.pop()
        for child in dependents.get(ended, ()):
            waits[child].discard(ended)
            if not waits[child]:
                free.append(child)
    stuck = {child: parents for child, parents in waits.items() if parents}
    if not stuck:
        return
    ring = [min(stuck)]
    while ring[-1] not in ring[:-1]:
        ring.append(min(stuck[ring[-1]]))
    ring = ring[ring.index(ring[-1]) :][::-1]
    raise InvalidWorkflow(
        "These calls would wait for each other in a ring: "
        + " → ".join(f"{records[one].description} ({one})" for one in ring)
        + ". Leave one of these edges out."
    )


def require_one_home(aliases: set[str], databases: set[str]) -> None:
    """Raises ``InvalidWorkflow``: what waits for each other is known to one broker, in one
    database."""
    for said, found in (("aliases of TASKS", aliases), ("databases", databases)):
        if len(found) > 1:
            raise InvalidWorkflow(
                f"The calls go to several {said} ({', '.join(sorted(found))}). What waits for each"
                " other must be in one."
            )


def _require_rows(nodes: Sequence[Node], drafts: Sequence[Draft]) -> None:
    aliases = {draft.alias for draft in drafts}
    databases = {draft.database for draft in drafts}
    for parent in (parent for node in nodes for parent, _ in node.parents):
        if isinstance(parent, Earlier):
            if not parent.database:
                raise InvalidWorkflow(
                    f"The call {parent.id} has record='never', and what others wait for needs a"
                    " row. Enqueue it by .using(record='first')."
                )
            aliases.add(parent.alias)
            databases.add(parent.database)
    require_one_home(aliases, databases)
    for draft in drafts:
        if draft.recording != Recording.FIRST:
            raise InvalidWorkflow(
                f"{draft.record.task_name} has record={draft.recording!r}: what others wait for, or"
                " waits for others, needs its row first. Use .using(record='first')."
            )
