"""Every option of a task: its default, its validation, its contradictions; one dataclass.

Django's own options (``queue_name``, ``priority``, ``backend``, ``takes_context``, ``run_after``)
stay fields of ``Task``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_tasks.calls.dependency import checked_dependencies
from django_tasks.calls.retries import Backoff, RetryPolicy, to_backoff, to_seconds
from django_tasks.conf import SAME_DATABASE
from django_tasks.errors import InvalidTaskOptions
from django_tasks.states import Recording

DJANGO_OPTIONS = ("queue", "queue_name", "priority", "backend", "takes_context")
LEAST_PRIORITY, GREATEST_PRIORITY = -100, 100
MAX_NAME = 200  # characters: the width of TaskRecord.task_name
MAX_QUEUE = 100  # characters: the width of TaskRecord.queue_name


@dataclass(frozen=True)
class TaskOptions:
    """What ``@django_task`` knows beyond Django's options. Hashable, as a task is."""

    # The name that travels; default: module and function. Renaming a function with a fixed name,
    # or keeping the old one among the aliases, keeps messages on their way valid.
    name: str = ""
    aliases: tuple[str, ...] = ()
    # Attempts after the first.
    retries: int = 3
    # Errors that are retried, and those that are expected: FAILED at once, no ERROR log.
    retry_for: tuple[type[BaseException], ...] = (BaseException,)
    throws: tuple[type[BaseException], ...] = ()
    backoff: Backoff = field(default_factory=Backoff)
    # How often the task's process may die under it before it is given up.
    max_lost: int = 3
    # Where a call is written (law 2); "" means the setting RECORD.
    record: str = ""
    # Alias of the record's database, or "same": the one whose atomic block is open. "" means the
    # setting DATABASE, else what the routers say.
    database: str = ""
    # The body and its SUCCESSFUL in one transaction of the record's database (law 7).
    atomic: bool = False
    # Seconds after the enqueue (of one call also a time) after which it is not started any more;
    # None: never expires.
    expires: float | datetime | None = None
    # Parameters whose values are shown nowhere: the admin, commands, logs, errors, descriptions.
    sensitive: tuple[str, ...] = ()
    # Of one call (docs/workflows.md): what it waits for, whether it runs whatever becomes of that,
    # and what runs after it. Calls are not hashable, and a task is.
    depends_on: tuple[Any, ...] = field(default=(), hash=False)
    allow_failure: bool = False
    on_success: tuple[Any, ...] = field(default=(), hash=False)
    on_failure: tuple[Any, ...] = field(default=(), hash=False)
    on_cancelled: tuple[Any, ...] = field(default=(), hash=False)

    @property
    def is_joined(self) -> bool:
        """Whether this call waits for others, or others for it."""
        return bool(self.depends_on or self.on_success or self.on_failure or self.on_cancelled)

    @property
    def retry_policy(self) -> RetryPolicy:
        """When the next attempt is."""
        return RetryPolicy(self.retries, self.retry_for, self.backoff)


_OPTIONS = {option.name for option in fields(TaskOptions)}


# Read where the task is run, by its name, or by who serves all records: one call can't change them.
FIXED = frozenset("name aliases retry_for throws database takes_context atomic sensitive".split())
JOINS = ("depends_on", "allow_failure", "on_success", "on_failure", "on_cancelled")
YEARS = range(1970, 2255)  # of a time: what its microseconds, a double in the scripts, tell apart
MAX_DELAY = timedelta(days=365 * 200)


def changed_for_call(options: TaskOptions, changes: Mapping[str, Any]) -> TaskOptions:
    """``changed``, for ``using()``: what belongs to the task itself is refused."""
    fixed = sorted(FIXED.intersection(changes))
    if fixed:
        raise InvalidTaskOptions(
            f"{', '.join(fixed)}: this belongs to the task, not to one call of it, and can't be"
            f" given to using(). Write it at the definition: @django_task({fixed[0]}=…)."
        )
    return changed(options, changes)


