"""Folding: what shares a box and what does not, that all are counted, and that it stays bounded."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

import pytest

from django_tasks.ops.folding import (
    CROSSED,
    ENDS,
    MOST_BOXES,
    MOST_LINKS,
    PLAIN,
    Folded,
    Link,
    Node,
    fold,
)

Pair = tuple[int, int] | tuple[int, int, str]


def folded(
    tasks: str | list[str], pairs: Iterable[Pair], states: list[str] | None = None
) -> Folded:
    """One call of each task; pairs: (from, to), and a policy where that is not success."""
    known = states or ["SUCCESSFUL"] * len(tasks)
    nodes = [Node(f"{n:032x}", task, known[n], n + 1) for n, task in enumerate(tasks)]
    return fold(nodes, [Link(one, two, (*policy,) or ("success",)) for one, two, *policy in pairs])


def boxes(found: Folded) -> list[tuple[str, int]]:
    return [("".join(box.tasks), len(box.nodes)) for box in found.boxes]


def links(found: Folded) -> set[tuple[str, str, tuple[str, ...]]]:
    return {
        (
            "".join(found.boxes[one.parent].tasks),
            "".join(found.boxes[one.child].tasks),
            one.policies,
        )
        for one in found.links
    }


def test_a_few_have_a_box_each() -> None:
    count = PLAIN - 1

    found = folded(["a"] * count + ["b"], [(place, count) for place in range(count)])

    assert len(found.boxes) == PLAIN
    assert len(found.links) == count
    assert not found.is_folded


def test_of_many_those_side_by_side_share_one_with_all_their_states() -> None:
    states = ["FAILED"] * 3 + ["SUCCESSFUL"] * 277 + ["CANCELLED"]

    found = folded(["a"] * 280 + ["b"], [(place, 280) for place in range(280)], states)

    assert boxes(found) == [("a", 280), ("b", 1)]
    assert found.boxes[0].by_state == {"FAILED": 3, "SUCCESSFUL": 277}
    assert links(found) == {("a", "b", ("success",))}
    assert found.is_folded


def test_few_calls_with_many_links_are_folded_too() -> None:
    count = 20
    pairs = [(one, count + two) for one in range(count) for two in range(count)]
    assert len(pairs) > CROSSED

    found = folded("a" * count + "b" * count, pairs)

    assert boxes(found) == [("a", count), ("b", count)]


def test_another_task_another_parent_another_child_and_another_policy_stand_apart() -> None:
    #    r → 60 × a → e;   r → one a → f;   60 × b → e;   r ⇢ one a (if it fails) → e
    tasks = "r" + "a" * 60 + "a" + "b" * 60 + "a" + "e" + "f"
    e, f, late = len(tasks) - 2, len(tasks) - 1, 122
    pairs: list[Pair] = [(0, place) for place in range(1, 62)]
    pairs += [(place, e) for place in range(1, 61)]
    pairs += [(61, f), *((place, e) for place in range(62, 122))]
    pairs += [(0, late, "failure"), (late, e)]

    found = folded(list(tasks), pairs)

    assert sorted(boxes(found)) == [
        ("a", 1),
        ("a", 1),
        ("a", 60),
        ("b", 60),
        ("e", 1),
        ("f", 1),
        ("r", 1),
    ]


def test_chains_side_by_side_fold_level_by_level() -> None:
    #    100 × (a → b → c) → z
    tasks = ["abc"[place % 3] for place in range(300)] + ["z"]
    pairs = [(place, place + 1) for place in range(300) if place % 3 < 2]
    pairs += [(place, 300) for place in range(2, 300, 3)]

    found = folded(tasks, pairs)

    assert boxes(found) == [("a", 100), ("b", 100), ("c", 100), ("z", 1)]
    assert links(found) == {
        ("a", "b", ("success",)),
        ("b", "c", ("success",)),
        ("c", "z", ("success",)),
    }


def test_a_chain_of_another_length_stands_apart() -> None:
    #    50 × (a → b) and one (a → b → b)
    tasks = "ab" * 50 + "abb"
    pairs = [(place, place + 1) for place in range(0, 100, 2)] + [(100, 101), (101, 102)]

    found = folded(tasks, pairs)

    assert sorted(boxes(found)) == [("a", 1), ("a", 50), ("b", 1), ("b", 1), ("b", 50)]


def test_the_middle_of_a_long_chain_is_one_box() -> None:
    found = folded("a" * 100, [(place, place + 1) for place in range(99)])

    assert boxes(found) == [*[("a", 1)] * ENDS, ("a", 100 - 2 * ENDS), *[("a", 1)] * ENDS]
    assert [box.levels for box in found.boxes] == [1, 1, 1, 94, 1, 1, 1]
    assert [one[:2] for one in found.links] == [(place, place + 1) for place in range(6)]
    assert [box.nodes[0].number for box in found.boxes] == [1, 2, 3, 4, 98, 99, 100]


def test_a_row_is_not_folded_across_a_fork() -> None:
    #    a chain of 60, and from its 30th a call of its own
    found = folded("a" * 60 + "b", [*((place, place + 1) for place in range(59)), (29, 60)])

    assert ("b", 1) in boxes(found)
    assert [box.levels for box in found.boxes if box.levels > 1] == [24, 24]
    assert sum(len(box.nodes) for box in found.boxes) == 61


def test_what_can_not_be_folded_is_bounded_and_the_rest_is_counted() -> None:
    order = random.Random(7)
    tasks = [f"task_{place}" for place in range(1000)]
    pairs = {(order.randrange(max(0, n - 20), n), n) for n in range(1, 1000) for _ in range(8)}

    found = folded(tasks, sorted(pairs))

    assert len(found.boxes) == MOST_BOXES
    assert found.left_out == 1000 - MOST_BOXES
    assert len(found.links) == MOST_LINKS
    assert found.links_left_out > 0


@pytest.mark.parametrize("count", [3, 60])
def test_a_circle_which_only_a_hand_can_write_does_no_harm(count: int) -> None:
    found = folded("a" * count, [(place, (place + 1) % count) for place in range(count)])

    assert sum(len(box.nodes) for box in found.boxes) == count
    assert all(one.parent != one.child for one in found.links)


MANY = 10_000
LARGE: dict[str, tuple[list[str], list[Pair]]] = {
    "chord": (["a"] * MANY + ["b"], [(place, MANY) for place in range(MANY)]),
    "chain": (["a"] * MANY, [(place, place + 1) for place in range(MANY - 1)]),
    "chains": (
        ["abc"[place % 3] for place in range(MANY)],
        [(place, place + 1) for place in range(MANY - 1) if place % 3 < 2],
    ),
    "anyhow": (
        [f"task_{place % 40}" for place in range(MANY)],
        [(place * 7919 % place, place) for place in range(1, MANY)],
    ),
}


@pytest.mark.parametrize("shape", LARGE)
def test_ten_thousand_are_folded_quickly(shape: str) -> None:
    began = time.process_time()

    found = folded(*LARGE[shape])

    assert time.process_time() - began < 2  # 0.05 to 0.2 s
    assert len(found.boxes) <= MOST_BOXES


def test_nothing_is_folded_of_nothing() -> None:
    assert folded("", []) == Folded()
