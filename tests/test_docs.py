"""The pages are true: links, settings, options, states, fields and examples against the code."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_tasks.broker.keys import QueueKeys, SharedKeys
from django_tasks.broker.message import READERS, Message
from django_tasks.calls import registry
from django_tasks.calls.options import DJANGO_OPTIONS, TaskOptions
from django_tasks.calls.retries import Backoff
from django_tasks.conf import TaskSettings, our_options
from django_tasks.management.commands.runworker import Command
from django_tasks.models import TaskRecord
from django_tasks.ops.filters import RecordFilter
from django_tasks.states import TRANSITIONS, State
from tests.broker.test_planted_faults import FAULTS
from tests.wheels import ROOT

PACKAGE, DOCS = ROOT / "django_tasks", ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LUA = sorted(PACKAGE.glob("broker/lua/*.lua"))
# A link, outside of code: its target.
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)(<!-- (.*?) -->\n)?```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """(the comment above it or "", the block) of each block in one language."""
    return [
        (found[3] or "", textwrap.dedent(found[5]))
        for found in FENCE.finditer(page.read_text())
        if found[4] == language
    ]


def anchors(page: Path) -> set[str]:
    """What a link may name behind #, as GitHub makes it of headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def table(name: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: what stands in backticks in its first column → its cells."""
    below = f"\n{text_of(name)}".partition(f"\n{heading}\n")[2]
    assert below, f"{name} has no heading {heading!r}"
    rows: dict[str, list[str]] = {}
    for line in below.splitlines():
        if rows and not line.startswith("|"):
            break
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and (key := re.match(r"`([^`]+)`", cells[0])):
            rows[key[1]] = cells
    return rows


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    dead = []
    for target in LINK.findall(prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            dead.append(target)

    assert dead == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for target in LINK.findall(prose(page)):
            aim = (page.parent / target.partition("#")[0]).resolve()
            if aim.suffix == ".md" and aim not in reached:
                waiting.append(aim)

    assert set(PAGES) - reached == set()


def test_settings_are_all_there_with_type_unit_and_default() -> None:
    rows = table("docs/settings.md", "# Settings")

    assert list(rows) == list(our_options())
    for name, default in our_options().items():
        _, kind, unit, shown, meaning = rows[name]
        assert kind == f"`{type(default).__name__}`", name
        assert bool(unit) == (type(default) in (int, float)), name
        # "(…)" says in words what stands for an empty text.
        assert shown == f"`{default!r}`" or (default == "" and shown.startswith("(")), name
        assert meaning.endswith("."), name


def test_options_are_all_there_with_their_defaults() -> None:
    rows = table("docs/tasks.md", "## Options")
    options = TaskOptions()

    assert set(rows) == {*DJANGO_OPTIONS, *vars(options)}
    for name, default in vars(options).items():
        if isinstance(default, Backoff):
            default = astuple(default)
        if name == "retry_for":
            default = f"({', '.join(one.__name__ for one in default)},)"
            assert rows[name][1] == f"`{default}`"
        else:
            assert rows[name][1] == f"`{default!r}`", name


def test_the_workers_options_are_all_there_with_their_defaults() -> None:
    rows = table("docs/workers.md", "## Options")
    django = {"help", "version", "verbosity", "settings", "pythonpath", "traceback"}
    django |= {"no_color", "force_color", "skip_checks"}
    parser = Command().create_parser("manage.py", "runworker")
    ours = [one for one in parser._actions if one.dest not in django]

    shown = {key.split()[0]: cells[1] for key, cells in rows.items()}

    assert set(shown) == {(one.option_strings or [str(one.metavar)])[0] for one in ours}
    for one in ours:
        if one.default:
            assert str(one.default).removesuffix(".0") in shown[one.option_strings[0]]


def test_the_filters_of_records_are_all_there() -> None:
    assert set(table("docs/console.md", "## Filters")) == {one.name for one in fields(RecordFilter)}


def test_states_are_drawn_as_they_are() -> None:
    drawing = text_of("docs/states.md")
    drawn = re.findall(r"^    (\w+) --> (\w+)", drawing, re.MULTILINE)

    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {(start.value, end.value) for start in State for end in TRANSITIONS[start]}
    assert re.findall(r"^    \[\*\] --> (\w+)", drawing, re.MULTILINE) == ["PENDING"]


def test_the_querysets_words_are_all_there() -> None:
    queryset = type(TaskRecord.objects.all())

    words = [
        name for name, value in vars(queryset).items() if isinstance(value, types.FunctionType)
    ]

    assert [word for word in words if not re.search(rf"\b{word}\b", text_of("docs/tasks.md"))] == []


def calls_of(lua: str, opening: str) -> Iterator[str]:
    """What stands between the parentheses of each call that begins so."""
    for found in re.finditer(re.escape(opening), lua):
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(lua[end], 0)
            end += 1
        yield lua[found.end() : end - 1]


def written_fields() -> set[str]:
    """The names that senders, scripts and outcomes give to a message's fields."""
    now = timezone.now()
    full = Message(
        id="1", task="t", queue="q", run_after=now, expires=now, backoff="[1]", fence=1, revision=1,
        attempt=1, lost=1, suspect=True, enqueued_at=now, description="t()", release="r",
        metadata="{1}", headers="{2}",
    )  # fmt: skip
    found = {"id", *map(bytes.decode, READERS), *full.to_fields()[::2]}
    for path in LUA:
        text = path.read_text()
        for command in ("HSET", "HSETNX"):
            for call in calls_of(text, f"redis.call('{command}', "):
                target, _, rest = call.partition(",")
                if target in ("m.key", "key"):
                    found.update(re.findall(r"'([a-z_]+)'", rest))
                    found.update(f"{name}<fence>" for name in re.findall(r"'(attempt:)'", rest))
        for names in re.findall(r"pcall\('HMGET', key, (.*?)\)", text, re.DOTALL):
            found.update(re.findall(r"'(\w+)'", names))
    release = text_of("django_tasks/broker/lua/_release.lua")
    found.update(re.findall(r"'(cause|how|failure)'", release))
    found.update(f"{name}<position>" for name in re.findall(r"'(in:)'", release))
    found.update(re.findall(r'\*\*done.fields, "(\w+)"', text_of("django_tasks/worker/execute.py")))
    ended = text_of("django_tasks/worker/execute.py").partition("def _unrunnable")[2]
    ended += text_of("django_tasks/worker/telling.py")
    found.update(re.findall(r'fields\["(\w+)"\] = ', ended))
    found.update(
        re.findall(r'^        "(started_at|worker_id|error_\w+|traceback)": ', ended, re.M)
    )
    return found


def test_every_field_of_a_message_is_there_and_none_besides() -> None:
    assert set(table("docs/wire-format.md", "## The fields of a message")) == written_fields()


@pytest.mark.django_db(transaction=True)
def test_a_real_message_has_no_field_that_is_not_there(queue: TaskSettings) -> None:
    from django_tasks.broker import Broker
    from django_tasks.worker.burst import burst
    from tests import tasks

    known = set(table("docs/wire-format.md", "## The fields of a message"))
    results = [
        tasks.add.enqueue(1, 2),
        tasks.add.using(record="after", retries=0, expires=60).enqueue(1, 2),
        tasks.add.using(retries=0, backoff=(1, 2)).enqueue(1, "two"),  # type: ignore[arg-type]
    ]
    broker = Broker(queue)
    seen: set[str] = set()

    def look() -> None:
        for result in results:
            snapshot = broker.snapshots("default", [result.id])[result.id]
            seen.update(snapshot.fields)
            seen.update("attempt:<fence>" for _ in snapshot.attempts)

    look()
    burst(queue, ["default"])
    look()
    broker.close()

    assert seen - known == set()
    assert {"args", "backoff", "expires", "recorded", "return_value", "traceback"} <= seen


def test_the_example_of_a_message_shows_known_fields_only() -> None:
    known = set(table("docs/wire-format.md", "## The fields of a message"))
    example = text_of("docs/wire-format.md").partition("## The fields")[0]
    lines = re.findall(r'^ ?\d+\) "(.*)"$', example, re.MULTILINE)

    shown = {re.sub(r"\d+$", "<fence>", name) for name in lines[::2]}

    assert len(lines) > 20
    assert shown - known == set()


def test_every_key_is_there() -> None:
    rows = {*table("docs/wire-format.md", "## The keys")}
    shared = {*table("docs/wire-format.md", "Outside the queues' slots:")}
    one, all_queues = QueueKeys("p", "q"), SharedKeys("p")
    plain = {key.removeprefix(f"{one.root}:") for key in vars(one).values()} - {one.root}
    made = (
        "message:<id>",
        "consumer:<consumer>",
        "dirty:<database>",
        "done:<id>",
        "waits:<id>",
        "dependents:<id>",
        "count:<minute>",
    )

    assert rows == {*plain, *made}
    assert shared == {
        f"<prefix>{key.removeprefix('p')}"
        for key in (
            all_queues.queues,
            all_queues.workers,
            all_queues.worker("<id>"),
            all_queues.duty("<duty>"),
        )
    }
    for name in (key.partition(":")[0] for key in made):
        assert callable(getattr(one, name))


def test_every_field_of_meta_and_every_counter_is_there() -> None:
    page = text_of("docs/wire-format.md")
    meta = table("docs/wire-format.md", "## The keys")["meta"][2]
    counters = page.partition("\nCounters: ")[2].partition("\n\n")[0]

    for path in LUA:
        text = path.read_text()
        for call in re.findall(r"'HM?(?:GET|SET)', META, (.*?)\)", text):
            for name in re.findall(r"'([a-z_]+)'", call):
                assert f"`{name}`" in meta, name
        for name in re.findall(r"\bcount\('(\w+)'", text):
            assert f"`{name}`" in counters, name


def test_every_script_and_every_file_has_its_place_in_the_house() -> None:
    house = (
        text_of("docs/contributing/house.md").partition("## The tree")[2].partition("```\nLater")[0]
    )
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and "migrations" not in path.parts
    ]

    homeless = [named(path) for path in files if not re.search(rf"\b{path.name}\b", house)]
    homeless += [named(path) for path in LUA if not re.search(rf"\b{path.stem}\b", house)]
    listed = re.findall(r"^ +(\w+\.py)\b", house.partition("demo_project")[0], re.MULTILINE)

    assert homeless == []
    assert set(listed) - {path.name for path in files} == {"__init__.py"}


