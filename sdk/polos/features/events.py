"""`polos.events`, under its name in `polos-sdk`."""

from __future__ import annotations

from ..events import *  # noqa: F403
