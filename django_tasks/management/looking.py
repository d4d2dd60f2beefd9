"""The subcommands that look: queues, workers, records, inspect, explain. They only print."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_tasks.calls import registry
from django_tasks.errors import InvalidFilter
from django_tasks.management.output import table, to_json
from django_tasks.models import TaskRecord
from django_tasks.ops import timeline
from django_tasks.ops.filters import RecordFilter
from django_tasks.ops.inspection import Inspection, description_of, inspect
from django_tasks.ops.records import search
from django_tasks.ops.status import Status, status
from django_tasks.ops.words import duration, inert

FAILED = 2  # the exit code where a store does not serve
WATCH = 1.0  # seconds between looks
MOST = 1000  # records of one page

FILTERS = {
    "state": "States or groups of them (waiting, unfinished, final), with commas.",
    "task": "Its name, or the last part of it.",
    "queue": "Its name.",
    "worker": "How its name begins.",
    "error": "Class of the error, or the last part of it.",
    "release": "That enqueued it.",
    "since": "Created since: 2026-11-26, 14:00, today, 3h …",
    "until": "Created until.",
    "finished": "Finished since.",
    "longer": "Runs or waits for more than: 5m, 2h …",
    "dead": "1: dead letters only.",
    "parent": "Id of the record whose task enqueued it.",
    "workflow": "Id of the workflow it is in.",
    "order": "newest (default) or oldest first.",
    "database": "Alias, where several hold records.",
}


def add_filters(parser: ArgumentParser) -> None:
    """The words of a ``RecordFilter``, one option each."""
    for name, text in FILTERS.items():
        parser.add_argument(f"--{name}", help=text)


def filter_of(options: dict[str, Any]) -> RecordFilter:
    """Raises ``InvalidFilter``, also for an option that is given and empty: in a script that is a
    variable that is not set, and must not mean: all."""
    names = [one.name for one in fields(RecordFilter)]
    given = {name: options[name] for name in names if options.get(name) is not None}
    for name, value in given.items():
        if not str(value).strip():
            raise InvalidFilter(f"--{name} is empty. Leave it out to mean any.")
    return RecordFilter.parse(given)


def only_of(wanted: RecordFilter) -> str:
    """Which database was looked at, where several hold records and none was named."""
    others = [one for one in registry.databases() if one != wanted.alias]
    if wanted.database or not others:
        return ""
    return f" Only those in {wanted.alias} (--database {' | '.join(others)}: the others)."


def queues(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["watch"]:
        try:
            while True:
                seen = status(options["backend"])
                # Home, the page, and nothing below it; for programs a line a look.
                page = f"\x1b[H\x1b[2J{_queue_table(seen)}"
                told = to_json(seen.queues, is_one_line=True) if options["json"] else page
                command.stdout.write(told)
                command.stdout.flush()
                time.sleep(WATCH)
        except KeyboardInterrupt:
            return
    seen = status(options["backend"])
    command.stdout.write(to_json(seen.queues) if options["json"] else _queue_table(seen))
    _require(seen.away)


def _require(away: list[str]) -> None:
    """What is known was printed all the same."""
    if away:
        raise CommandError(inert(" ".join(away)), returncode=FAILED)


def workers(command: BaseCommand, options: dict[str, Any]) -> None:
    seen = status(options["backend"])
    if options["json"]:
        command.stdout.write(to_json(seen.workers))
    if not seen.broker:
        _require(seen.away)  # of workers only the broker knows
    if options["json"]:
        return
    if not seen.workers:
        command.stdout.write("No worker. Start one: python manage.py runworker")
        return
    rows = [
        [
            worker.name,
            child.pid,
            ", ".join(worker.queues),
            child.memory // 1_000_000,
            duration(worker.heard),
            child.run.id if child.run else None,
            duration(child.run.seconds if child.run else None),
        ]
        for worker in seen.workers
        for child in worker.children
    ]
    head = ("worker", "child", "queues", "MB", "heard", "runs", "for")
    command.stdout.write(table(head, rows))


def records(command: BaseCommand, options: dict[str, Any]) -> None:
    before = options["before"]
    try:
        edge = UUID(before) if before else None
    except ValueError:
        raise InvalidFilter(f"--before {before!r} is not the id of a record (a UUID).") from None
    if not 1 <= options["limit"] <= MOST:
        raise InvalidFilter(f"--limit must be from 1 to {MOST:,}; go on with --before.")
    wanted = filter_of(options)
    page = search(
        wanted,
        before=None if wanted.is_oldest_first else edge,
        after=edge if wanted.is_oldest_first else None,
        limit=options["limit"],
    )
    now = timezone.now()
    onward = page.newer if wanted.is_oldest_first else page.older
    if options["json"]:
        told = [_brief(record, now) for record in page.rows]
        command.stdout.write(
            to_json({"records": told, "next": onward, "looked_to": page.looked_to})
        )
        return
    rows = [
        [
            str(record.id),
            record.status,
            inert(description_of(record), 60),
            record.queue_name,
            record.priority,
            f"{record.attempt}/{record.max_attempts}",
            duration(timeline.waited(record, now)),
            duration(timeline.took(record, now)),
            record.worker_id or None,
        ]
        for record in page.rows
    ]
    head = ("id", "state", "task", "queue", "priority", "attempt", "waited", "took", "worker")
    command.stdout.write(table(head, rows) if rows else "No record matches.")
    if page.looked_to is not None:
        command.stdout.write(f"Looked as far as {page.looked_to:%Y-%m-%d %H:%M:%S} only.")
    if onward is not None:
        command.stdout.write(f"More: --before {onward}")
    if only_of(wanted):
        command.stdout.write(only_of(wanted).strip())


def _brief(record: TaskRecord, now: datetime) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.status,
        "task": record.task_name,
        "description": description_of(record),
        "queue": record.queue_name,
        "priority": record.priority,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "created_at": record.created_at,
        "waited_seconds": timeline.waited(record, now),
        "took_seconds": timeline.took(record, now),
        "worker": record.worker_id,
        "error_class": record.error_class,
        "dead_letter": record.dead_letter,
    }


def inspected(command: BaseCommand, options: dict[str, Any]) -> None:
    found = inspect(options["id"], options["backend"])
    command.stdout.write(to_json(found) if options["json"] else _inspection_text(found))
    _require(found.away)


def explained(command: BaseCommand, options: dict[str, Any]) -> None:
    found = inspect(options["id"], options["backend"])
    lines = [inert(sentence) for sentence in found.explain]
    command.stdout.write(to_json(found.explain) if options["json"] else "\n".join(lines))
    _require(found.away)


def _queue_table(seen: Status) -> str:
    rows = [
        [
            line.queue + (" (paused)" if line.paused else ""),
            line.ready,
            line.unacked,
            line.scheduled,
            line.deferred,
            line.dead,
            line.total,
            line.incoming,
            line.outgoing,
            duration(line.oldest_waiting_seconds),
            line.consumers,
        ]
        for line in seen.queues
    ]
    head = (
        *("queue", "ready", "unacked", "scheduled", "deferred", "dead", "total"),
        *("in/s", "out/s", "oldest", "consumers"),
    )
    parts = [table(head, rows)] if rows else []
    if not rows and not seen.away:
        parts = ["No queue yet. Enqueue something: my_task.enqueue()"]
    parts += [inert(f"{one.text} {one.cure}".rstrip()) for one in seen.alarms]
    return "\n".join(parts)


def _progress_lines(found: Inspection) -> list[str]:
    told = found.report
    if told is None:
        return []
    place = "" if told.done is None else f"{told.done:,g}"
    place += "" if told.total is None else f" of {told.total:,g}"
    place += "" if told.fraction is None else f" ({told.fraction:.0%})"
    head = [f"Progress: {place} {inert(told.text)}".rstrip()] if place else []
    return head + [f"  {line.at:%H:%M:%S} {inert(line.text)}" for line in told.log]


def _inspection_text(found: Inspection) -> str:
    explained = [inert(sentence) for sentence in found.explain]
    parts = [found.id, *explained, *_progress_lines(found), ""]
    names = [*(found.row or {})]
    parts += [f"  {name:15} {inert((found.row or {})[name])}"[:300] for name in names]
    parts += ["", "The broker's message:" if found.broker else "The broker does not know it."]
    parts += [
        f"  {inert(name):15} {inert(text)}"[:300] for name, text in (found.broker or {}).items()
    ]
    if found.keys:
        keys = [inert(f"  {one.key}  {one.kind}  {one.value}") for one in found.keys]
        parts += ["", "Keys:", *keys]
    if found.position is not None:
        parts.append(f"Position in line: {found.position}")
    if found.lease is not None:
        parts.append(f"The lease of its holder ends in {duration(max(found.lease, 0.0))}")
    if found.ttl is not None:
        parts.append(f"The message leaves in {duration(found.ttl)}")
    for one in found.differences:
        text = f"Differs: {one.name} is {one.row} in the row, {one.broker} in the broker"
        parts.append(inert(text))
    return "\n".join(parts)
