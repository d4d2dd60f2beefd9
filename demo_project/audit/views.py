"""The audit's pages: start one, watch it, read its report."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from demo_project.audit.inspection import MISSING, TAMPERED, UNREADABLE
from demo_project.audit.models import Audit
from demo_project.audit.progress import look_at
from demo_project.audit.tasks import start_audit

RECENT = 8  # audits on the first page
COLOURS = 7  # of the bar of languages; the last is for all others
FINDINGS = {
    TAMPERED: "Changed since they were published",
    MISSING: "Missing",
    UNREADABLE: "Could not be read",
}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """What an audit is; POST starts one and goes to its page."""
    if request.method == "POST":
        return redirect(start_audit())
    return render(request, "audit/home.html", {"audits": Audit.objects.all()[:RECENT]})


@never_cache
@require_safe
def audit(request: HttpRequest, audit_id: int) -> HttpResponse:
    """Progress while the audit runs, the report when it is there."""
    try:
        progress = look_at(audit_id)
    except Audit.DoesNotExist as error:
        raise Http404(f"There is no audit {audit_id}.") from error
    report = progress.audit.report
    context = {"progress": progress, "audit": progress.audit, "report": report}
    if report:
        context.update(
            findings=[
                (title, report[kind], report["counts"][kind])
                for kind, title in FINDINGS.items()
                if report[kind]
            ],
            languages=_bars(report["languages"]),
            lines=sum(entry["lines"] for entry in report["languages"]),
        )
    return render(request, "audit/audit.html", context)


def _bars(languages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The most used languages, and the others as one."""
    if len(languages) <= COLOURS:
        return languages
    others = sum(entry["lines"] for entry in languages[COLOURS - 1 :])
    return [*languages[: COLOURS - 1], {"language": "Others", "lines": others}]
