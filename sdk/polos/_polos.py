"""`Polos`: client and worker in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ._caller import PATIENCE
from ._client import PolosClient
from ._errors import ServerUnavailable
from ._worker import DRAIN_SECONDS, Worker
from ._workflow import Workflow, registered_workflows

logger = logging.getLogger("polos")


class Polos(PolosClient):
    """A client that also runs the workflows: `async with Polos() as polos: await polos.run(...)`.

    Serves `workflows`, by default all that this process has declared. Leaving the block drains: what still runs
    here may finish for up to `drain_seconds`, after an error it is handed back at once.

    With a `log_file` what the worker says goes there, and not to the handlers of your program. `project_id` and
    `deployment_id`, of `polos-sdk`, are not used.
    """

    def __init__(
        self,
        workflows: Iterable[Workflow[Any]] | None = None,
        *,
        api_url: str | None = None,
        api_key: str | None = None,
        name: str | None = None,
        max_concurrent: int | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        patience: float = PATIENCE,
        log_file: str | Path | None = None,
        project_id: str | None = None,
        deployment_id: str | None = None,
    ) -> None:
        super().__init__(api_url, api_key, patience=patience)
        self._log_file = log_file
        self._log: logging.Handler | None = None
        chosen = registered_workflows() if workflows is None else list(workflows)
        self._worker = (
            Worker(chosen, client=self, name=name, max_concurrent=max_concurrent, drain_seconds=drain_seconds)
            if chosen
            else None
        )
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._open_log()
        if self._worker is not None:
            self._serving = asyncio.create_task(self._worker.serve())
            self._serving.add_done_callback(_tell_failure)
            try:
                await self._until_ready(self._worker, self._serving)
            except BaseException:
                await self._end()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None and error is not None:
            self._worker.drain_seconds = 0.0
        await self._end()

    async def _until_ready(self, worker: Worker, serving: asyncio.Task[None]) -> None:
        """Returns when the worker is registered; raises its error, or ServerUnavailable after `patience`."""
        ready = asyncio.create_task(worker.ready.wait())
        try:
            await asyncio.wait((ready, serving), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if serving.done():
            await serving
        if not worker.ready.is_set():
            serving.cancel()
            raise ServerUnavailable(f"The server {self.settings.api_url} gave no answer in {self._patience:g} s")

    async def _end(self) -> None:
        serving, self._serving = self._serving, None
        try:
            if self._worker is not None and serving is not None:
                self._worker.stop()
                await asyncio.wait((serving,))
                if not serving.cancelled():
                    serving.result()
        finally:
            await self.close()
            self._close_log()

    def _open_log(self) -> None:
        if self._log_file is not None:
            self._log = logging.FileHandler(self._log_file, encoding="utf-8")
            self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(self._log)
            self._before = (logger.level, logger.propagate)
            logger.setLevel(logging.INFO)
            logger.propagate = False

    def _close_log(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            logger.removeHandler(log)
            log.close()
            level, logger.propagate = self._before
            logger.setLevel(level)


def _tell_failure(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and (error := serving.exception()) is not None:
        logger.error("The worker ended: %s", error)
