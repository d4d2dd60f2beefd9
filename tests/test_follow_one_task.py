"""The page that follows one task through every key says what really happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from django_tasks.calls import registry
from tests.follow import PAGE, PREFIX, told_again
from tests.servers import Server
from tests.test_docs import table


@pytest.mark.django_db(transaction=True)
def test_every_answer_on_the_page_is_the_real_one(settings: Any, tmp_path: Path) -> None:
    with Server() as own, own.client() as client:
        settings.DJANGO_TASKS = {"BROKER": own.url, "PREFIX": PREFIX}

        told = told_again(PAGE.read_text(), client, tmp_path)

    registry._tasks.pop("tour.send_welcome")
    assert told == PAGE.read_text(), "python -m tests.follow tells it again"


def test_it_goes_through_every_key() -> None:
    asked = "\n".join(re.findall(r"^> (.*)$", PAGE.read_text(), re.MULTILINE))
    asked = asked.replace(f"{PREFIX}:{{tour}}:", " ").replace(PREFIX, "<prefix>")
    keys = [
        *table("docs/wire-format.md", "## The keys"),
        *table("docs/wire-format.md", "Outside the queues' slots:"),
    ]

    # What stands for an id on that page is one here.
    missing = [
        key
        for key in keys
        if not re.search(rf"(?<!\S){re.sub('<(?!prefix)[^ ]+>', '[^ ]+', key)}(?!\S)", asked)
    ]

    assert len(keys) > 15
    assert missing == []
