"""DJANGO_TASKS: every setting has a type, a unit and a default; what is wrong is told (law 10)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_tasks.conf import TaskSettings, our_options, task_settings
from django_tasks.errors import InvalidSettings, TaskQueueError

OURS: dict[str, Any] = {"BACKEND": "django_tasks.RedisBackend"}


def test_one_setting_is_enough(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://redis:6379/3"}

    chosen = task_settings()

    assert chosen.broker == "redis://redis:6379/3"
    assert (chosen.lease, chosen.result_ttl, chosen.record) == (10.0, 3600, "first")
    assert chosen.max_argument_bytes == 1_000_000
    assert chosen.max_input_bytes == 10_000_000


@pytest.mark.parametrize("nothing", [None, {}])
def test_without_any_setting_there_are_defaults(settings: Any, nothing: Any) -> None:
    settings.DJANGO_TASKS = nothing

    assert task_settings().broker == "redis://127.0.0.1:6379/0"


def test_two_projects_on_one_server_do_not_mix_and_folders_are_the_projects(
    settings: Any, tmp_path: Path
) -> None:
    settings.DJANGO_TASKS = {}
    settings.BASE_DIR = tmp_path

    assert task_settings().prefix == "tests.settings"
    assert task_settings().embedded_folder == str(tmp_path / "var" / "broker")


@pytest.mark.parametrize(
    ("given", "name", "kept"),
    [
        ({"LEASE": 3}, "lease", 3.0),
        ({"LEASE": 0.5}, "lease", 0.5),
        ({"MODULES": ["a.b"]}, "modules", ("a.b",)),
        ({"MODULES": ("a.b",)}, "modules", ("a.b",)),
        ({"RECORD": "after"}, "record", "after"),
        ({"RECORD": "never"}, "record", "never"),
        ({"RESULT_TTL": 60}, "result_ttl", 60),
        ({"PREFIX": "shop"}, "prefix", "shop"),
        ({"RELEASE": "v7"}, "release", "v7"),
        ({"EMBEDDED_FOLDER": Path("/srv/x")}, "embedded_folder", "/srv/x"),
    ],
)
def test_a_value_is_kept_in_the_type_of_its_setting(
    settings: Any, given: Any, name: str, kept: Any
) -> None:
    settings.DJANGO_TASKS = given

    value = getattr(task_settings(), name)

    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("BROKR", "BROKER"), ("broker", "BROKER"), ("RESULTS_TTL", "RESULT_TTL"), ("LEAS", "LEASE")],
)
def test_an_unknown_key_is_told_what_was_meant(settings: Any, wrong: str, meant: str) -> None:
    settings.DJANGO_TASKS = {wrong: 1}

    with pytest.raises(InvalidSettings) as caught:
        task_settings()

    said = str(caught.value)
    assert f"DJANGO_TASKS has an unknown key {wrong!r}. Did you mean {meant!r}?" in said
    assert all(name in said for name in our_options())
    assert isinstance(caught.value, ImproperlyConfigured)
    assert isinstance(caught.value, TaskQueueError)


@pytest.mark.parametrize(
    "given",
    [
        {"LEASE": 0.0},
        {"LEASE": -1.0},
        {"LEASE": "10"},
        {"LEASE": True},
        {"LEASE": None},
        {"LEASE": float("nan")},
        {"LEASE": float("inf")},
        {"RESULT_TTL": 1.5},
        {"RESULT_TTL": 10**18},
        {"MAX_ARGUMENT_BYTES": 0},
        {"MODULES": "tests.tasks"},
        {"RECORD": "later"},
        {"RECORD": True},
        {"PREFIX": "a{b"},
        {"PREFIX": "a b"},
        {"BROKER": None},
        {"BROKER": 6379},
    ],
)
def test_a_wrong_value_is_told_with_its_key(settings: Any, given: dict[str, Any]) -> None:
    settings.DJANGO_TASKS = given
    [(key, value)] = given.items()

    with pytest.raises(InvalidSettings) as caught:
        task_settings()

    assert str(caught.value).startswith(f"DJANGO_TASKS[{key!r}] is {value!r}; ")


@pytest.mark.parametrize("wrong", ["redis://x", ["BROKER"], 7])
def test_settings_that_are_no_dict_are_told(settings: Any, wrong: Any) -> None:
    settings.DJANGO_TASKS = wrong

    with pytest.raises(InvalidSettings, match="must be a dict"):
        task_settings()


# -- aliases -----------------------------------------------------------------------------------


def test_options_override_key_by_key_and_alias_by_alias(settings: Any) -> None:
    settings.DJANGO_TASKS = {"BROKER": "redis://a/0", "LEASE": 5}
    settings.TASKS = {
        "default": OURS,
        "second": {**OURS, "OPTIONS": {"LEASE": 7, "PREFIX": "two"}},
    }

    first, second = task_settings(), task_settings("second")

    assert (first.broker, first.lease) == ("redis://a/0", 5.0)
    assert (second.broker, second.lease, second.prefix) == ("redis://a/0", 7.0, "two")


def test_a_wrong_option_names_its_alias(settings: Any) -> None:
    settings.TASKS = {"default": OURS, "second": {**OURS, "OPTIONS": {"LEESE": 7}}}

    with pytest.raises(InvalidSettings, match=r'TASKS\["second"\]\["OPTIONS"\] has an unknown'):
        task_settings("second")
    assert task_settings("default")


def test_options_of_djangos_own_backends_are_not_judged(settings: Any) -> None:
    immediate = "django.tasks.backends.immediate.ImmediateBackend"
    settings.TASKS = {"default": {"BACKEND": immediate, "OPTIONS": {"their": "own"}}}

    assert task_settings().lease == 10.0


# -- when they are read ------------------------------------------------------------------------


def test_settings_are_read_when_they_are_used_and_changes_are_seen(settings: Any) -> None:
    settings.DJANGO_TASKS = {"LEASE": 5}
    before = task_settings().lease

    settings.DJANGO_TASKS = {"LEASE": 6}

    assert (before, task_settings().lease) == (5.0, 6.0)


def test_every_setting_is_a_field_with_a_default() -> None:
    assert our_options() == {
        field.name.upper(): field.default for field in dataclasses.fields(TaskSettings)
    }
    assert {
        "BROKER",
        "PREFIX",
        "LEASE",
        "MODULES",
        "RECORD",
        "RESULT_TTL",
        "MAX_ARGUMENT_BYTES",
    } <= (set(our_options()))
    assert {type(default) for default in our_options().values()} <= {str, int, float, tuple, bool}
    assert hash(TaskSettings()) == hash(TaskSettings())
