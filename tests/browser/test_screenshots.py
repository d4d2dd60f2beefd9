"""The pictures of the docs, from the scene that the tests look at; ``UNCUT_SCREENSHOTS`` names
their folder (make screenshots), else they go where pytest puts what it throws away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, expect
from tests.browser.scene import PAGES, Scene

pytestmark = pytest.mark.browser
# File → the page, how it is looked at, and which part of it is taken: from the top to the end of an
# element, all ("html"), or what the window shows ("").
PICTURES = {
    "queue-status.png": ("status", Look(), ""),
    "queue-status-dark.png": ("status", Look("dark"), ""),
    "queue-status-narrow.png": ("status", Look(width=400), "html"),
    "records.png": ("records-filtered", Look(), ".uncut-paginator"),
    "record.png": ("record-failed", Look(width=1000), "section:has(#uncut-attempts)"),
    "workflow.png": ("workflow-many", Look(width=1000), "section:has(#uncut-graph)"),
    "confirmation.png": ("deed-retry", Look(width=1000), ".submit-row"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken(open_page: OpenPage, scene: Scene, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("UNCUT_SCREENSHOTS") or tmp_path)
    page, look, end = PICTURES[name]
    window = open_page(PAGES[page](scene), look=look)
    if page == "status":
        expect(window.cell("mail", "ready")).to_have_text("5")  # no picture of a moment's trouble

    clip = None
    if end not in ("", "html"):
        bottom = window.find(end).evaluate("one => one.getBoundingClientRect().bottom + scrollY")
        clip = {"x": 0, "y": 0, "width": look.width, "height": bottom + 40}
    window.page.screenshot(path=folder / name, full_page=bool(end), clip=clip)

    assert 10_000 < (folder / name).stat().st_size < 150_000


def test_a_picture_of_what_is_where_is_taken(
    open_page: OpenPage, scene: Scene, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("UNCUT_SCREENSHOTS") or tmp_path)
    window = open_page(PAGES["record-running"](scene))
    window.find("div:has(> table > #uncut-raw)").evaluate("one => one.remove()")

    window.find("section:has(#uncut-where)").screenshot(path=folder / "record-where.png")

    assert 10_000 < (folder / "record-where.png").stat().st_size < 150_000
