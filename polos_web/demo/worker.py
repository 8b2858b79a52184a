"""Keeps the demo's worker running: a process of its own, started again when it ends, stopped before the server."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import structlog
from django.conf import settings

from ..people import local_url

log = structlog.get_logger(__name__)
_RUNNER = Path(__file__).with_name("run_worker.py")
_STOP_SECONDS = 6.0
_LONGEST_PAUSE = 30.0
_WELL_AFTER = 60.0  # seconds after which a worker that ends was not simply broken


class DemoWorker:
    def __init__(self, example: Path, key: str) -> None:
        self._example = example
        self._environment = _environment(key)
        self._log: Path = settings.POLOS_DATA_DIR / "demo-worker.log"
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end()

    def kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def _supervise(self) -> None:
        pause = 1.0
        while True:
            began = asyncio.get_running_loop().time()
            process = await self._launch()
            code = await process.wait()
            if asyncio.get_running_loop().time() - began > _WELL_AFTER:
                pause = 1.0
            log.warning("the demo's worker ended; it is started again", exit_code=code, log=str(self._log))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _launch(self) -> asyncio.subprocess.Process:
        with self._log.open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_RUNNER),
                str(self._example),
                cwd=self._example,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,  # closed by our end, however that comes: its sign to stop
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for us, and we decide the order
            )
        return self._process

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self.kill()
            await process.wait()


def _environment(key: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POLOS_")}
    ours = {"POLOS_API_URL": local_url(), "POLOS_API_KEY": key, "POLOS_WORKER_NAME": "demo"}
    return kept | ours | {"POLOS_ALLOW_HTTP": "1"}  # it stays on this machine
