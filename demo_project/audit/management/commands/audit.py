"""`manage.py audit`: audits this environment through the queue and prints the report."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from packaging.utils import canonicalize_name

from demo_project.audit.inspection import installed_names
from demo_project.audit.progress import watch
from demo_project.audit.tasks import start_audit
from demo_project.audit.terminal import ProgressBar, report_text


class Command(BaseCommand):
    help = (
        "Hold every file of every installed distribution against its RECORD. For each distribution"
        " there is a chain of tasks, so a worker must run (manage.py runworker), or add --burst."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", help="Distributions to audit (all installed).")
        parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.add_argument("--timeout", type=float, default=300.0, help="Seconds to wait (300).")
        parser.add_argument(
            "--burst", action="store_true", help="Run the tasks here, in this process."
        )

    def handle(
        self, *args: Any, names: list[str], format: str, timeout: float, burst: bool, **options: Any
    ) -> None:
        audit = start_audit(_installed(names))
        if burst:
            call_command("runworker", burst=True)
        # Progress goes to stderr, so that the report can be piped elsewhere.
        bar = ProgressBar(self.stderr)
        hinted = False
        for progress in watch(audit.pk, timeout=timeout):
            bar.show(progress)
            if progress.is_idle and not hinted:
                hinted = True
                bar.close()
                self.stderr.write(
                    "Nothing has come back yet. Is a worker running? Start one with:"
                    " python manage.py runworker"
                )
        bar.close()
        audit.refresh_from_db()
        if format == "json":
            self.stdout.write(json.dumps(audit.report, indent=2))
        else:
            self.stdout.write(report_text(audit.report, audit.seconds))


def _installed(names: list[str]) -> list[str]:
    """``names`` as they are audited: normalised, each once. Raises ``CommandError``."""
    wanted = sorted({str(canonicalize_name(name)) for name in names})
    if unknown := set(wanted) - set(installed_names()):
        raise CommandError(
            f"Not installed here: {', '.join(sorted(unknown))}. `pip list` says what is."
        )
    return wanted
