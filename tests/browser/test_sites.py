"""Under an admin site of a project's own the pages are there, and lead to each other there."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.scene import PAGES, Scene

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", PAGES)
def test_another_site_has_the_pages_and_its_own_links(
    open_page: OpenPage, scene: Scene, name: str
) -> None:
    window = open_page(PAGES[name](scene).replace("/admin/", "/console/"))

    links = window.page.evaluate("() => [...document.links].map(one => one.pathname)")
    asked = window.page.evaluate("() => document.querySelector('[data-url]')?.dataset.url || ''")

    assert [one for one in links if one.startswith("/console/django_tasks/")]
    assert [one for one in [*links, asked] if one.startswith("/admin/")] == []
    assert window.find("#site-name").inner_text() == "The shop's console"
