"""A part of a page that renews itself (status.js): with an ETag, so that what is as it was is not
sent again."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.loader import render_to_string


def fragment(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """The part, or 304 while it is what the reader has."""
    shown = render_to_string(template, context, request)
    tag = f'"{hashlib.sha1(shown.encode(), usedforsecurity=False).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        answer: HttpResponse = HttpResponseNotModified()
    else:
        answer = HttpResponse(shown)
    answer.headers["ETag"] = tag
    answer.headers["Cache-Control"] = "no-store"
    return answer
