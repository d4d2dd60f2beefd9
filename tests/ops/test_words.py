"""Words: durations and sizes, and what tasks supply made harmless."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.ops.words import block, inert, pretty


def test_a_block_keeps_its_lines_and_nothing_else_that_does_something() -> None:
    assert block("a\n\tb\r\u202ec\x1b[2J\x00\ud800\u2028") == (
        "a\n\\tb\\r\\u202ec\\x1b[2J\\x00\\ud800\\u2028"
    )
    assert inert("a\nb") == "a\\nb"


def test_of_a_long_block_the_beginning_or_the_end_is_shown() -> None:
    text = "begin " + "x" * 100 + " end"

    assert block(text, 5) == "begin\n… (110 characters)"
    assert block(text, 3, is_tail=True) == "… (110 characters)\nend"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, {"a": "ü"}], '[\n  1,\n  {\n    "a": "ü"\n  }\n]'),
        ("one line", '"one line"'),
        (None, "null"),
        ("\u202e\x00", '"\\u202e\\u0000"'),
        ({1}, "{1}"),
    ],
)
def test_values_are_written_as_json_that_does_nothing(value: Any, text: str) -> None:
    assert pretty(value) == text
