"""Saves steps: those that come while a request is in flight go together in the next one."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from ._batches import fitting
from ._errors import Conflict, Invalid, RequestRefused, TooLarge
from ._http import Http, backoff

Waiting = tuple[str, "asyncio.Future[dict[str, Any]]"]


class StepSaver:
    """Saves the steps of all executions of one worker, for as long as it takes."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def submit(self, step: str) -> asyncio.Future[dict[str, Any]]:
        """Will hold the server's `SavedStep` for one `NewStep` in JSON. It is sent even when nobody waits."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((step, future))
        if self._task is None or self._task.done():
            # Without the variables of the execution that happens to come first: it saves for all of them.
            self._task = asyncio.create_task(self._send_all(), context=Context())
        return future

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                saved = await self._send([step for step, _ in batch])
            except Exception as error:
                _refuse(batch, error)
                continue
            for (_, future), answer in zip(batch, saved, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _take(self) -> list[Waiting]:
        count = fitting([step for step, _ in self._waiting])
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _send(self, steps: list[str]) -> list[dict[str, Any]]:
        """One bad step must not fail the others: a refused batch is sent again one by one."""
        try:
            reply = await self._post(steps)
        except Conflict as error:
            return [{"outcome": "stale", "detail": error.detail}] * len(steps)
        except (Invalid, TooLarge) as error:
            if len(steps) == 1:
                return [{"outcome": "invalid", "detail": error.detail}]
            return [answer for step in steps for answer in await self._send([step])]
        found: list[dict[str, Any]] = reply["steps"]
        return found

    async def _post(self, steps: list[str]) -> Any:
        """Repeated also while this worker is refused (its key was revoked): the steps are done, and are kept."""
        body, tries = f'{{"steps":[{",".join(steps)}]}}', 0
        while True:
            try:
                reply = await self._http.call("POST", "/steps", body, lane="steps", patience=None)
            except (Conflict, Invalid, TooLarge):
                raise
            except RequestRefused as error:
                tries += 1
                self._http.outages.begin("steps refused", f"refuses this worker: {error}")
                await asyncio.sleep(backoff(tries, 1.0))
            else:
                self._http.outages.end("steps refused")
                return reply


def _refuse(batch: list[Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
