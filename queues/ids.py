"""UUIDv7 (RFC 9562): ids in the order of time, so that new rows go to one end of the index."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import time
from uuid import UUID

_last = 0


def derived(at: dt.datetime, seed: bytes) -> UUID:
    """The id that everybody makes of the same time and seed: a UUIDv7 of that time."""
    milliseconds = (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    digest = int.from_bytes(hashlib.sha256(seed).digest()[:10], "big")
    moment, tail = digest >> 62 & 0xFFF, digest & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (moment << 64) | (0x2 << 62) | tail)


def uuid7() -> UUID:
    """A new id. Within a process ids rise strictly: the 12 bits after the milliseconds hold their fraction."""
    global _last
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    moment = max((milliseconds << 12) | (rest * 4096 // 1_000_000), _last + 1)
    _last = moment
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=((moment >> 12) << 80) | (0x7 << 76) | ((moment & 0xFFF) << 64) | (0x2 << 62) | tail)