def test_the_laws_name_tests_and_files_that_exist() -> None:
    page = text_of("docs/contributing/laws.md")
    tests = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")))

    missing = [name for name in re.findall(r"`(test_\w+)`", page) if f"def {name}(" not in tests]
    paths = re.findall(r"`((?:\w+/)+\w+\.(?:py|lua))`", page)
    missing += [
        path for path in paths if not (ROOT / path).exists() and not (PACKAGE / path).exists()
    ]

    assert missing == []
    # Faults are quoted as they are named; a name may run over a line's end.
    sections = re.split(r"^## \d+\.", " ".join(page.split("\n  ")), flags=re.MULTILINE)
    unnamed = [name for name, (law, *_) in FAULTS.items() if f'"{name}"' not in sections[law]]
    assert unnamed == []
    assert re.findall(r"^## (\d+)\.", page, re.MULTILINE) == [str(n) for n in range(1, 11)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_quoted_code_is_the_codes_own(page: Path) -> None:
    for language in ("python", "lua"):
        for comment, block in blocks(page, language):
            if comment.startswith("from "):
                quoted = [line.strip() for line in block.strip().splitlines()]
                real = [line.strip() for line in text_of(comment[5:]).splitlines()]
                starts = range(len(real) - len(quoted) + 1)
                assert any(real[i : i + len(quoted)] == quoted for i in starts), comment


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "style.md" and blocks(page, "python")],
    ids=named,
)
def test_an_example_is_python(page: Path) -> None:
    for _, block in blocks(page, "python"):
        compile(block, named(page), "exec")


@pytest.fixture
def page_module(queue: TaskSettings) -> Iterator[types.ModuleType]:
    """A module for a page's examples, whose tasks are forgotten afterwards."""
    tasks, aliases = dict(registry._tasks), dict(registry._aliases)
    module = types.ModuleType("page_of_docs")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]
    registry._tasks.clear()
    registry._tasks.update(tasks)
    registry._aliases.clear()
    registry._aliases.update(aliases)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(note == "run" for note, _ in blocks(page, "python"))],
    ids=named,
)
def test_the_examples_of_a_page_run(page: Path, page_module: types.ModuleType) -> None:
    scope: dict[str, Any] = vars(page_module)

    for note, block in blocks(page, "python"):
        if note == "run":
            exec(compile(block, named(page), "exec"), scope)

    assert "enqueue_many" in scope
