"""Modules of `polos-sdk` under their names there."""

from __future__ import annotations

from .. import events, schedules

__all__ = ["events", "schedules"]
