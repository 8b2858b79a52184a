"""How much the server takes in one request."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

MOST_ITEMS = 1_000
MOST_CHARACTERS = 3_900_000  # of 16 MiB: a character has up to four bytes


def fitting(texts: Sequence[str], start: int = 0) -> int:
    """How many of these, from `start` on, go into one request. The first one does in any case."""
    sizes = list(map(len, texts[start : start + MOST_ITEMS]))
    if sum(sizes) <= MOST_CHARACTERS:
        return len(sizes)
    return max(1, bisect_right(list(accumulate(sizes)), MOST_CHARACTERS))
