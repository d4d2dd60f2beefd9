"""``manage.py tasks …``: see queues, workers and records, and do by hand; a subcommand each."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from django_tasks.calls import registry
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.errors import BrokerError, InvalidSettings, ResultNotFound, TaskQueueError
from django_tasks.framework import known_aliases
from django_tasks.management import doing, looking
from django_tasks.ops.words import inert

UNKNOWN, FAILED, INTERRUPTED = 1, 2, 130
UNREAD = 141  # as a shell names an end by SIGPIPE
DEEDS = ("retry", "cancel", "purge", "rebuild")  # on many; each may be repeated
AFTERWARDS = " What was done until then stays; the command may be repeated."

SUBCOMMANDS: dict[str, tuple[Callable[[BaseCommand, dict[str, Any]], None], str]] = {
    "queues": (looking.queues, "What every queue holds, and what is wrong."),
    "workers": (looking.workers, "The workers, and what each runs."),
    "records": (looking.records, "The calls, newest first, by state, task, queue and more."),
    "inspect": (looking.inspected, "What both stores hold about one record."),
    "explain": (looking.explained, "Where a record is and why, in words."),
    "retry": (doing.retry, "Run again what failed, was cancelled or expired."),
    "cancel": (doing.cancel, "Cancel what waits; end what runs."),
    "pause": (doing.pause, "Let nothing of a queue be taken; what runs goes on."),
    "resume": (doing.resume, "Let a paused queue's messages be taken again."),
    "purge": (doing.purge, "Cancel all that waits in a queue; the records stay."),
    "rebuild": (
        doing.rebuild,
        "Push what the broker does not know; workers do so unasked. It may be repeated.",
    ),
}


class Command(BaseCommand):
    # What is away is one line and exit code 2, not a list of checks and 1.
    requires_system_checks: list[str] = []
    help = "Look at queues, workers and records, and look after them by hand."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        of = {name: chosen.add_parser(name, help=text) for name, (_, text) in SUBCOMMANDS.items()}
        of["queues"].add_argument(
            "--watch", action="store_true", help="Again each second, until Ctrl-C."
        )
        for name in ("inspect", "explain"):
            of[name].add_argument("id", help="Of the record.")
        of["records"].add_argument(
            "q",
            nargs="?",
            help="An id, a task, or key:value of arguments.",
        )
        of["records"].add_argument("--limit", type=int, default=50, help="1 to 1000 (50).")
        of["records"].add_argument("--before", default="", help="Go on behind this id.")
        for name in ("retry", "cancel"):
            of[name].add_argument("ids", nargs="*", help="Else all that match a filter.")
            of[name].add_argument("--q", help="A task, or key:value of its arguments.")
            of[name].add_argument("--dry-run", action="store_true", help="Count, do nothing.")
        for name in ("records", "retry", "cancel"):
            looking.add_filters(of[name])
        of["retry"].add_argument("--again", action="store_true", help="Also what succeeded.")
        of["cancel"].add_argument(
            "--terminate", action="store_true", help="End what runs with its process, at once."
        )
        for name in ("pause", "resume", "purge"):
            of[name].add_argument("queue", help="Its name.")
        for name in ("retry", "cancel", "purge"):
            of[name].add_argument("--yes", action="store_true", help="Don't ask.")
        for name in ("retry", "cancel", "pause", "purge"):
            of[name].add_argument("--reason", default="", help="Kept, and shown.")
        of["pause"].add_argument(
            "--minutes", type=float, default=None, help="Resume by itself after that long."
        )
        of["rebuild"].add_argument("--queue", default=None, help="One queue only (default: all).")
        for name, one in of.items():
            _add_common(name, one)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        try:
            alias = options.get("backend") or DEFAULT_ALIAS
            if alias not in known_aliases():
                known = ", ".join(sorted(known_aliases()))
                raise InvalidSettings(f"TASKS has no alias {alias!r}. It has: {known}.")
            self._import_tasks(alias)
            SUBCOMMANDS[subcommand][0](self, options)
            self.stdout.flush()  # here, where it may fail
        except BrokenPipeError:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(UNREAD)
        except KeyboardInterrupt:
            text = f"Interrupted.{AFTERWARDS if subcommand in DEEDS else ''}"
            raise CommandError(text, returncode=INTERRUPTED) from None
        except ResultNotFound as error:
            raise CommandError(str(error), returncode=UNKNOWN) from error
        except TaskQueueError as error:
            is_midway = isinstance(error, BrokerError) and subcommand in DEEDS
            text = f"{error}{AFTERWARDS if is_midway else ''}"
            raise CommandError(text, returncode=FAILED) from error
        except DatabaseError as error:
            line = inert(" ".join(str(error).split()))
            raise CommandError(f"The database does not serve: {line}", returncode=FAILED) from error

    def _import_tasks(self, alias: str) -> None:
        """A project whose tasks can't be imported needs a look, and a pause, all the more."""
        try:
            registry.discover([alias])
        except TaskQueueError:
            raise  # settings, options: a word of ours says what to change
        except Exception as error:
            line = inert(f"{type(error).__name__}: {error}")
            self.stderr.write(f"The tasks can't all be imported: {line}")


def _add_common(name: str, parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON, for programs.")
    if name in ("retry", "cancel"):
        text = "Only what this alias of TASKS enqueued (default: any)."
        parser.add_argument("--backend", default=None, help=text)
    elif name != "records":
        text = "Alias of TASKS (default: default)."
        parser.add_argument("--backend", default=DEFAULT_ALIAS, help=text)
