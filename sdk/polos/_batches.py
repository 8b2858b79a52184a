"""How much the server takes in one request."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from ._errors import TooLarge

MOST_ITEMS = 1_000
MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_PAYLOAD_BYTES = 256 * 1024  # also of an event
MAX_RESULT_BYTES = 1024 * 1024  # also of a step, and of an answer
MOST_CHARACTERS = 3_900_000  # of 16 MiB: a character has up to four bytes


def fitting(texts: Sequence[str], start: int = 0) -> int:
    """How many of these, from `start` on, go into one request. The first one does in any case."""
    sizes = list(map(len, texts[start : start + MOST_ITEMS]))
    if sum(sizes) <= MOST_CHARACTERS:
        return len(sizes)
    return max(1, bisect_right(list(accumulate(sizes)), MOST_CHARACTERS))


def size_over(text: str, most: int) -> int:
    """How many bytes it has in UTF-8 when these are more than `most`; else 0."""
    if len(text) <= most // 4:
        return 0
    size = len(text.encode())
    return size if size > most else 0


def check_request(text: str, what: str, most: int) -> str:
    """The text, or TooLarge for what no request can carry. The server says the same of what one can, but is over
    `most`; here it could only say that some request was too large."""
    if size := size_over(text, MAX_REQUEST_BYTES):
        raise TooLarge(413, f"{what} has {size:,} bytes, at most {most:,} are allowed.")
    return text
