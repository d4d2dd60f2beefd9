"""The subcommands that do: retry, cancel, pause, resume, purge, rebuild. One call each, and what
came of it in words."""

from __future__ import annotations

import getpass
import sys
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from django_tasks.bridge import actions
from django_tasks.bridge.databases import read_record
from django_tasks.bridge.deeds import Deed, Done
from django_tasks.broker import Broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import task_settings
from django_tasks.errors import InvalidDeed, ResultNotFound
from django_tasks.management.looking import filter_of
from django_tasks.management.output import progress, to_json
from django_tasks.models import TaskRecord
from django_tasks.ops import control
from django_tasks.ops.status import status
from django_tasks.worker.duties import rebuild_now

MOST_MINUTES = 366 * 24 * 60


def retry(command: BaseCommand, options: dict[str, Any]) -> None:
    _carry_out(command, options, Deed.RETRY, again=options["again"])


def cancel(command: BaseCommand, options: dict[str, Any]) -> None:
    _carry_out(command, options, Deed.CANCEL, terminate=options["terminate"])


def _carry_out(command: BaseCommand, options: dict[str, Any], deed: Deed, **more: bool) -> None:
    """Ids are done at once; all that match a filter after a look at how many, and a yes."""
    records: Any = [_record(text) for text in options["ids"]]
    if not records:
        wanted = filter_of(options)
        if not wanted.to_query().keys() - {"order", "database"}:
            raise InvalidDeed(
                f"{deed} of which? Give ids, or a filter: --state failed --task send_invoice."
            )
        records = wanted.queryset()
    counted = {"again": more["again"]} if "again" in more else {}
    seen = actions.preview(deed, records, **counted)
    left = _left(seen.skipped)
    if not options["json"]:
        can = f"{deed} can be done to {seen.eligible:,}"
        command.stdout.write(f"{seen.matched:,} match; {can}.{left}")
    if options["dry_run"]:
        if options["json"]:
            command.stdout.write(to_json(seen))
        return
    if not options["ids"]:
        _ask(f"{deed.value} {seen.eligible:,} records", options["yes"])
    with progress(seen.matched) as tell:
        function = getattr(actions, deed.value)
        done: Done = function(records, by=person(), reason=options["reason"], tell=tell, **more)
    _tell(command, options, done)


def _record(text: str) -> TaskRecord:
    try:
        key = UUID(text)
    except ValueError:
        raise ResultNotFound(f"{text!r} is not the id of a record (a UUID).") from None
    for database in registry.databases():
        record = read_record(key, database)
        if record is not None:
            return record
    raise ResultNotFound(f"No record has the id {key}.")


def _ask(what: str, is_said: bool, word: str = "yes") -> None:
    if is_said:
        return
    if not sys.stdin.isatty():
        raise InvalidDeed(f"{what}? Nobody is there to ask. Add --yes, or look first: --dry-run.")
    if input(f"{what}? Type {word}: ").strip() != word:
        raise CommandError("Nothing was done.")


def _tell(command: BaseCommand, options: dict[str, Any], done: Done) -> None:
    command.stdout.write(to_json(done) if options["json"] else f"{done}.")


def _left(skipped: Counter[str]) -> str:
    parts = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(skipped.items()))
    return f" Left as they are: {parts}." if parts else ""


def pause(command: BaseCommand, options: dict[str, Any]) -> None:
    queue, minutes = options["queue"], options["minutes"]
    if minutes is not None and not 0 < minutes < MOST_MINUTES:
        raise CommandError(f"--minutes {minutes:g} is not between 0 and a year.")
    until = timezone.now() + timedelta(minutes=minutes) if minutes is not None else None
    is_new = control.pause(
        queue, by=person(), reason=options["reason"], until=until, alias=options["backend"]
    )
    if options["json"]:
        command.stdout.write(to_json({"queue": queue, "paused": True, "changed": is_new}))
    else:
        command.stdout.write(f"{queue} is paused. Resume it: manage.py tasks resume {queue}")


def resume(command: BaseCommand, options: dict[str, Any]) -> None:
    queue = options["queue"]
    resumed = control.resume(queue, by=person(), alias=options["backend"])
    if options["json"]:
        command.stdout.write(to_json({"queue": queue, "paused": False, "changed": resumed}))
    else:
        command.stdout.write(f"{queue} is resumed." if resumed else f"{queue} was not paused.")


def purge(command: BaseCommand, options: dict[str, Any]) -> None:
    queue = checked_queue(options["queue"])
    found = status(options["backend"]).queues
    line = next((one for one in found if one.queue == queue), None)
    waiting = line.ready + line.scheduled + line.deferred if line is not None else 0
    if not options["json"]:
        command.stdout.write(f"{waiting:,} wait in {queue}; their records stay, cancelled.")
    _ask(f"purge {queue}", options["yes"], queue)
    with progress(waiting) as tell:
        done = control.purge(
            queue, by=person(), reason=options["reason"], alias=options["backend"], tell=tell
        )
    _tell(command, options, done)


def rebuild(command: BaseCommand, options: dict[str, Any]) -> None:
    alias, queue = options["backend"], options["queue"]
    queue = checked_queue(queue) if queue is not None else None
    broker = Broker(task_settings(alias))
    try:
        broker.ping()  # also where there is nothing to look at
        counts = rebuild_now(broker, [alias], queue)
    finally:
        broker.close()
    if options["json"]:
        command.stdout.write(to_json({"looked_at": counts.looked_at, "pushed": counts.pushed}))
    else:
        command.stdout.write(
            f"Looked at {counts.looked_at} unfinished records; pushed {counts.pushed} that the"
            " broker did not know."
        )


def person() -> str:
    """Who gives the command, by the name that the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"
