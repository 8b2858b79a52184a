"""`polos.schedules`, under its name in `polos-sdk`."""

from __future__ import annotations

from ..schedules import *  # noqa: F403
