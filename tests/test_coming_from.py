"""The tables for who comes from Celery or RQ: each behaviour has its test, each test its row."""

from __future__ import annotations

import re

import pytest

from tests.test_docs import text_of
from tests.wheels import ROOT

SECTIONS = {
    "Coming from Celery's canvas": "test_coming_from_celery*.py",
    "Coming from RQ's depends_on": "test_coming_from_rq.py",
}


def rows_of(section: str) -> list[list[str]]:
    """The cells of each row of the tables below a heading, without the tables' heads."""
    below = text_of("docs/workflows.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.*)\|$", below, re.MULTILINE)
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [cells for cells in rows if cells[0] != "there" and set(cells[0]) != {"-"}]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_says_whether_it_is_the_same_and_why_not(section: str) -> None:
    rows = rows_of(section)

    assert len(rows) > 20
    for _, _, same, tests in rows:
        assert re.match(r"same\b|different: .|not offered: .", same), same
        assert "`test_" in tests or same.startswith("not offered"), same


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_has_tests_and_every_test_a_row(section: str) -> None:
    named = {name for *_, tests in rows_of(section) for name in re.findall(r"`(test_\w+)`", tests)}
    files = sorted((ROOT / "tests/calls").glob(SECTIONS[section]))
    written = {
        name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }

    assert files
    assert named == written
