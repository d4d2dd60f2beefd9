"""Pictures: numbers and states → SVG. Colours come from classes in console.css; nothing in line.

What a picture says stands in a list or table beside it as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_tasks.ops.timeline import Span
from django_tasks.ops.words import duration, inert
from django_tasks.states import State

WIDTH, HEIGHT, LEAST = 1000.0, 20, 3.0  # LEAST: of a span, so that it is seen

# On 16 by 16: what tells states apart without their colours.
ICONS = {
    State.PENDING: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2m0 3v3l2 2",
    State.DEFERRED: "M5 3h6M5 13h6M5 3c0 4 6 6 6 10M11 3c0 4-6 6-6 10",
    State.SCHEDULED: "M3 4h10v9H3zM3 7h10M6 2v3M10 2v3",
    State.READY: "M3 4h10M3 8h10M3 12h10",
    State.RUNNING: "M5 3l8 5-8 5z",
    State.SUCCESSFUL: "M3 8l4 4 6-8",
    State.FAILED: "M4 4l8 8M12 4l-8 8",
    State.CANCELLED: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M4 12l8-8",
    State.EXPIRED: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 5v4M8 10.5v1",
}

# From the left: what is done, what went wrong, what runs, what waits.
FINISHED_FIRST = (
    *(State.SUCCESSFUL, State.CANCELLED, State.EXPIRED, State.FAILED, State.RUNNING),
    *(State.READY, State.SCHEDULED, State.DEFERRED, State.PENDING),
)


def badge(state: str) -> SafeString:
    """A state: icon, word, colour."""
    if state not in State.values:
        return format_html('<span class="uncut-state">{}</span>', inert(state, 20))
    return format_html(
        '<span class="uncut-state uncut-state-{}"><svg viewBox="0 0 16 16" width="12" height="12"'
        ' aria-hidden="true" focusable="false"><path d="{}"></path></svg> {}</span>',
        state.lower(),
        ICONS[State(state)],
        State(state).label,
    )


def bar(spans: Sequence[Span]) -> SafeString:
    """Spans of time on one line; "" for none."""
    total = max((span.end for span in spans), default=0.0)
    if total <= 0:
        return SafeString("")
    scale = WIDTH / total
    parts = format_html_join(
        "",
        '<rect class="uncut-span-{}" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>',
        (
            (
                span.kind,
                f"{min(span.start * scale, WIDTH - LEAST):.1f}",
                f"{max((span.end - span.start) * scale, LEAST):.1f}",
                HEIGHT,
                f"{inert(span.text, 50)}: {duration(span.end - span.start)}",
            )
            for span in spans
        ),
    )
    label = _("Waiting and runs, over %s") % duration(total)
    return format_html(
        '<svg class="uncut-bar" role="img" aria-label="{}" viewBox="0 0 {} {}"'
        ' preserveAspectRatio="none" width="100%" height="{}">{}</svg>',
        label,
        int(WIDTH),
        HEIGHT,
        HEIGHT,
        parts,
    )


def segments(
    by_state: Mapping[str, int], x: float, y: float, width: float, height: float
) -> SafeString:
    """How many are in each state, side by side; what is rare is seen, too."""
    counts = {state: by_state[state] for state in FINISHED_FIRST if by_state.get(state)}
    whole = sum(counts.values())
    least = width / 100
    widths = {state: max(width * count / whole, least) for state, count in counts.items()}
    scale = width / sum(widths.values()) if widths else 0.0
    parts, end = [], x
    for state, wide in widths.items():
        at = (f"{end:.1f}", f"{y:g}", f"{wide * scale:.1f}", f"{height:g}")
        parts.append((state.lower(), *at))
        end += wide * scale
    return format_html_join(
        "", '<rect class="uncut-fill-{}" x="{}" y="{}" width="{}" height="{}"></rect>', parts
    )


def shares(by_state: Mapping[str, int], label: str) -> SafeString:
    """Of a workflow's members, by state; ``label``: what it says."""
    return format_html(
        '<svg class="uncut-shares" role="img" aria-label="{}" viewBox="0 0 100 8"'
        ' preserveAspectRatio="none" width="100%" height="8">{}</svg>',
        label,
        segments(by_state, 0, 0, 100, 8),
    )
