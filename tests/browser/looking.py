"""What a browser can tell of a page: faults, accessibility, width, what the keyboard reaches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Response

SERIOUS = ("serious", "critical")
# What Django's own pages fail by, too (test_harness.py shows it): axe's rule → where.
DJANGOS = {
    "link-in-text-block": ".breadcrumbs a, #changelist-search .quiet a",
    "scrollable-region-focusable": ".inline-group",
}
# In the page: [rule, impact, element, what to do] of each element in which axe finds a fault.
AXE = """async djangos => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  return violations.flatMap(one => one.nodes
    .filter(node => !document.querySelector(node.target[0]).matches(djangos[one.id] || "nothing"))
    .map(node => [one.id, one.impact, node.html.slice(0, 200), node.failureSummary]));
}"""
# In the page: every element of #content (else the body) that a person can use, and is shown. Asked
# anew each time, since a page that renews itself has others by then.
USABLE = """const usable = () => [...(document.querySelector("#content") || document.body)
  .querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
  .filter(one => !one.disabled && one.checkVisibility({visibilityProperty: true}));
"""
INTERACTIVE = f"() => {{ {USABLE} return usable().map(one => one.outerHTML.slice(0, 120)); }}"
# In the page: which of them has the focus, and whether it looks otherwise than without it. Of those
# seen before only which: a field of a time has several stops, and to focus it anew is the first.
FOCUSED = f"""seen => {{ {USABLE}
  const one = document.activeElement, index = usable().indexOf(one);
  if (index < 0) return null;
  if (seen.includes(index)) return [index, false];
  const look = () => {{
    const style = getComputedStyle(one);
    return [style.outlineStyle === "none" ? "" : style.outline, style.boxShadow, style.borderColor,
            style.backgroundColor, style.color, style.textDecorationLine].join("|");
  }};
  const focused = look();
  one.blur();
  const plain = look();
  one.focus({{focusVisible: true}});
  return [index, focused !== plain];
}}"""


# In the page: it has been drawn anew, and no colour is on its way to another.
SETTLED = """async () => {
  for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
  await Promise.allSettled(document.getAnimations().map(one => one.finished));
}"""


def expect(locator: Locator) -> Any:
    """Playwright's own: waits for what is said of a place in the page. Imported late, since these
    tests are collected where it is not installed, too."""
    from playwright.sync_api import expect as its_own

    return its_own(locator)


@dataclass(frozen=True)
class Look:
    """How it is looked at. ``width``: pixels."""

    scheme: str = "light"
    width: int = 1280
    language: str = "en-US"

    def __str__(self) -> str:
        return f"{self.scheme}-{self.width}"


PLAIN = Look()


@dataclass
class Window:
    """An open page. ``faults``: what the browser complained of; the fixture fails on any."""

    page: Page
    axe_script: str
    refused: int = 0  # the status that the page itself is expected to have, if it is an error
    faults: list[str] = field(default_factory=list)
    answers: list[tuple[str, int]] = field(default_factory=list)
    asked: set[Request] = field(default_factory=set)  # and not yet answered in full

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.add(request))
        self.page.on("requestfinished", lambda request: self.asked.discard(request))
        self.page.on("requestfailed", self._on_failure)
        self.page.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (
            self.refused and f"status of {self.refused}" in message.text
        ):
            self.faults.append(f"console {message.type}: {message.text} ({message.location})")

    def _on_failure(self, request: Request) -> None:
        self.asked.discard(request)
        # What a new page or a closed one cut short is no fault.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"no answer: {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        self.answers.append((response.url, response.status))
        if response.status >= 400 and response.status != self.refused:
            self.faults.append(f"{response.status}: {response.url}")

    def look(self, look: Look) -> None:
        """Look at it otherwise; it stays open."""
        self.page.emulate_media(color_scheme=look.scheme)
        self.page.set_viewport_size({"width": look.width, "height": 800})
        self.page.evaluate(SETTLED)

    def press(self, name: str) -> None:
        """The button of that name; the page that it leads to is there."""
        with self.page.expect_navigation():
            self.page.locator("#content").get_by_role("button", name=name, exact=True).click()

    # -- what it shows -----------------------------------------------------------------------

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def cell(self, queue: str, name: str) -> Locator:
        """One number of a queue on its status page."""
        return self.find(f'tr[data-queue="{queue}"] [data-name="{name}"]')

    def answered(self, part: str) -> list[int]:
        """The statuses of the answers whose address has this part."""
        self.settle()
        return [status for url, status in self.answers if part in url]

    def settle(self) -> None:
        """What the browser told until now has been heard."""
        self.page.evaluate("0")

    def wait_for_answers(self) -> None:
        """All that the page asked for is here."""

        def is_idle() -> bool:
            self.settle()
            return not self.asked

        wait_until(is_idle, message="the page has its answers")

    # -- what is wrong with it -----------------------------------------------------------------

    def overflow(self) -> int:
        """How many pixels the page itself is wider than the window."""
        script = "() => document.scrollingElement.scrollWidth - innerWidth"
        return max(int(self.page.evaluate(script)), 0)

    def inaccessible(self, djangos: dict[str, str] = DJANGOS) -> list[str]:
        """What axe-core calls serious or critical, on the whole page."""
        self.settle()
        before = len(self.faults)
        # By the protocol, not by a tag: the page's policy would, rightly, refuse that.
        self.page.evaluate(f"{self.axe_script};0")
        found = self.page.evaluate(AXE, djangos)
        self.settle()
        del self.faults[before:]  # the policy refuses styles that axe tries out: not the page's
        return [
            f"{rule} ({impact}): {html}: {advice}"
            for rule, impact, html, advice in found
            if impact in SERIOUS
        ]

    def unreachable(self) -> list[str]:
        """What the Tab key does not reach, or what does not show that it has the focus."""
        elements = self.page.evaluate(INTERACTIVE)
        reached: dict[int, bool] = {}
        for _ in range(len(elements) + 60):  # Django's own header and side bar come first
            if len(reached) == len(elements):
                break
            self.page.keyboard.press("Tab")
            found = self.page.evaluate(FOCUSED, list(reached))
            if found:
                reached[found[0]] = reached.get(found[0], False) or found[1]
        return [
            f"{'no focus to be seen' if key in reached else 'not reached'}: {html}"
            for key, html in enumerate(elements)
            if not reached.get(key)
        ]
