"""What all parts of the client share: one server, its settings, and how it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from ._http import Http
from ._json import decode
from ._settings import Settings, load_settings

LONGEST_WAIT = 30.0
SHORT_WAIT = 1.0
WAITING_REQUESTS = 64
PATIENCE = 60.0


class Caller:
    """Speaks to one server. Use it as an async context manager, or call `close()`."""

    def __init__(
        self, api_url: str | None = None, api_key: str | None = None, *, patience: float = PATIENCE
    ) -> None:
        self.settings: Settings = load_settings(api_url=api_url, api_key=api_key)
        self.http = Http(self.settings)
        self._patience = patience
        self._waiting = 0
        self._wait_turns = asyncio.Semaphore(WAITING_REQUESTS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.api_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.http.close()

    async def long_poll(self, path: str, left: float = LONGEST_WAIT) -> Any:
        """An answer that the server may keep back for up to `left` seconds."""
        self._waiting += 1
        try:
            # More waiters than requests: short turns, so that each gets to see its own.
            longest = LONGEST_WAIT if self._waiting <= WAITING_REQUESTS else SHORT_WAIT
            async with self._wait_turns:
                wait = min(left, longest)
                path = f"{path}{'&' if '?' in path else '?'}wait={wait:.3f}"
                return await self._call("GET", path, timeout=wait + 15)
        finally:
            self._waiting -= 1

    async def _call(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        timeout: float = 30.0,
        read: Callable[[bytes], Any] = decode,
    ) -> Any:
        return await self.http.call(
            method, path, body, lane="client", timeout=timeout, patience=self._patience, read=read
        )


def path_of(execution_id: str, rest: str = "") -> str:
    """The address of an execution, or of something of it."""
    return f"/executions/{quote(execution_id, safe='')}{rest}"
