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
# File → the page, and how it is looked at.
PICTURES = {
    "queue-status.png": ("status", Look(width=1280)),
    "queue-status-dark.png": ("status", Look("dark", 1280)),
    "queue-status-narrow.png": ("status", Look(width=400)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken(open_page: OpenPage, scene: Scene, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("UNCUT_SCREENSHOTS") or tmp_path)
    page, look = PICTURES[name]
    window = open_page(PAGES[page](scene), look=look)
    expect(window.cell("mail", "ready")).to_have_text("5")  # no picture of a moment's trouble

    window.page.screenshot(path=folder / name, full_page=look.width < 600)

    assert (folder / name).stat().st_size > 10_000
