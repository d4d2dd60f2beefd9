"""The state of queues, workers and stores in numbers, and what is wrong in words.

One source for the admin, the command and Python. One pipeline to the broker, whatever the number of
messages; of the database only what small partial indexes hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError
from django.db.models import Count
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_tasks.broker import Broker, get_broker
from django_tasks.broker.answers import QueueStatus, WorkerSeen
from django_tasks.calls import registry
from django_tasks.conf import DEFAULT_ALIAS
from django_tasks.errors import BrokerError
from django_tasks.models import TaskRecord

LATE = 10.0  # seconds that the mirror or the outbox may be behind before anybody is told

# Outcomes after which a message is gone from its queue, as `count:<minute>` names them.
OUT = "succeeded failed expired cancelled undecodable dropped settled buried".split()


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a queue, when and why; ``until``: when it ends by itself, None if never."""

    who: str
    why: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue. Ages in seconds, None where nothing waits; ``incoming``, ``outgoing``: per second,
    over the last minute."""

    queue: str
    ready: int
    unacked: int
    scheduled: int
    deferred: int
    dead: int
    total: int
    paused: bool
    consumers: int
    oldest_waiting_seconds: float | None
    incoming: float
    outgoing: float
    mirror_lag_seconds: float | None
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, and what to do about it."""

    text: str
    cure: str = ""


@dataclass(slots=True)
class Status:
    """Everything the status page shows. ``broker``: version, memory (bytes), policy; ``outbox``:
    seconds that the oldest committed call has waited for its push, None if none does; ``away``:
    what does not serve, and why, which is among the alarms too."""

    queues: list[QueueLine] = field(default_factory=list)
    workers: list[WorkerSeen] = field(default_factory=list)
    broker: dict[str, Any] = field(default_factory=dict)
    outbox: float | None = None
    alarms: list[Alarm] = field(default_factory=list)
    away: list[str] = field(default_factory=list)

    @property
    def mirror_lag(self) -> float | None:
        """Seconds that the queue most behind has changed and its rows do not say so; None if all
        rows are up to date."""
        lags = [line.mirror_lag_seconds for line in self.queues]
        return max((lag for lag in lags if lag is not None), default=None)

    def note_away(self, what: str, error: Exception) -> None:
        text = f"{what}: {' '.join(str(error).split())[:300]}"
        self.away.append(text)
        self.alarms.append(Alarm(text))


def status(alias: str = DEFAULT_ALIAS) -> Status:
    """The present state. Raises nothing for a store that is away: it is an alarm."""
    found = Status()
    dead: dict[str, int] = {}
    for database in registry.databases():
        try:
            _look_at_rows(database, found, dead)
        except DatabaseError as error:
            text = _("The database %(database)r does not serve")
            found.note_away(text % {"database": database}, error)
    broker = get_broker(alias)
    try:
        _look_at_broker(broker, found, dead)
    except BrokerError as error:
        found.note_away(_("The broker does not serve"), error)
        found.queues = [_unknown_line(name, count) for name, count in sorted(dead.items())]
        return found
    found.alarms += _alarms(found)
    return found


def _look_at_rows(database: str, found: Status, dead: dict[str, int]) -> None:
    rows = TaskRecord.objects.using(database)
    # Index taskrecord_dead.
    counted = rows.dead_letters().order_by().values("queue_name").annotate(count=Count("id"))
    for name, count in counted.values_list("queue_name", "count"):
        dead[name] = dead.get(name, 0) + count
    # Index taskrecord_pending; the id is a time.
    oldest = rows.pending().order_by("id").values_list("created_at", flat=True).first()
    if oldest is not None:
        waited = max((timezone.now() - oldest).total_seconds(), 0.0)
        found.outbox = max(found.outbox or 0.0, waited)


def _look_at_broker(broker: Broker, found: Status, dead: dict[str, int]) -> None:
    seen = broker.overview(dead, registry.databases())
    found.queues = [_line(name, one, dead.get(name, 0)) for name, one in seen.queues.items()]
    found.workers, facts = seen.workers, seen.facts
    found.broker = {
        "name": "Valkey" if "valkey_version" in facts else "Redis",
        "version": facts.get("valkey_version") or facts.get("redis_version", ""),
        "memory": int(facts.get("used_memory") or 0),
        "most_memory": int(facts.get("maxmemory") or 0),
        "policy": facts.get("maxmemory_policy", ""),
    }


