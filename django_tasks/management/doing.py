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
from django_tasks.bridge.deeds import NEEDED, Deed, Done
from django_tasks.broker import Broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import DEFAULT_ALIAS, task_settings
from django_tasks.errors import InvalidDeed, ResultNotFound
from django_tasks.management.looking import FAILED, filter_of, only_of
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
    wanted = filter_of(options)
    records: Any
    rowless: dict[str, str] = {}
    if options["ids"]:
        if wanted.to_query():
            raise InvalidDeed(f"{deed} of which? Give ids or a filter, not both.")
        records, rowless = _by_id(options["ids"], deed, options)
    elif not wanted.conditions():
        raise InvalidDeed(
            f"{deed} of which? Give ids, or a filter: --state failed --task send_invoice."
        )
    else:
        records = wanted.queryset()
        if options["backend"]:
            records = control.of_alias(records, options["backend"])
    counted = {"again": more["again"]} if "again" in more else {}
    seen = actions.preview(deed, records, **counted)
    seen.matched, seen.eligible = seen.matched + len(rowless), seen.eligible + len(rowless)
    if not options["json"]:
        can = f"{deed} can be done to {seen.eligible:,}"
        where = "" if options["ids"] else only_of(wanted)
        command.stdout.write(f"{seen.matched:,} match; {can}.{_left(seen.skipped)}{where}")
    if options["dry_run"]:
        if options["json"]:
            command.stdout.write(to_json(seen))
        return
    done = Done(deed, seen.matched, skipped=seen.skipped)
    if seen.eligible:
        if not options["ids"]:
            _ask(f"{deed} {seen.eligible:,} record{'s' * (seen.eligible > 1)}", options["yes"])
        with progress(seen.matched) as tell:
            function = getattr(actions, deed.value)
            done = function(records, by=person(), reason=options["reason"], tell=tell, **more)
        if rowless:
            is_hard = more.get("terminate", False)
            alias = options["backend"] or DEFAULT_ALIAS
            done += control.cancel_rowless(rowless, by=person(), terminate=is_hard, alias=alias)
    _tell(command, options, done)


def _by_id(
    texts: list[str], deed: Deed, options: dict[str, Any]
) -> tuple[list[TaskRecord], dict[str, str]]:
    """Records, and the queues of calls that have none, which can only be cancelled. Raises
    ``ResultNotFound`` if one is unknown: then nothing is done to the others."""
    keys = []
    for text in texts:
        try:
            keys.append(UUID(text))
        except ValueError:
            raise ResultNotFound(f"{text!r} is not the id of a record (a UUID).") from None
    found: dict[UUID, TaskRecord] = {}
    for database in registry.databases():
        rows = TaskRecord.objects.using(database).only(*NEEDED)
        found |= rows.in_bulk([key for key in keys if key not in found])
    others = [str(key) for key in dict.fromkeys(keys) if key not in found]
    rowless = {}
    if others and deed is Deed.CANCEL:
        rowless = control.find_rowless(others, options["backend"] or DEFAULT_ALIAS)
    unknown = [one for one in others if one not in rowless]
    if unknown:
        more = f" ({len(unknown) - 1:,} more are unknown)" if unknown[1:] else ""
        raise ResultNotFound(f"No record has the id {unknown[0]}{more}. Nothing was done.")
    return list(found.values()), rowless


def _ask(what: str, is_said: bool, word: str = "yes") -> None:
    """Raises ``CommandError`` if nobody says so. Asks on stderr: a program may read stdout."""
    if is_said:
        return
    if not sys.stdin.isatty():
        raise InvalidDeed(f"{what}? Nobody is there to ask. Add --yes, or look first: --dry-run.")
    try:
        sys.stderr.write(f"{what}? Type {word}: ")
        sys.stderr.flush()
        answer = input().strip()
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        answer = ""
    if answer != word:
        raise CommandError("Nothing was done.", returncode=FAILED)


def _tell(command: BaseCommand, options: dict[str, Any], done: Done) -> None:
    command.stdout.write(to_json(done) if options["json"] else f"{done}.")


def _left(skipped: Counter[str]) -> str:
    parts = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(skipped.items()))
    return f" Left as they are: {parts}." if parts else ""


def pause(command: BaseCommand, options: dict[str, Any]) -> None:
    queue, minutes = options["queue"], options["minutes"]
    if minutes is not None and not 0 < minutes < MOST_MINUTES:
        raise CommandError(f"--minutes {minutes:g} is not between 0 and a year.", returncode=FAILED)
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
    queue, alias = checked_queue(options["queue"]), options["backend"]
    seen = status(alias)
    if seen.away:
        raise CommandError(f"{seen.away[0]}. Nothing was done.", returncode=FAILED)
    line = next((one for one in seen.queues if one.queue == queue), None)
    in_broker = line.ready + line.scheduled + line.deferred if line is not None else 0
    # Some are not pushed yet, some have no row.
    in_rows = sum(control.waiting(queue, one, alias).count() for one in registry.databases())
    waiting = max(in_broker, in_rows)
    if not options["json"]:
        command.stdout.write(f"{waiting:,} wait in {queue}; their records stay, cancelled.")
    done = Done(Deed.CANCEL)
    if waiting:
        _ask(f"purge {queue}", options["yes"], queue)
        with progress(waiting) as tell:
            done = control.purge(
                queue, by=person(), reason=options["reason"], alias=alias, tell=tell
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
