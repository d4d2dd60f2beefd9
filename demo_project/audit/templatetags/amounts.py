"""Numbers as the audit's pages show them."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    """1234567 → 1,234,567."""
    return f"{number:,}"


@register.filter
def share_of(part: float, whole: float) -> str:
    """``part`` of ``whole`` in per cent, for a width in CSS: 25 of 200 → 12.50."""
    return f"{100 * part / whole if whole else 0:.2f}"
