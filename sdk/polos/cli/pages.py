"""Lists that the REST API gives page by page."""

from __future__ import annotations

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
