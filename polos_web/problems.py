"""What a person has to put right: one sentence, shown without a traceback."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class Problem(ImproperlyConfigured):
    """Says what is wrong and what to do about it."""
