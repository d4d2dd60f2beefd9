"""docs/explain.md has every sentence that explain can say."""

from __future__ import annotations

import ast
import re

from tests.wheels import ROOT

PARTS = re.compile(r"%\(\w+\)\w")
FRAGMENTS = {" %(time)s ago", "an error", "somebody"}  # of other sentences


def sentences() -> list[str]:
    """What is given to gettext; of two forms the plural, with … where something is put in."""
    found = []
    for name in ("explanations", "waits"):
        source = (ROOT / "django_tasks" / "ops" / f"{name}.py").read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "ngettext"):
                texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
                found.append(str(texts[-1]))
    return found


def plain(text: str) -> str:
    return re.sub(r"\s*…\s*", "…", " ".join(PARTS.sub("…", text).split()))


def test_every_sentence_of_explain_is_on_its_page() -> None:
    page = plain((ROOT / "docs" / "explain.md").read_text())
    said = sentences()

    missing = [one for one in said if one not in FRAGMENTS and plain(one) not in page]

    assert len(said) > 40
    assert missing == []
