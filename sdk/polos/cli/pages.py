"""Lists that the REST API gives page by page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from .._client import PolosClient
from .._listing import pages

SHORT_PATIENCE = 10.0  # seconds: somebody sits before the terminal


async def read_pages(
    client: PolosClient, kind: str, query: Mapping[str, str], *, most: int | None = None
) -> list[dict[str, Any]]:
    """What fits, in the server's order, as the REST API gives it."""
    return [each async for page in pages(client, kind, query, most=most) for each in page]


def count(text: str) -> int:
    """For argparse."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 10,000")
    return int(text)