def require_for_all_calls(options: Mapping[str, Any]) -> None:
    """Raises ``InvalidTaskOptions`` for what says something of one call, not of a task."""
    for name in JOINS:
        if name in options:
            raise InvalidTaskOptions(
                f"{name} says something of one call, not of a task: use"
                f" task.using({name}=…).enqueue(…)."
            )
    for name in ("run_after", "expires"):
        if isinstance(options.get(name), datetime) or (name == "run_after" and name in options):
            raise InvalidTaskOptions(
                f"{name} is a time of one call, not of a task: use task.using({name}=…).enqueue(…)."
            )


def changed(options: TaskOptions, changes: Mapping[str, Any]) -> TaskOptions:
    """``options`` with ``changes`` as a user writes them. Raises ``InvalidTaskOptions``."""
    if not changes:
        return options
    made = replace(options, **{name: _checked(name, value) for name, value in changes.items()})
    if made.atomic and made.record not in ("", Recording.FIRST):
        raise InvalidTaskOptions(
            f"atomic=True and record={made.record!r} contradict each other: the body commits"
            " together with its row, which must be there. Leave record out, or write"
            " record='first'."
        )
    return made


# What Celery and RQ call options that are ours under other names.
_ELSEWHERE = {
    "countdown": ["run_after"],
    "eta": ["run_after"],
    "link": ["on_success"],
    "link_error": ["on_failure"],
    "on_stopped": ["on_cancelled"],
    "at_front": ["priority"],
    "max_retries": ["retries"],
    "autoretry_for": ["retry_for"],
    "bind": ["takes_context"],
}


def _checked(name: str, value: Any) -> Any:
    if name not in _OPTIONS:
        known = sorted(_OPTIONS.union(DJANGO_OPTIONS))
        close = _ELSEWHERE.get(name) or difflib.get_close_matches(name, known, n=1)
        raise InvalidTaskOptions(
            f"Unknown option {name!r}."
            + (f" Did you mean {close[0]!r}?" if close else "")
            + f" Known options: {', '.join(known)}."
        )
    return _CHECKS[name](name, value)


def _whole_number(name: str, value: Any) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not _LEAST[name] <= value <= MOST:
        raise InvalidTaskOptions(
            f"{name} is {value!r}; it must be a whole number, {_LEAST[name]} to {MOST}."
        )
    return int(value)


def _errors(name: str, value: Any) -> tuple[type[BaseException], ...]:
    given = value if isinstance(value, tuple | list) else (value,)
    for one in given:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            raise InvalidTaskOptions(
                f"{name} is {value!r}; it must be a tuple of exception classes, like"
                f" {name}=(ConnectionError, TimeoutError)."
            )
    return tuple(given)


def _name(name: str, value: Any) -> str:
    is_text = isinstance(value, str) and value.isprintable() and value == value.strip()
    if not is_text or not 0 < len(value) <= MAX_NAME:
        raise InvalidTaskOptions(
            f"{name} is {value!r}; it must be text of 1 to {MAX_NAME} characters."
        )
    return str(value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, tuple | list):
        raise InvalidTaskOptions(f"{name} is {value!r}; it must be a tuple of names.")
    return tuple(_name(name, one) for one in value)


def _recording(name: str, value: Any) -> str:
    if value not in Recording.values():
        raise InvalidTaskOptions(
            f"{name} is {value!r}; it must be one of {', '.join(map(repr, Recording.values()))}."
        )
    return str(value)


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidTaskOptions(f"{name} is {value!r}; it must be True or False.")
    return value


def _alias(name: str, value: Any) -> str:
    if value and value != SAME_DATABASE and value not in settings.DATABASES:
        raise InvalidTaskOptions(
            f"{name} is {value!r}; it must be {SAME_DATABASE!r} or one of DATABASES:"
            f" {', '.join(map(repr, settings.DATABASES))}."
        )
    return str(value)


def _expires(name: str, value: Any) -> float | datetime | None:
    if value is None or isinstance(value, datetime):
        return checked_moment(name, value)
    return to_seconds(value, name)


