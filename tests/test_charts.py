"""Pictures and colours: what is drawn, and that it can be read in light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import django.contrib.admin
import pytest

from django_tasks.admin.charts import bar
from django_tasks.ops.timeline import Span
from tests.wheels import ROOT

CSS = (ROOT / "django_tasks/static/django_tasks/console.css").read_text()
ADMIN = Path(django.contrib.admin.__file__).parent / "static/admin/css"
# What a state's word may stand on: the page, every other row, a row that is chosen.
GROUNDS = ("--body-bg", "--darkened-bg", "--selected-row")


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(css: str, theme: str) -> dict[str, str]:
    start = css.index(f'html[data-theme="{theme}"]')
    block = css[start : css.index("}", start)]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-fA-F]{3,6})", block))


@pytest.mark.parametrize(("theme", "file"), [("light", "base.css"), ("dark", "dark_mode.css")])
def test_the_word_of_every_state_can_be_read(theme: str, file: str) -> None:
    ours = {
        name: colour for name, colour in colours(CSS, theme).items() if name.startswith("--uncut-")
    }
    grounds = colours((ADMIN / file).read_text(), theme)

    assert len(ours) == 6
    for name, colour in ours.items():
        for ground in GROUNDS:
            assert contrast(colour, grounds[ground]) >= 4.5, (name, ground)


def test_dark_is_the_same_whether_chosen_or_the_systems() -> None:
    [by_system] = re.findall(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", CSS, re.S)

    assert dict(re.findall(r"(--[\w-]+): (#\w+)", by_system)) == colours(CSS, "dark")


def test_every_kind_of_span_and_state_has_a_colour() -> None:
    for kind in ("running", "succeeded", "failed", "retried", "snoozed", "timed-out", "cancelled"):
        assert f".uncut-span-{kind}" in CSS
    for kind in ("lost", "stopped"):
        assert f".uncut-span-{kind}" in CSS


def test_a_bar_is_drawn_to_scale_and_short_spans_are_seen() -> None:
    made = bar([Span(0, 60, "waiting", "Waiting"), Span(60, 60.001, "failed", '1: "<b>"')])

    widths = re.findall(r'class="uncut-span-(\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', made)
    assert widths == [("waiting", "0.0", "1000.0"), ("failed", "997.0", "3.0")]
    assert "<title>1: &quot;&lt;b&gt;&quot;: 0.0 s</title>" in made
    assert "style" not in made


def test_nothing_is_drawn_of_nothing() -> None:
    assert bar([]) == ""
    assert bar([Span(0, 0, "waiting", "")]) == ""
