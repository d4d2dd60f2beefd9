"""``manage.py tasks …``: see queues, workers and records, and do by hand; a subcommand each."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from django_tasks.broker import Broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import task_settings
from django_tasks.errors import ResultNotFound, TaskQueueError
from django_tasks.management.output import table, to_json
from django_tasks.ops.control import pause, resume
from django_tasks.ops.inspection import Inspection, inspect
from django_tasks.ops.status import Status, status
from django_tasks.ops.words import duration, inert
from django_tasks.worker.duties import rebuild_now

UNKNOWN, FAILED = 1, 2
WATCH = 1.0  # seconds between looks
MOST_MINUTES = 366 * 24 * 60


class Command(BaseCommand):
    # What is away is one line and exit code 2, not a list of checks and 1.
    requires_system_checks: list[str] = []
    help = "Look at queues, workers and records, and look after them by hand."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        queues = chosen.add_parser("queues", help="What every queue holds, and what is wrong.")
        queues.add_argument("--watch", action="store_true", help="Again each second, until Ctrl-C.")
        workers = chosen.add_parser("workers", help="The workers, and what each runs.")
        inspected = chosen.add_parser("inspect", help="What both stores hold about one record.")
        explained = chosen.add_parser("explain", help="Where a record is and why, in words.")
        for one in (inspected, explained):
            one.add_argument("id", help="Of the record.")
        pause = chosen.add_parser(
            "pause", help="Let nothing of a queue be taken; what runs goes on."
        )
        resume = chosen.add_parser("resume", help="Let a paused queue's messages be taken again.")
        for one in (pause, resume):
            one.add_argument("queue", help="Its name.")
        pause.add_argument("--reason", default="", help="Shown wherever the queue is looked at.")
        pause.add_argument(
            "--minutes", type=float, default=None, help="Resume by itself after that long."
        )
        rebuild = chosen.add_parser(
            "rebuild",
            help="Push every unfinished record that the broker does not know. Workers do this"
            " unasked after a loss; it may be repeated, and run beside them.",
        )
        rebuild.add_argument("--queue", default=None, help="One queue only (default: all).")
        for one in (queues, workers, inspected, explained, pause, resume, rebuild):
            one.add_argument("--json", action="store_true", help="Print JSON, for programs.")
            one.add_argument(
                "--backend", default="default", help="Alias of TASKS (default: default)."
            )

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        deeds: dict[str, Callable[[dict[str, Any]], None]] = {
            "queues": self._queues,
            "workers": self._workers,
            "inspect": self._inspect,
            "explain": self._explain,
            "pause": self._pause,
            "resume": self._resume,
            "rebuild": self._rebuild,
        }
        try:
            registry.discover([options["backend"]])
            deeds[subcommand](options)
        except ResultNotFound as error:
            raise CommandError(str(error), returncode=UNKNOWN) from error
        except TaskQueueError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except DatabaseError as error:
            line = " ".join(str(error).split())
            raise CommandError(f"The database does not serve: {line}", returncode=FAILED) from error

    # -- queues and workers ---------------------------------------------------------------------

    def _queues(self, options: dict[str, Any]) -> None:
        while True:
            seen = status(options["backend"])
            text = to_json(seen.queues) if options["json"] else _queue_table(seen)
            if not options["watch"]:
                self.stdout.write(text)
                break
            # Home, the page, and nothing below it.
            self.stdout.write(text if options["json"] else f"\x1b[H\x1b[2J{text}")
            self.stdout.flush()
            try:
                time.sleep(WATCH)
            except KeyboardInterrupt:
                return
        if not seen.broker:
            raise CommandError("The broker does not serve.", returncode=FAILED)

    def _workers(self, options: dict[str, Any]) -> None:
        seen = status(options["backend"])
        if options["json"]:
            self.stdout.write(to_json(seen.workers))
            return
        if not seen.workers:
            self.stdout.write("No worker. Start one: python manage.py runworker")
            return
        rows = []
        for worker in seen.workers:
            for child in worker.children:
                rows.append(
                    [
                        worker.name,
                        child.pid,
                        ", ".join(worker.queues),
                        child.memory // 1_000_000,
                        duration(worker.heard),
                        child.run.id if child.run else None,
                        duration(child.run.seconds if child.run else None),
                    ]
                )
        head = ("worker", "child", "queues", "MB", "heard", "runs", "for")
        self.stdout.write(table(head, rows))

    # -- one record -----------------------------------------------------------------------------

    def _inspect(self, options: dict[str, Any]) -> None:
        found = inspect(options["id"], options["backend"])
        self.stdout.write(to_json(found) if options["json"] else _inspection_text(found))

    def _explain(self, options: dict[str, Any]) -> None:
        found = inspect(options["id"], options["backend"])
        self.stdout.write(to_json(found.explain) if options["json"] else "\n".join(found.explain))

    # -- deeds ----------------------------------------------------------------------------------

    def _pause(self, options: dict[str, Any]) -> None:
        queue, minutes = options["queue"], options["minutes"]
        if minutes is not None and not 0 < minutes < MOST_MINUTES:
            raise CommandError(f"--minutes {minutes:g} is not between 0 and a year.")
        until = timezone.now() + timedelta(minutes=minutes) if minutes is not None else None
        is_new = pause(
            queue,
            by=_person(),
            reason=options["reason"],
            until=until,
            alias=options["backend"],
        )
        if options["json"]:
            self.stdout.write(to_json({"queue": queue, "paused": True, "changed": is_new}))
        else:
            self.stdout.write(f"{queue} is paused. Resume it: manage.py tasks resume {queue}")

    def _resume(self, options: dict[str, Any]) -> None:
        queue = options["queue"]
        resumed = resume(queue, by=_person(), alias=options["backend"])
        if options["json"]:
            self.stdout.write(to_json({"queue": queue, "paused": False, "changed": resumed}))
        else:
            self.stdout.write(f"{queue} is resumed." if resumed else f"{queue} was not paused.")

    def _rebuild(self, options: dict[str, Any]) -> None:
        alias, queue = options["backend"], options["queue"]
        queue = checked_queue(queue) if queue is not None else None
        broker = Broker(task_settings(alias))
        try:
            broker.ping()  # also where there is nothing to look at
            counts = rebuild_now(broker, [alias], queue)
        finally:
            broker.close()
        if options["json"]:
            self.stdout.write(to_json({"looked_at": counts.looked_at, "pushed": counts.pushed}))
        else:
            self.stdout.write(
                f"Looked at {counts.looked_at} unfinished records; pushed {counts.pushed} that the"
                " broker did not know."
            )


def _person() -> str:
    """Who gives the command, by the name that the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"


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
    parts = [table(head, rows) if rows else "No queue yet. Enqueue something: my_task.enqueue()"]
    parts += [f"{one.text} {one.cure}".rstrip() for one in seen.alarms]
    return "\n".join(parts)


def _inspection_text(found: Inspection) -> str:
    parts = [found.id, *found.explain, ""]
    names = [*(found.row or {})]
    parts += [f"  {name:15} {inert((found.row or {})[name])}"[:300] for name in names]
    parts += ["", "The broker's message:" if found.broker else "The broker does not know it."]
    parts += [
        f"  {inert(name):15} {inert(text)}"[:300] for name, text in (found.broker or {}).items()
    ]
    if found.keys:
        parts += ["", "Keys:", *(f"  {one.key}  {one.kind}  {one.value}" for one in found.keys)]
    if found.position is not None:
        parts.append(f"Position in line: {found.position}")
    if found.lease is not None:
        parts.append(f"The lease of its holder ends in {duration(max(found.lease, 0.0))}")
    if found.ttl is not None:
        parts.append(f"The message leaves in {duration(found.ttl)}")
    for one in found.differences:
        parts.append(f"Differs: {one.name} is {one.row} in the row, {one.broker} in the broker")
    return "\n".join(parts)
