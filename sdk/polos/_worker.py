"""The worker: registers, serves one registration after the other, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ._client import PolosClient
from ._context import Tools
from ._errors import ConfigurationError, DefinitionError, Gone
from ._http import Unreachable, backoff
from ._ids import new_id
from ._json import encode
from ._queue import NOT_GIVEN, Mention, check_agreement
from ._session import Busy, Session
from ._settings import checked_max_concurrent
from ._steps import StepSaver
from ._threads import Threads
from ._version import __version__
from ._workflow import Workflow, check_unique, registered_workflows

logger = logging.getLogger("polos")

DRAIN_SECONDS = 30.0
ECHO_SECONDS = 0.5
LEAVE_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Worker:
    """Runs workflows: `asyncio.run(Worker(workflows=[...]).run())`.

    Without `workflows` it serves all that this process has declared. It runs up to `max_concurrent` executions
    at once, survives outages of the server, and on SIGTERM or SIGINT finishes what runs, for up to
    `drain_seconds`, then hands the rest back. A second signal ends the process at once.
    """

    def __init__(
        self,
        workflows: Iterable[Workflow[Any]] | None = None,
        *,
        client: PolosClient | None = None,
        name: str | None = None,
        max_concurrent: int | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._client = client or PolosClient()
        self._owns_client = client is None
        settings = self._client.settings
        self.name = _checked_name(name or settings.worker_name)
        self.max_concurrent = checked_max_concurrent(
            settings.max_concurrent if max_concurrent is None else max_concurrent
        )
        self.drain_seconds = drain_seconds
        self._workflows = check_unique(registered_workflows() if workflows is None else workflows)
        if not self._workflows:
            raise DefinitionError("A worker needs at least one workflow: declare one with @workflow.")
        self._mentions = check_agreement(each.queue for each in self._workflows.values())
        self._draining = asyncio.Event()
        self._signalled: float | None = None
        self.ready = asyncio.Event()  # set once the server has taken the first registration

    def __repr__(self) -> str:
        return f"<Worker {self.name}: {', '.join(self._workflows)}>"

    async def run(self) -> None:
        """Works until SIGTERM, SIGINT, `stop()`, or until the server asks it to leave."""
        with leave_signals(self._on_signal):
            await self.serve()

    @property
    def workflows(self) -> list[Workflow[Any]]:
        """What it serves."""
        return list(self._workflows.values())

    def stop(self) -> None:
        """Begins to drain; `run` returns when it is done."""
        self._draining.set()

    async def shutdown(self) -> None:
        """`stop`, for code that awaits it."""
        self.stop()

    async def serve(self) -> None:
        """`run` without signals: for a worker inside another program."""
        for each in self._workflows.values():
            each.payload_shape()  # an annotation that cannot be found fails here, not in the first execution
        threads, saver = Threads(self.max_concurrent), StepSaver(self._client.http)
        tools = Tools(client=self._client, saver=saver, threads=threads, worker=self.name)
        try:
            await self._serve(tools, Busy(self.max_concurrent))
        finally:
            tools.parking.close()
            saver.close()
            tools.reporter.close()
            threads.close()
            if self._owns_client:
                await self._client.close()

    async def _serve(self, tools: Tools, busy: Busy) -> None:
        while not self._draining.is_set():
            session = await self._begin(tools, busy)
            if session is None:
                return
            try:
                await session.run()
            except Gone:
                logger.warning("The server gave up this worker%s. Registering again.", session.why_lost())
            else:
                return

    async def _begin(self, tools: Tools, busy: Busy) -> Session | None:
        """Registers, for as long as it takes; None when draining begins first."""
        registration = asyncio.create_task(self._register())
        drained = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait((registration, drained), return_when=asyncio.FIRST_COMPLETED)
            if not registration.done():
                return None
            registered, sent = registration.result()
        finally:
            registration.cancel()
            drained.cancel()
        self._tell(registered)
        self.ready.set()
        return Session(
            http=self._client.http,
            registered=registered,
            sent=sent,
            workflows=self._workflows,
            tools=tools,
            busy=busy,
            draining=self._draining,
            drain_seconds=lambda: self.drain_seconds,
        )

    async def _register(self) -> tuple[dict[str, Any], float]:
        """The server's answer, and when the request that it answers was sent: the lease counts from there."""
        http, tries = self._client.http, 0
        loop = asyncio.get_running_loop()
        body = self._registration(new_id())
        while True:
            sent = loop.time()
            try:
                registered: dict[str, Any] = await http.once("POST", "/workers", body, timeout=30)
            except Unreachable as trouble:
                tries += 1
                http.outages.begin("register", trouble.reason)
                await asyncio.sleep(backoff(tries, trouble.retry_after))
            except Gone:
                body = self._registration(new_id())
            else:
                http.outages.end("register")
                return registered, sent

    def _registration(self, id: str) -> str:
        body = {
            "id": id,
            "name": self.name,
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "sdk_version": __version__,
            "max_concurrent": self.max_concurrent,
            "queues": [_declaration(mention) for mention in self._mentions],
            "workflows": [_registered(each) for each in self._workflows.values()],
        }
        return encode(body, "The registration")

    def _tell(self, registered: dict[str, Any]) -> None:
        queues = sorted({each.queue.name for each in self._workflows.values()})
        logger.info(
            "Worker %s serves %s on %s at %s, up to %d at once.",
            self.name, ", ".join(self._workflows), ", ".join(queues),
            self._client.settings.api_url, self.max_concurrent,
        )  # fmt: skip
        for warning in registered.get("warnings") or ():
            logger.warning("%s", warning)

    def _on_signal(self, number: int) -> None:
        now, before = time.monotonic(), self._signalled
        self._signalled = before or now
        # `uv run` and `timeout` pass on a signal that the whole group got already: one Ctrl-C, heard twice.
        if before is not None and now - before > ECHO_SECONDS:
            logger.warning("Second signal: ending at once. What runs here starts again when the lease is over.")
            os._exit(128 + number)
        self._draining.set()


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise ConfigurationError("The name of a worker (POLOS_WORKER_NAME) is a text of 1 to 200 characters.")
    return name


def _registered(workflow: Workflow[Any]) -> dict[str, Any]:
    options = {name: getattr(workflow, name) for name in ("priority", "queue_timeout", "execution_timeout")}
    return {
        "id": workflow.id, "queue": workflow.queue.name, "description": workflow.description,
        "max_attempts": workflow.retries + 1, "schedule": workflow.schedule, "trigger": workflow.trigger,
        **{name: value for name, value in options.items() if value},
    }  # fmt: skip


def _declaration(mention: Mention) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": mention.name, "place": mention.place}
    if mention.limit is not NOT_GIVEN:
        declared["concurrency_limit"] = mention.limit
    return declared


@contextmanager
def leave_signals(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Handlers for as long as the block runs; nothing where the platform or the thread has none."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in LEAVE_SIGNALS:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, on_signal, number)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
