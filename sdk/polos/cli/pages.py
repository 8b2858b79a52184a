"""Lists that the REST API gives page by page."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

from .._client import PolosClient

PAGE = 200
SHORT_PATIENCE = 10.0  # seconds: somebody sits before the terminal


async def read_pages(
    client: PolosClient, kind: str, filters: dict[str, str], *, most: float = math.inf
) -> list[dict[str, Any]]:
    """The queues or the executions that fit, in the server's order."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < most:
        query = filters | {"limit": str(min(PAGE, most - len(found)))} | ({"cursor": cursor} if cursor else {})
        page = await client.http.call("GET", f"/{kind}?{urlencode(query)}", lane="client", patience=SHORT_PATIENCE)
        found += page[kind]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found
