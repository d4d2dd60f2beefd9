"""The graph as a picture: where boxes stand, what they say, that none hides another."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from django_tasks.admin.charts import segments, shares
from django_tasks.admin.graph import draw, label_of, said_of
from django_tasks.admin.layout import HEIGHT, WIDTH, lay_out
from django_tasks.ops.folding import Folded, Link, Node, fold
from django_tasks.states import State
from tests.test_charts import CSS


def picture(tasks: list[str], pairs: list[tuple[int, int]], states: list[str] | None = None) -> str:
    known = states or ["SUCCESSFUL"] * len(tasks)
    nodes = [Node(f"{n:032x}", task, known[n], n + 1) for n, task in enumerate(tasks)]
    links = [Link(*ends, ("success",)) for ends in pairs]
    return draw(fold(nodes, links), lambda box: f"/record/{box.nodes[0].number}/")


SHAPES = {
    "chain": (3, [(0, 1), (1, 2)]),
    "group": (5, []),
    "chord": (4, [(0, 3), (1, 3), (2, 3)]),
    "diamond": (4, [(0, 1), (0, 2), (1, 3), (2, 3)]),
    "shortcut": (5, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 4)]),
    "two": (6, [(0, 1), (1, 2), (3, 4), (4, 5)]),
    "tree": (40, [((n - 1) // 3, n) for n in range(1, 40)]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_do_not_overlap_and_stand_behind_what_they_wait_for(shape: str) -> None:
    count, pairs = SHAPES[shape]

    found = lay_out(count, pairs)

    for (x, y), (left, top) in combinations(found.boxes, 2):
        assert abs(x - left) >= WIDTH or abs(y - top) >= HEIGHT
    along = 1 if found.is_down else 0
    for parent, child in pairs:
        assert found.boxes[parent][along] < found.boxes[child][along]
    for x, y in found.boxes:
        assert 0 <= x <= found.width - WIDTH
        assert 0 <= y <= found.height - HEIGHT


def test_a_link_runs_from_the_parents_edge_to_the_childs_and_beside_the_boxes_between() -> None:
    count, pairs = SHAPES["shortcut"]

    found = lay_out(count, pairs)

    assert found.is_down
    points = found.links[pairs.index((0, 3))]
    assert points[0][1] == found.boxes[0][1] + HEIGHT
    assert points[-1][1] == found.boxes[3][1]
    for x, y in points[1:-1]:
        for left, top in found.boxes:
            assert not (left < x < left + WIDTH and top <= y <= top + HEIGHT)


def test_it_grows_in_the_direction_in_which_it_stays_narrow() -> None:
    chain = lay_out(30, [(place, place + 1) for place in range(29)])
    group = lay_out(31, [(place, 30) for place in range(30)])

    assert chain.is_down
    assert chain.width < 2 * WIDTH
    assert not group.is_down
    assert group.width < 3 * WIDTH


def test_what_is_joined_stands_side_by_side() -> None:
    #    four pairs, given crosswise
    found = lay_out(8, [(0, 7), (1, 6), (2, 5), (3, 4)])

    cross = [box[0] if found.is_down else box[1] for box in found.boxes]
    assert [cross[0], cross[1], cross[2], cross[3]] == [cross[7], cross[6], cross[5], cross[4]]


def test_a_state_is_told_by_a_class_an_icon_and_a_word() -> None:
    drawn = picture(["a"] * len(State), [], list(State.values))

    for state in State:
        assert re.search(
            rf'uncut-box uncut-state-{state.lower()}">.*?uncut-icon" d="[^"]+".*?>{state.label}<',
            drawn,
        )
        assert f".uncut-fill-{state.lower()}" in CSS


def test_it_is_a_picture_with_a_title_whose_boxes_are_links_and_which_a_strict_policy_allows() -> (
    None
):
    drawn = picture(["shop.a", "shop.b"], [(0, 1)])

    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "graphics-document document"
    links = [one.get("href") for one in root.iter() if one.tag.endswith("}a")]
    assert links == ["/record/1/", "/record/2/"]
    assert [one.tag.partition("}")[2] for one in root][:2] == ["title", "desc"]
    assert not re.search(r"style|on\w+=|<script|https?://(?!www\.w3\.org)", drawn)


def test_what_tasks_are_called_is_escaped_cut_and_inert() -> None:
    drawn = picture(["shop.<b>\u202e" + "w" * 300, 'x"y'], [])

    assert "<b>" not in drawn
    assert "\u202e" not in drawn
    assert "&lt;b&gt;\\u202e" in drawn
    names = re.findall(r'class="uncut-name"[^>]*>([^<]*)<', drawn)
    assert max(map(len, names)) < 30
    ElementTree.fromstring(drawn)


def test_a_stack_shows_how_many_are_in_each_state() -> None:
    states = ["FAILED"] * 20 + ["SUCCESSFUL"] * 80

    drawn = picture(["shop.clean"] * 100, [], states)

    assert ">clean × 100</text>" in drawn
    assert ">20 failed, 80 successful</text>" in drawn
    parts = re.findall(r'class="uncut-fill-(\w+)" x="([\d.]+)"[^>]* width="([\d.]+)"', drawn)
    assert [name for name, *_ in parts] == ["successful", "failed"]
    wide, narrow = (float(width) for *_, width in parts)
    assert wide == pytest.approx(4 * narrow, rel=0.01)


def test_the_middle_of_a_chain_says_how_many_it_is() -> None:
    drawn = picture(["add"] * 101, [(place, place + 1) for place in range(100)])

    assert ">… 95 more …</text>" in drawn


def test_labels_stand_at_links_that_wait_for_another_end() -> None:
    assert label_of(["success"]) == ""
    assert label_of(["failure"]) == "if it fails"
    assert label_of(["any", "early"]) == "in any case"
    assert label_of(["failure", "success"]) == "if it fails, if it succeeds"


def test_counts_are_said_in_words_and_what_is_rare_is_seen() -> None:
    counts = {"SUCCESSFUL": 9_999, "FAILED": 1}

    assert said_of(counts) == "1 failed, 9,999 successful"
    widths = re.findall(r'width="([\d.]+)"', segments(counts, 0, 0, 100, 8))
    assert [float(one) > 0.9 for one in widths] == [True, True]
    assert sum(map(float, widths)) == pytest.approx(100, abs=0.2)
    assert 'role="img" aria-label="&lt;half&gt;"' in shares(counts, "<half>")


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw(Folded(), lambda box: "") == ""
    assert segments({}, 0, 0, 100, 8) == ""
