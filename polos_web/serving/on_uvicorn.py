"""uvicorn: the optional extra for those who need more requests per second."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from ..asgi import application
from .life import Life

_MAX_MESSAGE_BYTES = 4096


class DrainingServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # ours, in `Life`

    async def refuse_new(self) -> None:
        for server in self.servers:
            server.close()

    def let_go(self) -> None:
        self.should_exit = True


def serve(life: Life, *, host: str, port: int) -> None:
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=_MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=2,
    )
    asyncio.run(_serve(life, DrainingServer(config)))


async def _serve(life: Life, server: DrainingServer) -> None:
    loop = asyncio.get_running_loop()
    life.watch_signals(loop, refuse_new=server.refuse_new, let_go=server.let_go)
    serving = asyncio.ensure_future(server.serve())
    while not (server.started or serving.done()):  # noqa: ASYNC110  (it tells nobody)
        await asyncio.sleep(0.01)
    if server.started:
        await life.begin()
    await serving
    # A signal that arrives from here on finds nothing left to drain.
    loop.remove_signal_handler(signal.SIGINT)
