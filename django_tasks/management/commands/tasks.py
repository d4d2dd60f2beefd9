"""``manage.py tasks …``: what a person does to queues and records by hand, a subcommand each."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from django_tasks.broker import Broker
from django_tasks.calls import registry
from django_tasks.calls.options import checked_queue
from django_tasks.conf import task_settings
from django_tasks.errors import TaskQueueError
from django_tasks.worker.duties import rebuild_now

FAILED = 2


class Command(BaseCommand):
    # What is away is one line and exit code 2, not a list of checks and 1.
    requires_system_checks: list[str] = []
    help = "Look after queues and records by hand."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        rebuild = chosen.add_parser(
            "rebuild",
            help="Push every unfinished record that the broker does not know. Workers do this"
            " unasked after a loss; it may be repeated, and run beside them.",
        )
        rebuild.add_argument("--queue", default=None, help="One queue only (default: all).")
        rebuild.add_argument("--json", action="store_true", help="Print the counts as JSON.")
        rebuild.add_argument(
            "--backend", default="default", help="Alias of TASKS (default: default)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._rebuild(options["backend"], options["queue"], options["json"])
        except TaskQueueError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except DatabaseError as error:
            line = " ".join(str(error).split())
            raise CommandError(f"The database does not serve: {line}", returncode=FAILED) from error

    def _rebuild(self, alias: str, queue: str | None, is_json: bool) -> None:
        queue = checked_queue(queue) if queue is not None else None
        registry.discover([alias])
        broker = Broker(task_settings(alias))
        try:
            broker.ping()  # also where there is nothing to look at
            counts = rebuild_now(broker, [alias], queue)
        finally:
            broker.close()
        if is_json:
            told = {"looked_at": counts.looked_at, "pushed": counts.pushed}
            self.stdout.write(json.dumps(told))
        else:
            self.stdout.write(
                f"Looked at {counts.looked_at} unfinished records; pushed {counts.pushed} that the"
                " broker did not know."
            )
