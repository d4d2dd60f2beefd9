"""Moments and spans as a person types them, and the ids that were made then."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from django_tasks.errors import InvalidFilter
from django_tasks.framework import to_utc

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)?")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
MOST = 100 * 365 * 86400


def seconds(text: str) -> float:
    """``300``, ``90s``, ``5m``, ``24h``, ``7d``. Raises ``InvalidFilter``."""
    found = _SPAN.fullmatch(text.strip().lower())
    span = float(found[1]) * _UNITS[found[2] or "s"] if found else MOST + 1.0
    if span > MOST:
        raise InvalidFilter(_("%s is no span of time. Like: 90s, 5m, 24h, 7d.") % repr(text))
    return span


def moment(text: str, *, is_end: bool = False) -> datetime:
    """A day, a day and a time, ``today``, ``yesterday``, or how long ago (``24h``), in the current
    time zone, as ``USE_TZ`` says. ``is_end``: a day means its end. Raises ``InvalidFilter``."""
    word = text.strip().lower()
    day = None
    try:
        if word in ("today", "yesterday"):
            day = timezone.localdate() if settings.USE_TZ else datetime.now().date()
            day -= timedelta(days=word == "yesterday")
        else:
            day = parse_date(text.strip())
        found = None if day is not None else parse_datetime(text.strip())
        if day is not None:
            found = datetime.combine(day + timedelta(days=is_end), time())
        if found is None:
            return timezone.now() - timedelta(seconds=seconds(word))
        if settings.USE_TZ and timezone.is_naive(found):
            found = timezone.make_aware(found)
        elif not settings.USE_TZ and timezone.is_aware(found):
            found = timezone.make_naive(found)
        found.timestamp()
    except (InvalidFilter, ValueError, OverflowError):
        said = _("%s is no moment. Like: 2026-11-25, 2026-11-25 14:30, today, yesterday, 24h.")
        raise InvalidFilter(said % repr(text)) from None
    return found


def first_id(at: datetime) -> UUID:
    """The least id that a record made at that moment may have (UUIDv7)."""
    aware = to_utc(at)
    ms = max(int(aware.timestamp() * 1000), 0) if aware is not None else 0
    # Whole, with version and variant: a database may order what has others in another way.
    return UUID(int=(ms & (2**48 - 1)) << 80 | 0x7 << 76 | 0b10 << 62)


def made_at(record_id: UUID) -> datetime:
    """When an id was made, as ``USE_TZ`` says."""
    at = datetime.fromtimestamp((record_id.int >> 80) / 1000, tz=timezone.get_default_timezone())
    return at if settings.USE_TZ else timezone.make_naive(at)
