"""A workflow's graph as SVG: boxes and links → a picture. Colours come from classes in console.css.

A state is told by colour, by its icon and by its word. What the picture says stands in the table
below it as well; each box leads to its record, or to the rows of the table that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_tasks.admin.charts import ICONS, segments
from django_tasks.admin.layout import HEIGHT, WIDTH, Layout, Point, lay_out
from django_tasks.ops.folding import Box, Folded, Node
from django_tasks.ops.words import inert
from django_tasks.states import Policy, State

LETTERS = 21  # of a line in a box

# What stands at a link; nothing where success is waited for.
LABELS: dict[str, object] = {
    Policy.FAILURE: gettext_lazy("if it fails"),
    Policy.CANCELLED: gettext_lazy("if cancelled"),
    Policy.ANY: gettext_lazy("in any case"),
    Policy.EARLY: gettext_lazy("in any case"),
}


def draw(folded: Folded, address: Callable[[Box], str]) -> SafeString:
    """The picture; "" of nothing. ``address``: where a box leads, "" for nowhere."""
    if not folded.boxes:
        return SafeString("")
    labels = [label_of(link.policies) for link in folded.links]
    ends = [(link.parent, link.child) for link in folded.links]
    layout = lay_out(len(folded.boxes), ends, is_labelled=any(labels))
    parts = [
        *(_link(layout, path, label) for path, label in zip(layout.links, labels, strict=True)),
        *(
            _box(box, corner, address(box))
            for box, corner in zip(folded.boxes, layout.boxes, strict=True)
        ),
    ]
    calls = sum(len(box.nodes) for box in folded.boxes)
    return format_html(
        # Not role="img": that would hide the links in it from a screen reader.
        '<svg class="uncut-graph" role="graphics-document document" xmlns="{}"'
        ' aria-labelledby="uncut-graph-title" aria-describedby="uncut-graph-desc"'
        ' width="{}" height="{}" viewBox="0 0 {} {}">'
        '<title id="uncut-graph-title">{}</title><desc id="uncut-graph-desc">{}</desc>{}{}</svg>',
        "http://www.w3.org/2000/svg",
        *(2 * (round(layout.width), round(layout.height))),
        _("Who waits for whom"),
        _("%(calls)d calls in %(boxes)d boxes. The table of members says the same.")
        % {"calls": calls, "boxes": len(folded.boxes)},
        ARROW,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


ARROW = mark_safe(
    '<defs><marker id="uncut-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
    ' markerHeight="7" orient="auto"><path class="uncut-tip" d="M0 0L8 4L0 8z"></path></marker>'
    "</defs>"
)


def label_of(policies: Sequence[str]) -> str:
    """After which ends, in words; "" after success alone."""
    words = [str(LABELS.get(one, _("if it succeeds"))) for one in policies]
    return ", ".join(dict.fromkeys(words)) if set(policies) - {Policy.SUCCESS} else ""


def said_of(by_state: dict[str, int]) -> str:
    """``3 failed, 277 successful``: in the order of the states."""
    known = [state for state in State if by_state.get(state)]
    return ", ".join(f"{by_state[state]:,} {state.label.lower()}" for state in reversed(known))


def _link(layout: Layout, points: list[Point], label: str) -> SafeString:
    d = f"M{_at(points[0])}"
    for start, end in zip(points[::2], points[1::2], strict=True):
        if layout.is_down:
            middle = (start[1] + end[1]) / 2
            bends = (start[0], middle), (end[0], middle)
        else:
            middle = (start[0] + end[0]) / 2
            bends = (middle, start[1]), (middle, end[1])
        d += f"L{_at(start)}C{_at(bends[0])} {_at(bends[1])} {_at(end)}"
    drawn = format_html(
        '<path class="uncut-link{}" d="{}" marker-end="url(#uncut-arrow)"></path>',
        " uncut-link-other" if label else "",
        d,
    )
    if not label:
        return drawn
    x, y = points[-1]
    x, y, anchor = (x + 8, y - 16, "start") if layout.is_down else (x - 12, y - 6, "end")
    return format_html(
        '{}<text class="uncut-said-at" x="{}" y="{}" text-anchor="{}">{}</text>',
        drawn,
        *_at((x, y)).split(),
        anchor,
        label,
    )


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _box(box: Box, corner: Point, address: str) -> SafeString:
    first = box.nodes[0]
    inside = _many(box) if len(box.nodes) > 1 else _one(first)
    # A picture of its own: what does not fit into the box is cut off at its edge.
    drawn = format_html(
        '<svg x="{}" y="{}" width="{}" height="{}">{}</svg>',
        *_at(corner).split(),
        int(WIDTH),
        int(HEIGHT),
        inside,
    )
    if not address:
        return drawn
    return format_html('<a href="{}" id="uncut-box-{}">{}</a>', address, first.id, drawn)


def _one(node: Node) -> SafeString:
    state = State(node.state) if node.state in State.values else None
    word = state.label if state is not None else inert(node.state, 20)
    number = f"{node.number}" if node.number else _("outside")
    return format_html(
        '<g class="uncut-box uncut-state-{}"><title>{}</title>'
        '<rect x="2" y="2" width="{}" height="{}" rx="6"></rect>'
        '<text class="uncut-name" x="11" y="20">{}</text>'
        '<svg x="11" y="29" width="12" height="12" viewBox="0 0 16 16">'
        '<path class="uncut-icon" d="{}"></path></svg>'
        '<text class="uncut-word" x="28" y="39">{}</text>'
        '<text class="uncut-place" x="{}" y="39" text-anchor="end">{}</text></g>',
        node.state.lower() if state is not None else "unknown",
        f"{inert(node.task, 200)}: {word}",
        int(WIDTH) - 4,
        int(HEIGHT) - 4,
        _short(node.task, LETTERS),
        ICONS[state] if state is not None else "",
        word,
        int(WIDTH) - 11,
        number,
    )


def _many(box: Box) -> SafeString:
    by_state = box.by_state
    count = f"{len(box.nodes):,}"
    if box.levels > 1:
        one = ngettext("%(count)s more", "%(count)s more", len(box.nodes)) % {"count": count}
        name = f"… {one} …"
    else:
        name = f"{_short(box.tasks[0], LETTERS - 3 - len(count))} × {count}"
    tasks = ", ".join(inert(task, 100) for task in box.tasks[:5])
    said = said_of(by_state)
    return format_html(
        '<g class="uncut-box uncut-stack"><title>{}</title>'
        '<rect class="uncut-behind" x="6" y="5" width="{}" height="{}" rx="6"></rect>'
        '<rect x="2" y="2" width="{}" height="{}" rx="6"></rect>'
        '<text class="uncut-name" x="11" y="18">{}</text><g>{}</g>'
        '<text class="uncut-word" x="11" y="40">{}</text></g>',
        f"{tasks} × {count}: {said}",
        int(WIDTH) - 8,
        int(HEIGHT) - 7,
        int(WIDTH) - 8,
        int(HEIGHT) - 7,
        name,
        segments(by_state, 11, 23, WIDTH - 30, 5),
        _brief(by_state),
    )


def _brief(by_state: dict[str, int]) -> str:
    """What fits: what went wrong first, then the most."""
    order = [*(State.FAILED, State.EXPIRED, State.CANCELLED, State.RUNNING), *State]
    parts = [
        f"{by_state[one]:,} {one.label.lower()}"
        for one in dict.fromkeys(order)
        if by_state.get(one)
    ]
    text = ", ".join(parts[:2])
    return text if len(parts) <= 2 and len(text) <= 28 else f"{parts[0]} …"


def _short(task: str, letters: int) -> str:
    """Its last part, as long as there is room."""
    name = inert(task, 200).rpartition(".")[2]
    return name if len(name) <= letters else f"{name[: max(letters - 1, 1)]}…"
