"""Which index serves a filter: its lanes, each of them in the order of ids.

All lanes of a filter together hold all that match; what else they hold has to be looked at. On
databases without indexes that have a condition (MySQL) the same indexes hold all rows."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections
from django.db.models import Q

from django_tasks.ops.filters import FAILED_KINDS, UNFINISHED, RecordFilter, read_id
from django_tasks.states import State


def needs_queues(wanted: RecordFilter) -> bool:
    """Whether its index begins with a queue's name, and it names none."""
    return not wanted.queue and _index(wanted) in ("unfinished", "dead")


def lanes(wanted: RecordFilter, queues: Sequence[str]) -> list[Q]:
    """``queues``: those to walk where ``needs_queues``."""
    walked = [wanted.queue] if wanted.queue else queues
    match _index(wanted):
        case "id":
            return [Q(id=wanted.searched[1])]
        case "parent":
            return [Q(parent_id=read_id(wanted.parent))]
        case "workflow":  # taskrecord_workflow, which goes by states, and in each by ids
            members = Q(workflow=read_id(wanted.workflow))
            return [members & Q(status=state) for state in sorted(wanted.states or State.values)]
        case "dead":  # taskrecord_dead
            dead = Q(status=State.FAILED) & ~Q(dead_letter="")
            return [dead & Q(queue_name=name) for name in walked]
        case "status":  # taskrecord_failed; its condition for SQLite, which compares words
            known = Q() if _is_whole(wanted) else Q(status__in=FAILED_KINDS)
            return [known & Q(status=state) for state in sorted(wanted.states)]
        case "pending":  # taskrecord_pending
            return [Q(status=State.PENDING)]
        case "unfinished":  # taskrecord_unfinished
            return [Q(status__in=UNFINISHED, queue_name=name) for name in walked]
        case "task":  # taskrecord_task
            return [Q(task_name=name) for name in wanted.tasks]
        case "queue":  # taskrecord_unfinished, where it holds all rows
            return [Q(queue_name=wanted.queue)]
    return [Q()]  # the primary key


def is_all(wanted: RecordFilter) -> bool:
    """Whether the lanes hold nothing else: then no row has to be looked at to find out."""
    kind, _sought = wanted.searched
    asked = {
        "id": kind == "id",
        "parent": bool(wanted.parent),
        "workflow": bool(wanted.workflow),
        "dead": wanted.is_dead,
        "status": bool(wanted.states),
        "task": bool(wanted.task) or kind == "task",
        "queue": bool(wanted.queue),
    }
    index = _index(wanted)
    served = {"dead": {"dead", "status", "queue"}, "pending": {"status"}}.get(index, {index})
    if index == "workflow":
        served = {"workflow", "status"}
    if index == "unfinished":
        served = {"queue", "status"} if wanted.states == set(UNFINISHED) else {"queue"}
    beside = {name for name, is_asked in asked.items() if is_asked} - served
    return not beside and not wanted.beside_indexes()


def _is_whole(wanted: RecordFilter) -> bool:
    return not connections[wanted.alias].features.supports_partial_indexes


def _index(wanted: RecordFilter) -> str:
    states = wanted.states
    if wanted.searched[0] == "id":
        return "id"
    if wanted.parent:
        return "parent"
    if wanted.workflow:
        return "workflow"
    if states and _is_whole(wanted):
        return "status"
    if wanted.is_dead and states == {State.FAILED}:
        return "dead"
    if states and states <= set(FAILED_KINDS):
        return "status"
    if states == {State.PENDING}:
        return "pending"
    if states and states <= set(UNFINISHED):
        return "unfinished"
    if wanted.task or wanted.searched[0] == "task":
        return "task"
    return "queue" if wanted.queue and _is_whole(wanted) else ""
