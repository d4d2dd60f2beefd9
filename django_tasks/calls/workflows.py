"""The nodes of a chain, group, chord or graph → drafts with edges → rows, a push, results.

All rows and edges are written in the caller's transaction, and pushed at its commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_tasks.calls.canvas import Earlier, Node, Shape, leaves
from django_tasks.calls.result import GroupResult, TaskResult
from django_tasks.errors import InvalidWorkflow
from django_tasks.states import Recording

if TYPE_CHECKING:
    from django_tasks.bridge.outbox import Draft


def enqueue(backend: Any, nodes: list[Node], shape: Shape, kind: str, name: str) -> Any:
    """The result of ``shape``: the one whose value is the whole's, or those of a group. Raises
    ``InvalidWorkflow``, and what the enqueue of each call raises; then nothing was written."""
    from django_tasks.bridge import workflows

    drafts = {id(node): node.signature.draft(_arguments_before(node)) for node in nodes}
    for task in {id(node.signature.task): node.signature.task for node in nodes}.values():
        if task.backend == backend.alias:
            backend.validate_task(task)
    _require_one_home(nodes, list(drafts.values()))
    for node in nodes:
        draft = drafts[id(node)]
        gives = [id(parent) for parent in leaves(node.shape)] if node.shape is not None else []
        if node.is_told:
            gives = [id(parent) for parent, _ in node.parents if isinstance(parent, Node)]
            draft.record.metadata["inputs"] = f"error:{len(gives)}"
        elif node.shape is not None:
            draft.record.metadata["inputs"] = _inputs(node.shape, gives)
        places = {key: place for place, key in enumerate(gives)}
        for parent, policy in node.parents:
            if isinstance(parent, Node):
                record = drafts[id(parent)].record
                found = (record.id, record.queue_name)
            else:
                found = (parent.id, parent.queue)
            workflows.join(draft, *found, policy, places.get(id(parent)))
    with workflows.written(kind, name, list(drafts.values())) as workflow_id:
        made = backend.enqueue_drafts([(node.signature.task, drafts[id(node)]) for node in nodes])
    results = {id(node): result for node, result in zip(nodes, made, strict=True)}
    return _result(shape, results, workflow_id)


def _arguments_before(node: Node) -> int:
    """How many of what it waits for stand before its own."""
    return 3 if node.is_told else 0 if node.shape is None else 1


def _inputs(shape: Shape, gives: list[int]) -> str:
    """As worker/inputs.py reads it: the argument, with the parents' positions in it."""
    if isinstance(shape, Node):
        return "values:1"
    if all(isinstance(part, Node) for part in shape):
        return f"list:{len(shape)}"

    places = {key: place for place, key in enumerate(gives)}

    def placed(part: Shape) -> Any:
        return places[id(part)] if isinstance(part, Node) else [placed(one) for one in part]

    return f"shape:{len(places)}:{json.dumps(placed(shape), separators=(',', ':'))}"


def _result(shape: Shape, results: dict[int, TaskResult], workflow_id: UUID) -> Any:
    if isinstance(shape, Node):
        return results[id(shape)]
    return GroupResult(str(workflow_id), [_result(part, results, workflow_id) for part in shape])


def _require_one_home(nodes: Sequence[Node], drafts: Sequence[Draft]) -> None:
    earlier = {
        parent.database or "(none: record='never')"
        for node in nodes
        for parent, _ in node.parents
        if isinstance(parent, Earlier)
    }
    for said, found in (
        ("aliases of TASKS", {draft.alias for draft in drafts}),
        ("databases", {draft.database for draft in drafts} | earlier),
    ):
        if len(found) > 1:
            raise InvalidWorkflow(
                f"The calls go to several {said} ({', '.join(sorted(found))}). What waits for each"
                " other must be in one."
            )
    for draft in drafts:
        if draft.recording != Recording.FIRST:
            raise InvalidWorkflow(
                f"{draft.record.task_name} has record={draft.recording!r}: what others wait for, or"
                " waits for others, needs its row first. Use .using(record='first')."
            )
