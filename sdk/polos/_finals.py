"""How children of one execution ended, as far as that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ._http import Http
from ._json import encode

MOST_AT_ONCE = 1_000  # results in one request
KEPT = ("id", "status", "result", "error")


class Finals:
    """Asks the server, for many children at once where that helps."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._older: dict[str, None] = {}  # started by an earlier claim: they may be final by now
        self._asked: set[str] = set()
        self._final: dict[str, dict[str, Any]] = {}
        self._turn = asyncio.Lock()

    def add_older(self, ids: Iterable[str]) -> None:
        self._older.update(dict.fromkeys(ids))

    def has(self, ids: Iterable[str]) -> bool:
        """Whether all of them are known to have ended."""
        return self._final.keys() >= set(ids)

    def of(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """`{"id", "status", "result", "error"}` of each; its status is `missing` when the server has none."""
        return [self._final.get(id) or {"id": id, "status": "missing"} for id in ids]

    async def look(self, ids: Iterable[str]) -> None:
        """Asks for these, and for all older ones with them, but only when one of these was never asked for."""
        async with self._turn:
            if any(id in self._older and id not in self._asked for id in ids):
                await self._fetch([id for id in self._older if id not in self._asked])

    async def fetch(self, ids: Iterable[str]) -> None:
        """Asks for those of these that are not known."""
        async with self._turn:
            await self._fetch([id for id in ids if id not in self._final])

    async def _fetch(self, ids: list[str]) -> None:
        for begin in range(0, len(ids), MOST_AT_ONCE):
            part = ids[begin : begin + MOST_AT_ONCE]
            body = encode({"ids": part}, "Ids")
            reply = await self._http.call("POST", "/executions/results", body, lane="steps", patience=None)
            self._asked.update(part)
            for each in reply["executions"]:
                self._final[each["id"]] = {name: each[name] for name in KEPT if each.get(name) is not None}
