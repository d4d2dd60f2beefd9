"""DJANGO_TASKS as one frozen dataclass: every setting, its type, its unit and its default.

Read lazily and per alias: ``TASKS[alias]["OPTIONS"]`` overrides ``DJANGO_TASKS`` key by key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from django.conf import ENVIRONMENT_VARIABLE, settings
from django.core.signals import setting_changed

from django_tasks.errors import InvalidSettings
from django_tasks.states import Recording

DEFAULT_ALIAS = "default"
SAME_DATABASE = "same"  # of the option and the setting: the one whose atomic block is open
MAX_RELEASE = 100  # characters: the width of TaskRecord.release
MOST = 1_000_000_000  # seconds (30 years) or bytes: what the server's clock and memory can hold


@dataclass(frozen=True)
class TaskSettings:
    """The settings of one alias. ``docs/settings.md`` is held against this by a test."""

    # Address of the broker: an alias of CACHES that django-redis serves, a redis://, rediss://,
    # unix:// or redis+sentinel:// URL, or embedded:// (a server started on demand, development).
    broker: str = "redis://127.0.0.1:6379/0"
    # First part of every key, so that two projects on one Redis never mix.
    # Default: the name of the settings module.
    prefix: str = ""
    # Seconds a worker may go without a beat before what it holds is taken back.
    lease: float = 10.0
    # Dotted names of modules that define tasks, besides each app's `tasks`.
    modules: tuple[str, ...] = ()
    # Where the calls of tasks that do not say are written: "first", "after" or "never".
    record: str = Recording.FIRST.value
    # Alias of the database for the records of tasks that name none; "same": the one whose atomic
    # block is open. Default: what the routers say.
    database: str = ""
    # Seconds a finished message stays in the broker for who reads its result.
    result_ttl: int = 3600
    # Bytes that the JSON of one call's arguments may take.
    max_argument_bytes: int = 1_000_000
    # Largest JSON, in bytes, of the values that one call gets of what it waits for.
    max_input_bytes: int = 10_000_000
    # Name of this release of the project, sent with every message: another release's unknown
    # task names are given back for a while (rolling deploys).
    release: str = ""
    # Seconds that a running task which was cancelled has to end; then its process is replaced.
    cancel_grace: float = 10.0
    # Seconds for which an unknown task name of another release is given back.
    unknown_task_grace: float = 600.0
    # Queue in which the admin has a deed on many records carried out.
    console_queue: str = "default"
    # Dotted paths of the middlewares around each enqueue and each run, the outermost first.
    middleware: tuple[str, ...] = ("django_tasks.LanguageAndTimeZone", "django_tasks.Provenance")
    # Whether a call that is made in a request notes the key of the user who is signed in.
    provenance_user: bool = False
    # Folder of the embedded broker. Default: `var/broker` under BASE_DIR, else the current folder.
    embedded_folder: str = ""


_SETTINGS = {field.name.upper(): field for field in fields(TaskSettings)}
_POSITIVE = (
    "lease",
    "result_ttl",
    "max_argument_bytes",
    "max_input_bytes",
    "unknown_task_grace",
    "cancel_grace",
)


@lru_cache(maxsize=64)
def task_settings(alias: str = DEFAULT_ALIAS) -> TaskSettings:
    """The settings of ``alias``. Raises ``InvalidSettings`` for unknown keys and wrong values."""
    ours = getattr(settings, "DJANGO_TASKS", None) or {}
    if not isinstance(ours, Mapping):
        # Not its value: it may be an address with a password in it.
        raise InvalidSettings(
            f"DJANGO_TASKS is a {type(ours).__name__}; it must be a dict, like"
            ' {"BROKER": "redis://127.0.0.1:6379/0"}.'
        )
    given: dict[str, Any] = dict(ours)
    source = dict.fromkeys(given, "DJANGO_TASKS")
    options = _options_of(alias)
    given.update(options)
    source.update(dict.fromkeys(options, f'TASKS["{alias}"]["OPTIONS"]'))
    values = {str(key).lower(): _checked(key, value, source[key]) for key, value in given.items()}
    values["prefix"] = values.get("prefix") or _default_prefix()
    values["embedded_folder"] = values.get("embedded_folder") or _default_folder()
    return TaskSettings(**values)


def _options_of(alias: str) -> Mapping[str, Any]:
    chosen = (getattr(settings, "TASKS", None) or {}).get(alias, {})
    # Options of Django's own backends are not ours to judge.
    if str(chosen.get("BACKEND", "")).startswith("django.tasks."):
        return {}
    return chosen.get("OPTIONS") or {}


def _checked(key: Any, value: Any, where: str) -> Any:
    field = _SETTINGS.get(key)
    if field is None:
        close = difflib.get_close_matches(str(key).upper(), _SETTINGS, n=1)
        raise InvalidSettings(
            f"{where} has an unknown key {key!r}."
            + (f" Did you mean {close[0]!r}?" if close else "")
            + f" Known keys: {', '.join(_SETTINGS)}."
        )
    wanted: Any = type(field.default)
    if wanted is float and type(value) is int:
        value = float(value)
    elif wanted is tuple and isinstance(value, list):
        value = tuple(value)
    elif wanted is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        is_secret = key == "BROKER" and not isinstance(value, int | None)  # a password in it
        shown = f"a {type(value).__name__}" if is_secret else repr(value)
        raise InvalidSettings(
            f"{where}[{key!r}] is {shown}; it must be a {wanted.__name__}"
            f" (default: {field.default!r})."
        )
    if field.name in _POSITIVE and not 0 < value < MOST:  # also NaN, which compares with nothing
        raise InvalidSettings(
            f"{where}[{key!r}] is {value!r}; it must be greater than 0 and less than {MOST:,}."
        )
    if field.name == "middleware" and not all(isinstance(one, str) for one in value):
        raise InvalidSettings(
            f"{where}[{key!r}] is {value!r}; it must be a tuple of dotted paths, like"
            f" {field.default!r}."
        )
    if field.name == "release" and len(value) > MAX_RELEASE:
        raise InvalidSettings(
            f"{where}[{key!r}] has {len(value)} characters; at most {MAX_RELEASE} are kept."
        )
    if field.name == "record" and value not in Recording.values():
        raise InvalidSettings(
            f"{where}[{key!r}] is {value!r}; it must be one of"
            f" {', '.join(map(repr, Recording.values()))}."
        )
    if field.name == "database" and value not in ("", SAME_DATABASE, *settings.DATABASES):
        raise InvalidSettings(
            f"{where}[{key!r}] is {value!r}; it must be {SAME_DATABASE!r} or one of DATABASES:"
            f" {', '.join(map(repr, settings.DATABASES))}."
        )
    if field.name == "prefix" and set("{} \n").intersection(value):
        raise InvalidSettings(
            f"{where}[{key!r}] is {value!r}; a prefix has no braces and no spaces, since the"
            " queue's name stands in braces behind it."
        )
    return value


def _default_prefix() -> str:
    # settings.configure() has no module; then all such processes of a machine share the name.
    # override_settings() hides it, and a test must not lose sight of its own project's keys.
    named = getattr(settings, "SETTINGS_MODULE", None) or os.environ.get(ENVIRONMENT_VARIABLE)
    return named or "django_tasks"


def _default_folder() -> str:
    base = getattr(settings, "BASE_DIR", None) or os.getcwd()
    return os.path.join(os.fspath(base), "var", "broker")


def our_options() -> Mapping[str, Any]:
    """Each setting's name and default, for docs and checks."""
    return {name: field.default for name, field in _SETTINGS.items()}


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DJANGO_TASKS", "TASKS", "BASE_DIR", "DATABASES"):
        task_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_tasks.conf")
