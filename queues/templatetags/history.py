"""What the charts of a queue need to say."""

from __future__ import annotations

import datetime as dt

from django import template

from queues import words

register = template.Library()


@register.filter
def iso(at: float) -> str:
    """From seconds since 1970."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat()


@register.filter
def seconds(value: float | str) -> str:
    return words.duration(value) if isinstance(value, (int, float)) else "–"
