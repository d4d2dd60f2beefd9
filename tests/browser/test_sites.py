"""Under an admin site of a project's own the pages are there, and lead to each other there."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.scene import PAGES, PRESSED, Scene

pytestmark = pytest.mark.browser
# One of each template.
NAMES = (
    *("status", "queue-pause", "records", "record-succeeded", "deed-cancel"),
    *("workflows", "workflow-few", "workflow-many", "workflow-cancel"),
)


@pytest.mark.parametrize("name", NAMES)
def test_another_site_has_the_pages_and_its_own_links(
    open_page: OpenPage, scene: Scene, name: str
) -> None:
    path = PAGES[name](scene).replace("/admin/", "/console/")
    window = open_page(path, press=PRESSED.get(name, ""))

    links = window.page.evaluate("() => [...document.links].map(one => one.pathname)")
    asked = window.page.evaluate("() => document.querySelector('[data-url]')?.dataset.url || ''")
    sent = window.page.evaluate(
        "() => [...document.forms].map(one => one.getAttribute('action') || '')"
    )

    assert [one for one in links if one.startswith("/console/django_tasks/")]
    assert [one for one in [*links, *sent, asked] if one.startswith("/admin/")] == []
    assert window.find("#site-name").inner_text() == "The shop's console"
