"""Where the boxes of a graph stand and where its links run: by layers, after K. Sugiyama and others
(1981), with barycentres. Pure arithmetic; graph.py draws it.

Layers are longest paths. A link over several layers is laid through each of them, so that it runs
beside boxes, not behind them. Whichever way is narrower, from left to right or from top to bottom,
is taken: a page can be long, hardly wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from django_tasks.ops.folding import depths

WIDTH, HEIGHT = 184.0, 48.0  # of a box
BESIDE, LANE = 14.0, 12.0  # between boxes of a layer; what a link takes that passes through it
BETWEEN, LABELLED = 44.0, 108.0  # between layers; where words stand at their links
EDGE = 8.0
SWEEPS = 5
MOST_PASSES = 2_000  # of links through layers; what is more runs straight on

Point = tuple[float, float]


@dataclass(slots=True)
class Layout:
    """``boxes``: the upper left corner of each; ``links``: the points of each, from the parent's
    edge to the child's, two for each layer between; ``is_down``: from top to bottom."""

    boxes: list[Point] = field(default_factory=list)
    links: list[list[Point]] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0
    is_down: bool = False


def lay_out(count: int, links: Sequence[tuple[int, int]], *, is_labelled: bool = False) -> Layout:
    """``links``: from a box to a later one, without circles."""
    depth = depths(count, links)
    layers: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for box in range(count):
        layers[depth[box]].append(box)
    paths = _paths(count, links, depth, layers)
    _order(layers, paths)
    gap = LABELLED if is_labelled else BETWEEN
    most = max((sum(one < count for one in row) for row in layers), default=0)
    is_down = most * (WIDTH + BESIDE) < len(layers) * (WIDTH + gap)
    size = WIDTH if is_down else HEIGHT
    places = _places(layers, paths, [size] * count, LANE)
    step = HEIGHT + BETWEEN if is_down else WIDTH + gap
    along = {one: EDGE + step * layer for layer, row in enumerate(layers) for one in row}
    length = HEIGHT if is_down else WIDTH

    def point(main: float, cross: float) -> Point:
        return (cross, main) if is_down else (main, cross)

    found = Layout(is_down=is_down)
    found.boxes = [point(along[box], places[box] - size / 2) for box in range(count)]
    for path in paths:
        points = [point(along[path[0]] + length, places[path[0]])]
        for passed in path[1:-1]:
            ends = (along[passed], along[passed] + length)
            points += [point(end, places[passed]) for end in ends]
        found.links.append([*points, point(along[path[-1]], places[path[-1]])])
    far = max(along.values(), default=0.0) + length + EDGE
    wide = max((places[box] + size / 2 for box in places), default=0.0) + EDGE
    found.width, found.height = point(far, wide)
    return found


def _paths(
    count: int, links: Sequence[tuple[int, int]], depth: list[int], layers: list[list[int]]
) -> list[list[int]]:
    """Each link as what it goes by: its ends, and in the layers between a place of its own."""
    found, passes = [], 0
    for parent, child in links:
        between = range(depth[parent] + 1, depth[child])
        path = [parent]
        if passes + len(between) <= MOST_PASSES:
            for layer in between:
                place = count + passes
                passes += 1
                layers[layer].append(place)
                path.append(place)
        found.append([*path, child])
    return found


def _neighbours(paths: list[list[int]]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for path in paths:
        for one, other in pairwise(path):
            after.setdefault(one, []).append(other)
            before.setdefault(other, []).append(one)
    return before, after


def _order(layers: list[list[int]], paths: list[list[int]]) -> None:
    """Each beside those it is joined to: fewer crossings."""
    before, after = _neighbours(paths)
    rank = {one: float(place) for row in layers for place, one in enumerate(row)}
    for sweep in range(SWEEPS):
        beside = before if sweep % 2 == 0 else after
        for row in layers if sweep % 2 == 0 else layers[::-1]:
            row.sort(
                key=lambda one: _mean([rank[other] for other in beside.get(one, ())], rank[one])
            )
            for place, one in enumerate(row):
                rank[one] = float(place)


def _places(
    layers: list[list[int]], paths: list[list[int]], sizes: list[float], lane: float
) -> dict[int, float]:
    """The middle of each across its layer: as near to those it is joined to as there is room."""
    before, after = _neighbours(paths)

    def size(one: int) -> float:
        return sizes[one] if one < len(sizes) else lane

    places: dict[int, float] = {}
    for row in layers:
        _pack(row, [0.0] * len(row), size, places)
    for sweep in range(SWEEPS):
        beside = before if sweep % 2 == 0 else after
        for row in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = [
                _mean([places[other] for other in beside.get(one, ())], places[one]) for one in row
            ]
            _pack(row, wanted, size, places)
    least = min((places[one] - size(one) / 2 for one in places), default=0.0)
    return {one: place - least + EDGE for one, place in places.items()}


def _pack(
    row: list[int],
    wanted: list[float],
    size: Callable[[int], float],
    places: dict[int, float],
) -> None:
    """In their order, none over another, on average where they want to be."""
    end = float("-inf")
    for one, place in zip(row, wanted, strict=True):
        places[one] = max(place, end + size(one) / 2)
        end = places[one] + size(one) / 2 + BESIDE
    off = _mean([places[one] - place for one, place in zip(row, wanted, strict=True)], 0.0)
    for one in row:
        places[one] -= off


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default
