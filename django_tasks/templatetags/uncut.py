"""How the console writes durations, sizes and rates."""

from __future__ import annotations

from typing import Any

from django import template

from django_tasks.ops import words

register = template.Library()


@register.filter
def duration(seconds: float | None) -> str:
    """``6 min 40 s``."""
    return words.duration(seconds)


@register.filter
def size(count: float) -> str:
    """``12.3 MB``."""
    return words.size(count)


@register.filter
def rate(value: float) -> str:
    """Per second: whole from ten on."""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


@register.filter
def inert(value: Any, limit: int = 2000) -> str:
    """What a task supplied: on one line, bounded, nothing in it that does anything."""
    return words.inert(value, limit)
