"""A graph of many calls, folded until a person can read it.

Calls of one task that stand alike (side by side, or level by level in chains side by side) become
one box; of a long row of single links the middle does. What is alike is found by refining classes
by the classes of parents and children (H. Weisfeiler, A. Leman, 1968), a few rounds of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

PLAIN = 50  # calls up to which each has a box of its own
CROSSED = 80  # and links between them
LONG, ENDS = 8, 3  # boxes in a row from which on its middle is folded; what stays at each end
MOST_BOXES = 150
MOST_LINKS = 400
ROUNDS = 6  # of refinement: classes that differ only farther away than that stay together


class Node(NamedTuple):
    """A call. ``key``: its id as 32 digits; ``number``: its place among its workflow's, from 1; 0
    for a call outside of it."""

    key: str
    task: str
    state: str
    number: int = 0

    @property
    def id(self) -> UUID:
        return UUID(self.key)


class Link(NamedTuple):
    """From one to another, by their places in the list; ``policies``: after which ends."""

    parent: int
    child: int
    policies: tuple[str, ...]


@dataclass
class Box:
    """One call, or several that are alike; ``levels``: of a folded row, how many follow each other
    in it."""

    nodes: list[Node]
    levels: int = 1

    @cached_property
    def by_state(self) -> dict[str, int]:
        return dict(Counter(node.state for node in self.nodes))

    @cached_property
    def tasks(self) -> list[str]:
        """Once each, in their order."""
        return list(dict.fromkeys(node.task for node in self.nodes))


@dataclass(slots=True)
class Folded:
    """``left_out``, ``links_left_out``: how many more boxes, and links between those shown, there
    would be; ``is_folded``: whether a box stands for several calls."""

    boxes: list[Box] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    left_out: int = 0
    links_left_out: int = 0

    @property
    def is_folded(self) -> bool:
        return any(len(box.nodes) > 1 for box in self.boxes)


def fold(nodes: Sequence[Node], links: Iterable[Link]) -> Folded:
    """Boxes and the links between them, as many as can be read."""
    links = list(links)
    depth = depths(len(nodes), links)
    # Without those that would close a circle.
    links = [one for one in links if depth[one.parent] < depth[one.child]]
    if len(nodes) <= PLAIN and len(links) <= CROSSED:
        return _bounded([Box([node]) for node in nodes], links)
    classes = _classes(nodes, links, depth)
    found: dict[int, Box] = {}
    for key, node in zip(classes, nodes, strict=True):
        found.setdefault(key, Box([])).nodes.append(node)
    places = {key: place for place, key in enumerate(found)}
    boxes = list(found.values())
    joined = _joined(
        (places[classes[one.parent]], places[classes[one.child]], one) for one in links
    )
    return _bounded(*_rows(boxes, joined))


def depths(count: int, links: Iterable[Sequence[Any]], here: int = 0, there: int = 1) -> list[int]:
    """How many links (from, to, …) lead to each at most; 0 for what stands in a circle: no workflow
    has one, but a hand can write it."""
    onward, starts = _by(count, links, here)
    waits = [0] * count
    for one in onward:
        waits[one[there]] += 1
    depth = [0] * count
    free = [place for place in range(count) if not waits[place]]
    for place in free:  # grows while it is walked
        deeper = depth[place] + 1
        for one in onward[starts[place] : starts[place + 1]]:
            child = one[there]
            if depth[child] < deeper:
                depth[child] = deeper
            waits[child] -= 1
            if not waits[child]:
                free.append(child)
    return [0 if waits[place] else depth[place] for place in range(count)]


def _by(count: int, links: Iterable[Any], end: int) -> tuple[list[Any], list[int]]:
    """Links in the order of one of their ends, and where those of each place begin: a list for each
    would cost more than all else."""
    ordered = sorted(links, key=itemgetter(end))
    sizes = [0] * (count + 1)
    for one in ordered:
        sizes[one[end] + 1] += 1
    return ordered, list(accumulate(sizes))


def _classes(nodes: Sequence[Node], links: list[Link], down: list[int]) -> list[int]:
    """What is alike has the same number."""
    count = len(nodes)
    up = depths(count, links, 1, 0)
    after, after_starts = _by(count, links, 0)
    before, before_starts = _by(count, links, 1)
    # The depths tell the links of a chain apart at once: else each would take a round.
    tasks = ((node.task, not node.number) for node in nodes)
    classes, known = _numbered(zip(tasks, down, up, strict=True))

    def beside(place: int) -> tuple[Any, ...]:
        parents = before[before_starts[place] : before_starts[place + 1]]
        children = after[after_starts[place] : after_starts[place + 1]]
        return (
            classes[place],
            frozenset([(classes[parent], policies) for parent, _, policies in parents]),
            frozenset([(classes[child], policies) for _, child, policies in children]),
        )

    for _ in range(ROUNDS):
        refined, size = _numbered(map(beside, range(count)))
        if size == known or size > 10 * MOST_BOXES:  # there is nothing to be folded
            break
        classes, known = refined, size
    return classes


def _numbered(keys: Iterable[object]) -> tuple[list[int], int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys], len(numbers)


def _joined(found: Iterable[tuple[int, int, Link]]) -> list[Link]:
    policies: dict[tuple[int, int], dict[str, None]] = {}
    for parent, child, link in found:
        policies.setdefault((parent, child), {}).update(dict.fromkeys(link.policies))
    return [Link(*ends, tuple(sorted(said))) for ends, said in policies.items()]


def _rows(boxes: list[Box], links: list[Link]) -> tuple[list[Box], list[Link]]:
    """The middle of each long row of single links as one box."""
    after: dict[int, list[Link]] = defaultdict(list)
    before: dict[int, list[Link]] = defaultdict(list)
    for one in links:
        after[one.parent].append(one)
        before[one.child].append(one)

    def follows(place: int) -> int | None:
        """What alone comes after it and has nothing else before it."""
        if len(after[place]) != 1 or len(before[after[place][0].child]) != 1:
            return None
        return after[place][0].child

    heads = set(range(len(boxes))) - {follows(place) for place in range(len(boxes))}
    into = list(range(len(boxes)))
    for head in sorted(one for one in heads if one is not None):
        row = [head]
        while (further := follows(row[-1])) is not None:
            row.append(further)
        middle = row[ENDS:-ENDS]
        if len(row) <= LONG:
            continue
        kept = boxes[middle[0]]
        kept.levels = len(middle)
        kept.nodes = [node for place in middle for node in boxes[place].nodes]
        for place in middle:
            into[place] = middle[0]
    left = [place for place in range(len(boxes)) if into[place] == place]
    places = {place: new for new, place in enumerate(left)}
    ends = ((places[into[one.parent]], places[into[one.child]], one) for one in links)
    return [boxes[place] for place in left], _joined(one for one in ends if one[0] != one[1])


def _bounded(boxes: list[Box], links: list[Link]) -> Folded:
    """Those nearest to the beginning."""
    depth = depths(len(boxes), links)
    order = sorted(range(len(boxes)), key=lambda place: (depth[place], place))[:MOST_BOXES]
    places = {place: new for new, place in enumerate(order)}
    shown = [
        Link(places[one.parent], places[one.child], one.policies)
        for one in links
        if one.parent in places and one.child in places
    ]
    return Folded(
        [boxes[place] for place in order],
        shown[:MOST_LINKS],
        len(boxes) - len(order),
        max(len(shown) - MOST_LINKS, 0),
    )