def _line(name: str, numbers: QueueStatus, dead: int) -> QueueLine:
    return QueueLine(
        queue=name,
        ready=numbers.ready,
        unacked=numbers.unacked,
        scheduled=numbers.scheduled,
        deferred=numbers.deferred,
        dead=dead + numbers.dead,
        total=numbers.total,
        paused=numbers.meta.get("paused") == "1",
        consumers=numbers.consumers,
        oldest_waiting_seconds=numbers.oldest_waiting,
        incoming=numbers.rates.get("enqueued", 0.0),
        outgoing=sum(numbers.rates.get(word, 0.0) for word in OUT),
        mirror_lag_seconds=numbers.mirror_lag,
        pause=_pause(numbers.meta),
    )


def _pause(meta: dict[str, str]) -> Pause | None:
    since = _time(meta.get("paused_at"))
    if meta.get("paused") != "1" or since is None:
        return None
    who, why = meta.get("paused_by", ""), meta.get("paused_why", "")
    return Pause(who, why, since, _time(meta.get("paused_until")))


def _time(us: str | None) -> datetime | None:
    if not us or not us.isdigit() or us == "0":
        return None
    return datetime.fromtimestamp(int(us) / 1e6, tz=UTC)


def pause_text(line: QueueLine) -> str:
    """``The queue mail is paused since 14:02 by anna: "bank holiday", until 18:00.``"""
    if line.pause is None:
        return _("The queue %(queue)s is paused.") % {"queue": line.queue}
    text = _("The queue %(queue)s is paused since %(since)s by %(who)s") % {
        "queue": line.queue,
        "since": f"{timezone.localtime(line.pause.since):%Y-%m-%d %H:%M}",
        "who": line.pause.who,
    }
    if line.pause.why:
        text += f': "{line.pause.why}"'
    if line.pause.until is not None:
        text += _(", until %(time)s") % {
            "time": f"{timezone.localtime(line.pause.until):%Y-%m-%d %H:%M}"
        }
        if line.pause.until <= datetime.now(UTC):
            text += _(", which is over: a worker of the queue ends it")
    return f"{text}."


def _unknown_line(name: str, dead: int) -> QueueLine:
    return QueueLine(name, 0, 0, 0, 0, dead, 0, False, 0, None, 0.0, 0.0, None)


def _alarms(found: Status) -> list[Alarm]:
    return [*_of_queues(found.queues), *_of_stores(found)]


def _of_queues(lines: Sequence[QueueLine]) -> list[Alarm]:
    alarms = []
    for line in lines:
        if line.ready and line.paused:
            waiting = ngettext(
                "%(ready)d ready one waits.", "%(ready)d ready ones wait.", line.ready
            ) % {"ready": line.ready}
            text = f"{pause_text(line)} {waiting}"
            alarms.append(Alarm(text, f"python manage.py tasks resume {line.queue}"))
        elif line.ready and not line.consumers:
            text = ngettext(
                "Queue %(queue)s: %(ready)d ready, and nothing takes it.",
                "Queue %(queue)s: %(ready)d ready, and nothing takes them.",
                line.ready,
            )
            alarms.append(
                Alarm(
                    text % {"queue": line.queue, "ready": line.ready},
                    f"python manage.py runworker {line.queue}",
                )
            )
        if (line.mirror_lag_seconds or 0) > LATE:
            text = _("Queue %(queue)s: rows are %(seconds)d s behind. Does a worker's keeper run?")
            alarms.append(
                Alarm(text % {"queue": line.queue, "seconds": line.mirror_lag_seconds or 0})
            )
    return alarms


def _of_stores(found: Status) -> list[Alarm]:
    alarms = []
    if (found.outbox or 0) > LATE:
        text = _(
            "A committed call has waited %(seconds)d s for its push. Does a worker's keeper run?"
        )
        alarms.append(Alarm(text % {"seconds": found.outbox or 0}))
    policy = found.broker.get("policy", "")
    if policy not in ("", "noeviction"):
        text = _("The broker throws keys away when it is full (%(policy)s).")
        alarms.append(Alarm(text % {"policy": policy}, "CONFIG SET maxmemory-policy noeviction"))
    return alarms
