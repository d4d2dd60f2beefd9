"""A script's header is its contract: parsed here, and held against the script and the Broker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from django_tasks.broker import Broker, scripts
from django_tasks.broker.keys import QueueKeys
from django_tasks.broker.message import USUAL

LUA = Path(scripts.__file__).parent / "lua"
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua") if not path.stem.startswith("_"))
PARTS = sorted(path.stem for path in LUA.glob("_*.lua"))
SHARED = {"announce", "describe", "lease"}  # not of a queue: KEYS[1] is no queue's root

WORD = re.compile(r"-- (KEYS\[1\]|ARGV\[[\d.]+\]|returns|dirty|uses|repeats|\w+:)\s*(.*)")


def header(name: str) -> dict[str, str]:
    """The comment at the top of a script: word → what it says."""
    fields: dict[str, str] = {}
    word = ""
    for line in scripts.read_lua(name).splitlines():
        if not line.startswith("-- "):
            break
        found = WORD.match(line)
        if found and not line.startswith("--  "):
            word = found[1].rstrip(":")
            fields[word] = found[2]
        elif word:
            fields[word] += " " + line[3:].strip()
    return fields


def body(name: str) -> str:
    """A script without its comments."""
    lines = scripts.read_lua(name).splitlines()
    return "\n".join(line.partition("--")[0] for line in lines)


def defined_by(part: str) -> set[str]:
    """The names that a part gives to those below it."""
    names: set[str] = set(re.findall(r"^local function (\w+)", body(part), re.MULTILINE))
    for found in re.findall(r"^local ([\w, ]+?) =", body(part), re.MULTILINE):
        names.update(name.strip() for name in found.split(","))
    return names


def used_by(name: str) -> list[str]:
    return header(name)["uses"].split()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_says_what_moves_and_what_goes_in_and_out(name: str) -> None:
    said = header(name)

    assert next(iter(said)) == name, "the first line is its name and what moves from where to where"
    for word in ("KEYS[1]", "returns", "dirty", "repeats"):
        assert said[word], word
    takes_arguments = "ARGV" in scripts.read_lua(name).partition("\n\n")[2]
    assert any(word.startswith("ARGV[1") for word in said) == takes_arguments
    assert "uses" in said


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_broker_has_a_method_of_the_same_name(name: str) -> None:
    assert callable(getattr(Broker, name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_names_each_part_it_needs_and_no_other(name: str) -> None:
    used = used_by(name)
    below = "\n".join([body(name), *(body(part) for part in used)])

    for part in used:
        others = below.replace(body(part), "", 1)
        mentioned = [one for one in defined_by(part) if re.search(rf"\b{one}\b", others)]
        assert mentioned, f"{part} is pasted for nothing"
    free = {
        one
        for part in PARTS
        if part not in used
        for one in defined_by(part)
        if one.isupper() is False and re.search(rf"\b{one}\(", body(name))
    }
    assert free == set(), "called, and not pasted"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_reads_the_clock_in_one_place(name: str) -> None:
    assert "'TIME'" not in body(name)


def test_every_part_is_used() -> None:
    assert {part for name in SCRIPTS for part in used_by(name)} == set(PARTS)


def test_key_names_are_the_same_in_lua_and_python(redis_client: Any) -> None:
    keys = QueueKeys("p", "mail")
    answers = redis_client.eval(
        scripts.read_lua("_keys")
        + """
        return {READY, SCHEDULED, UNACKED, META, WAKE, DEAD, WORKERS, STOPPING, message_key('i'),
                consumer_key('c'), dirty_key('default'), count_key('7')}""",
        1,
        "p:{mail}",
    )

    assert answers == [
        keys.ready,
        keys.scheduled,
        keys.unacked,
        keys.meta,
        keys.wake,
        keys.dead,
        keys.workers,
        keys.stopping,
        keys.message("i"),
        keys.consumer("c"),
        keys.dirty("default"),
        keys.count(7),
    ]


def test_what_is_left_out_means_the_same_in_lua_and_python() -> None:
    look = scripts.read_lua("_message")
    [names] = re.findall(r"'HMGET', key, (.*?)\)", look, re.DOTALL)
    places = {name: place for place, name in enumerate(re.findall(r"'(\w+)'", names), start=1)}

    meant = dict(re.findall(r"(\w+) = tonumber\(v\[\d+\]\) or (\d+)", look))

    assert {name: str(USUAL.get(name, "0")) for name in meant} == meant
    for name in meant:
        assert f"{name} = tonumber(v[{places[name]}])" in look


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_builds_keys_of_its_own_slot_only(name: str) -> None:
    built = re.findall(r"redis\.p?call\('\w+',\s*([\w.\[\]]+)", body(name))

    named = {"root", "key", "KEYS[1]", "m.key"} | {
        one for part in PARTS for one in defined_by(part)
    }
    assert {one for one in built if one not in named} == set()
    assert (name in SHARED) == ("_keys" not in used_by(name))
