"""Every page, light and dark, 400 px wide and large: no fault, accessible, inert, by the keyboard,
to those who may."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.looking import Look, expect
from tests.browser.scene import PAGES, PRESSED, STATUS, Scene

pytestmark = pytest.mark.browser
# Colours differ by scheme, and width decides what is shown; so these two see what there is to find.
LOOKS = (Look("light", 1280), Look("dark", 400))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_accessible_however_it_is_looked_at(
    open_page: OpenPage, scene: Scene, name: str
) -> None:
    window = open_page(PAGES[name](scene), press=PRESSED.get(name, ""))

    wrong = []
    for look in LOOKS:
        window.look(look)
        if overflow := window.overflow():
            wrong.append(f"{look}: {overflow} px too wide")
        wrong += [f"{look}: {one}" for one in window.inaccessible()]

    assert wrong == []


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("status", Look("dark", 1280)),
        ("queue-purge", Look(width=400)),
        ("records-filtered", Look(width=400)),
        ("record-failed", Look("dark", 1280)),
        ("deed-reschedule", Look("dark", 400)),
        ("workflows-filtered", Look("dark", 1280)),
        ("workflow-many", Look("dark", 400)),
        ("workflow-cancel", Look(width=400)),
    ],
    ids=str,
)
def test_the_keyboard_reaches_all_of_a_page_and_is_seen_to(
    open_page: OpenPage, scene: Scene, name: str, look: Look
) -> None:
    window = open_page(PAGES[name](scene), look=look)

    assert window.unreachable() == []


@pytest.mark.parametrize("name", ["status", "records", "record-running", "workflow-few"])
def test_a_page_is_shown_to_those_who_may_and_refused_to_others(
    open_page: OpenPage, scene: Scene, name: str
) -> None:
    path = PAGES[name](scene)

    open_page(path, "reader")
    refused = open_page(path, "stranger", refused=403)
    login = open_page(path, "visitor")

    expect(refused.find("body")).to_contain_text("403 Forbidden")
    assert login.page.url.partition("?")[0].endswith("/admin/login/")


def test_what_tasks_supply_does_nothing(open_page: OpenPage, scene: Scene) -> None:
    window = open_page(PAGES["record-hostile"](scene))

    assert window.page.evaluate("window.obeyed") is None
    assert window.find("img[src=x]").count() == 0
    where = window.find(".uncut-facts").all_inner_texts()
    assert "<script>window.obeyed = 1</script>" in "".join(where)
    for mark in ("\u202e", "\x1b", "\x00"):
        assert mark not in "".join(where)


def test_a_running_one_is_explained_and_its_holders_lease_shown(
    open_page: OpenPage, scene: Scene
) -> None:
    window = open_page(PAGES["record-running"](scene))

    expect(window.find(".uncut-explain")).to_contain_text("Running for")
    lease = window.page.get_by_role("row", name="its holder's lease ends in")
    expect(lease).to_be_visible()
    assert window.page.get_by_role("table", name="Keys that hold it").count() == 1


def test_what_screen_readers_name_is_there(open_page: OpenPage, scene: Scene) -> None:
    window = open_page(STATUS)

    for name in ("Queues", "Workers"):
        expect(window.page.get_by_role("table", name=name)).to_be_visible()
        expect(window.page.get_by_role("region", name=name)).to_be_visible()
    expect(window.page.get_by_role("list", name="What is wrong")).to_contain_text("anna")
