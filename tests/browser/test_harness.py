"""These tests can fail: of a page with every fault each one is seen."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.looking import DJANGOS, Look

pytestmark = pytest.mark.browser


def test_a_faulty_page_is_found_out(open_page: OpenPage) -> None:
    window = open_page("/faulty/", look=Look(width=400))
    window.settle()

    told, inaccessible = "\n".join(window.faults), "\n".join(window.inaccessible())
    window.faults.clear()

    assert "inline script violates" in told
    assert "inline style violates" in told
    assert "inline event handler violates" in told
    assert "console error: said" in told
    assert "error: thrown" in told
    assert "404: " in told
    assert "image-alt (critical)" in inaccessible
    assert "label (critical)" in inaccessible
    assert window.page.title() == "faulty"
    assert window.overflow() > 2000
    assert [one for one in window.unreachable() if "unseen" in one]


def test_what_is_not_held_against_our_pages_is_wrong_on_djangos_own(open_page: OpenPage) -> None:
    window = open_page("/admin/auth/user/?q=chief")

    assert window.inaccessible() == []
    rules = {one.partition(" ")[0] for one in window.inaccessible(djangos={})}
    assert rules <= set(DJANGOS)