def _calls(name: str, value: Any) -> tuple[Any, ...]:
    given = () if value is None else value
    given = tuple(given) if isinstance(given, tuple | list) else (given,)
    for one in given:
        if not (hasattr(one, "draft") or hasattr(one, "lay")):
            raise InvalidTaskOptions(
                f"{name} is {one!r:.200}; it must be a call not yet made, like {name}=tell.s()."
            )
    return given


_LEAST = {"retries": 0, "max_lost": 1}
MOST = 1_000_000  # far below what the record's columns hold
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "aliases": _names,
    "retries": _whole_number,
    "retry_for": _errors,
    "throws": _errors,
    "backoff": lambda name, value: to_backoff(value),
    "max_lost": _whole_number,
    "record": _recording,
    "database": _alias,
    "expires": _expires,
    "atomic": _yes_or_no,
    "sensitive": _names,
    "depends_on": lambda name, value: () if value is None else checked_dependencies(name, value),
    "allow_failure": _yes_or_no,
    "on_success": _calls,
    "on_failure": _calls,
    "on_cancelled": _calls,
}


def checked_sensitive(task_name: str, sensitive: tuple[str, ...], known: list[str]) -> None:
    """Raises ``InvalidTaskOptions`` for a name that is none of the parameters."""
    for name in sensitive:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise InvalidTaskOptions(
                f"{task_name}: sensitive names {name!r}, which is no parameter of it."
                + (f" Did you mean {close[0]!r}?" if close else "")
                + f" Its parameters: {', '.join(known) or 'none'}."
            )


def checked_queue(value: Any) -> str:
    """A queue's name: no braces, colons or spaces, since it becomes part of key names."""
    if not isinstance(value, str) or not value or len(value) > MAX_QUEUE:
        raise InvalidTaskOptions(
            f"The queue's name is {value!r}; it must be text of 1 to {MAX_QUEUE} characters."
        )
    if any(one in "{}:" or one.isspace() or not one.isprintable() for one in value):
        raise InvalidTaskOptions(
            f"The queue's name is {value!r}; it may not hold braces, colons, spaces or what can't"
            " be printed."
        )
    return value


def checked_priority(value: Any) -> None:
    """Raises ``InvalidTaskOptions``; 5.0 is as good as 5."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not LEAST_PRIORITY <= value <= GREATEST_PRIORITY or value != int(value):
        raise InvalidTaskOptions(
            f"priority must be a whole number between {LEAST_PRIORITY} and {GREATEST_PRIORITY}."
            f" It is {value!r}; higher goes first."
        )


def checked_moment(name: str, value: datetime | None) -> datetime | None:
    """A time that rows and messages can hold, with a zone where the project has zones."""
    if value is not None and value.year not in YEARS:
        raise InvalidTaskOptions(
            f"{name} is {value!r}; its year must be {YEARS[0]} to {YEARS[-1]}."
        )
    if value is not None and settings.USE_TZ and timezone.is_naive(value):
        raise InvalidTaskOptions(
            f"{name} must be an aware datetime. It is {value!r}, and USE_TZ is on."
        )
    return value


def checked_run_after(value: Any) -> None:
    """Raises ``InvalidTaskOptions`` for what is neither a time nor a ``timedelta``."""
    if isinstance(value, timedelta):
        if abs(value) > MAX_DELAY:
            raise InvalidTaskOptions(
                f"run_after is {value!r}; it must be at most {MAX_DELAY.days} days."
            )
    elif value is None or isinstance(value, datetime):
        checked_moment("run_after", value)
    else:
        raise InvalidTaskOptions(
            f"run_after is {value!r}; it must be a datetime, or a timedelta that counts from the"
            " enqueue."
        )


def one_queue(queue: Any, queue_name: Any) -> str | None:
    """``queue=`` and Django's ``queue_name=`` are the same option."""
    if queue is not None and queue_name is not None and queue != queue_name:
        raise InvalidTaskOptions(
            f"queue={queue!r} and queue_name={queue_name!r} are two words for one option;"
            " give one of them."
        )
    chosen = queue_name if queue is None else queue
    return None if chosen is None else checked_queue(chosen)
