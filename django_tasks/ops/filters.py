"""What a person asks of records, in words, and what it means as a condition.

Everything is as it was typed (query parameters, options of a command); it is read when it is
used, so that "today" is today. What can't be served is refused with a word, never passed over."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from django_tasks.calls import registry
from django_tasks.errors import InvalidFilter
from django_tasks.models.record import TaskRecord, TaskRecordQuerySet
from django_tasks.ops.contents import contents
from django_tasks.ops.moments import first_id, moment, seconds
from django_tasks.states import FINAL, WAITING, State

logger = logging.getLogger("django_tasks.filters")

# In the order of the indexes' conditions: SQLite compares them word by word.
FAILED_KINDS = (State.FAILED, State.CANCELLED, State.EXPIRED)
UNFINISHED = (State.PENDING, State.DEFERRED, State.SCHEDULED, State.READY, State.RUNNING)
GROUPS = {"waiting": WAITING, "unfinished": frozenset(UNFINISHED), "final": FINAL}
ORDERS = ("newest", "oldest")


@dataclass(frozen=True)
class RecordFilter:
    """All text, as typed; "" says nothing. ``state``: states or groups of them, with commas;
    ``worker``: how its name begins; ``since``, ``until``: of the creation; ``finished``: since
    when; ``longer``: it runs, or waits, for more than that; ``dead``: "1" for dead letters;
    ``parent``: the id of the record that enqueued it; ``workflow``: the id of the one it is in;
    ``q``: an id, a task, or ``key:value`` in what it was called with."""

    q: str = ""
    state: str = ""
    task: str = ""
    queue: str = ""
    worker: str = ""
    error: str = ""
    release: str = ""
    since: str = ""
    until: str = ""
    finished: str = ""
    longer: str = ""
    dead: str = ""
    parent: str = ""
    workflow: str = ""
    order: str = ""
    database: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> RecordFilter:
        """Raises ``InvalidFilter`` for a name that is none and for a value that means nothing."""
        names = [one.name for one in fields(cls)]
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                text = _("%(name)s is no filter of records.") % {"name": repr(name)}
                hint = _(" Did you mean %s?") % close[0] if close else ""
                raise InvalidFilter(f"{text}{hint} {_('There are:')} {', '.join(names)}.")
        made = cls(**{name: readable(name, value) for name, value in given.items()})
        made.alias  # noqa: B018 - each is said now, if it is wrong
        made.conditions()
        made.is_oldest_first  # noqa: B018
        return made

    def to_query(self) -> dict[str, str]:
        """What brings the same back: parameters of an address."""
        values = {one.name: str(getattr(self, one.name)) for one in fields(self)}
        return {name: value for name, value in values.items() if value}

    def queryset(self) -> TaskRecordQuerySet:
        """All that match, unbounded: for deeds. Newest first."""
        rows: TaskRecordQuerySet = TaskRecord.objects.using(self.alias).filter(self.conditions())
        return rows.order_by("-id")

    @property
    def alias(self) -> str:
        """Of the database that is looked at."""
        return database_of(self.database)

    @property
    def is_oldest_first(self) -> bool:
        if self.order and self.order not in ORDERS:
            text = _("%s is no order. There are: newest, oldest.")
            raise InvalidFilter(text % repr(self.order))
        return self.order == "oldest"

    # -- what it means --------------------------------------------------------------------------

    @cached_property
    def states(self) -> frozenset[str]:
        """The states that may be; empty where any may."""
        found: set[str] = set()
        for word in filter(None, (one.strip() for one in self.state.split(","))):
            group = GROUPS.get(word.lower())
            if group is None and word.upper() not in State.values:
                close = difflib.get_close_matches(word.upper(), State.values, n=1)
                known = ", ".join([*State.values, *GROUPS])
                raise InvalidFilter(
                    _("%s is no state.") % repr(word)
                    + (_(" Did you mean %s?") % close[0] if close else "")
                    + " "
                    + _("There are: %s.") % known
                )
            found |= group or {word.upper()}
        if self.state and not found:  # "," must not mean: any
            raise InvalidFilter(_("%s is no state.") % repr(self.state))
        return frozenset({State.FAILED} if self.is_dead and not found else found)

    @property
    def is_dead(self) -> bool:
        return self.dead.lower() not in ("", "0", "no", "false")

    @cached_property
    def searched(self) -> tuple[str, Any]:
        """What ``q`` is: ("id", UUID), ("task", names), ("contents", (key, value)),
        or "" for nothing."""
        text = self.q
        if not text:
            return "", None
        try:
            return "id", UUID(text)
        except ValueError:
            pass
        key, colon, value = text.partition(":")
        if colon and key.strip() and not key.strip().count(" "):
            return "contents", (key.strip(), value.strip())
        if " " in text:
            said = _(
                "Nothing is searched for the words %s. Give an id, a task's name or key:value."
            )
            raise InvalidFilter(said % repr(text))
        return "task", named(text)

    @cached_property
    def tasks(self) -> list[str]:
        """The names of tasks that may be; empty where any may."""
        chosen = named(self.task) if self.task else []
        kind, names = self.searched
        if kind != "task":
            return chosen
        return [name for name in chosen if name in names] if self.task else list(names)

    @property
    def times(self) -> Q:
        """``since`` and ``until``, as a range of ids: these begin with their time."""
        found = Q()
        if self.since:
            found &= Q(id__gte=first_id(moment(self.since)))
        if self.until:
            found &= Q(id__lt=first_id(moment(self.until, is_end=True)))
        return found

    def conditions(self) -> Q:
        """All of it as one condition."""
        kind, sought = self.searched
        found = self.times & self.beside_indexes()
        if kind == "id":
            found &= Q(id=sought)
        if self.states:
            found &= Q(status__in=sorted(self.states))
        if self.tasks or kind == "task" or self.task:
            found &= Q(task_name__in=self.tasks)
        if self.queue:
            found &= Q(queue_name=self.queue)
        if self.parent:
            found &= Q(parent_id=read_id(self.parent))
        if self.workflow:
            found &= Q(workflow=read_id(self.workflow))
        if self.is_dead:
            found &= ~Q(dead_letter="")
        return found

    def beside_indexes(self) -> Q:
        """What no index knows."""
        found = Q()
        if self.worker:
            found &= Q(worker_id__startswith=self.worker)
        if self.error:
            found &= Q(error_class=self.error) | Q(error_class__endswith=f".{self.error}")
        if self.release:
            found &= Q(release=self.release)
        if self.finished:
            found &= Q(finished_at__gte=moment(self.finished))
        if self.longer:
            found &= _longer(seconds(self.longer))
        kind, sought = self.searched
        if kind == "contents":
            if not connections[self.alias].features.supports_json_field:
                raise InvalidFilter(_("This database can't look into arguments (key:value)."))
            _discover()
            key, value = sought
            found &= contents(key, value, self.tasks)
        return found


def database_of(name: str) -> str:
    """The alias of that name, or of the first that holds records. Raises ``InvalidFilter``."""
    known = registry.databases()
    if name and name not in known:
        text = _("No database %(name)s holds records. There are: %(known)s.")
        raise InvalidFilter(text % {"name": repr(name), "known": ", ".join(known)})
    return name or known[0]


def read_id(text: str) -> UUID:
    """Of a record or a workflow. Raises ``InvalidFilter``."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidFilter(_("%s is not the id of a record.") % repr(text[:50])) from None


def readable(name: str, value: object) -> str:
    """Raises ``InvalidFilter`` for what a database could not even be asked (NUL, a lone surrogate:
    a byte of a command line that is no UTF-8)."""
    text = str(value).strip()[:500]
    if any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text):
        raise InvalidFilter(
            _("%(name)s is %(value)s, which is no text.") % {"name": name, "value": ascii(text)}
        )
    return text


def named(text: str) -> list[str]:
    """The names of tasks that a person may mean: as it is, and whose last part it is."""
    known = task_names()
    if text in known:
        return [text]
    return [name for name in known if name.endswith(f".{text}")][:20] or [text]


def task_names() -> list[str]:
    """The tasks of this project, also where nobody imported them yet."""
    _discover()
    return [registry.name_of(task) for task in registry.all_tasks()]


@cache
def _discover() -> None:
    try:
        registry.discover()
    except Exception:  # whatever a module raises: records can be looked at all the same
        logger.warning("The tasks can't all be imported", exc_info=True)


def _longer(than: float) -> Q:
    """It runs (since its claim: a fence is a time) or waits for more than that many seconds."""
    then = timezone.now() - timedelta(seconds=than)
    runs = Q(status=State.RUNNING, fence__gt=0, fence__lt=int(then.timestamp() * 1e6))
    waits = Q(status__in=sorted(WAITING), created_at__lt=then)
    waits &= Q(run_after=None) | Q(run_after__lt=then)
    return runs | waits
