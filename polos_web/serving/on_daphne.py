"""Daphne, run by us: it cancels what is in flight when it stops, it reads a whole body before it asks anybody, and
it keeps what a slow client has not read yet, so all three are done here."""

from __future__ import annotations

from .reactor import loop

# isort: split
import asyncio
from typing import Any

from daphne import http_protocol, ws_protocol
from daphne import server as daphne_server
from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from ..asgi import application
from ..gate import max_bytes
from ..problems import Problem
from .lane import Lane
from .life import Life

_REFUSAL = b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MAX_MESSAGE_BYTES = 4096  # pages say little on the socket
_READ_BYTES = 256 * 1024
_BACKLOG = 1024  # a fleet of workers comes back at once; of Twisted's 50 the rest would wait for seconds


class Flow:
    """Told by the connection when its buffer is full and when there is room again."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        self.open.clear()

    def resumeProducing(self) -> None:
        self.open.set()

    stopProducing = resumeProducing


class BoundedRequest(http_protocol.WebRequest):  # type: ignore[misc]
    """Refuses a body that is too large while it arrives. Daphne would first write all of it to a file."""

    received = 0
    limit: int | None = None
    flow: Flow | None = None

    async def room(self, *, more: bool) -> None:
        """Waits until a client that reads slowly has read. Daphne would keep all of a long answer in memory."""
        if self.flow is None and more and self.channel is not None and not self.finished:
            self.flow = Flow()
            self.registerProducer(self.flow, True)
        if self.flow is not None and more:
            await self.flow.open.wait()

    def finish(self) -> None:
        if self.flow is not None:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        if self.flow is not None:
            self.flow.open.set()
        super().connectionLost(reason)

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        path = self.channel._path.partition(b"?")[0].decode("latin-1")
        self.limit = max_bytes(path)
        if length is not None and length > self.limit:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self.limit is None:
            return
        self.received += len(data)
        if self.received > self.limit:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        self.limit = None
        self.channel.transport.write(_REFUSAL)
        self.channel.loseConnection()


class PagesSocket(ws_protocol.WebSocketProtocol):  # type: ignore[misc]
    """What pages say is bounded, but not what they are told. Autobahn has one bound for both, and drops what is
    longer without an error: every frame about more than eight queues."""

    maxMessagePayloadSize: int

    def sendMessage(self, *said: Any, **options: Any) -> None:
        bound, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*said, **options)
        finally:
            self.maxMessagePayloadSize = bound


class LanesFactory(http_protocol.HTTPFactory):  # type: ignore[misc]
    """Every connection begins on the fast lane."""

    def buildProtocol(self, addr: Any) -> Protocol:
        server = self.server
        return Lane(
            server.application, tasks=server.tasks, daphnes=lambda: super(LanesFactory, self).buildProtocol(addr)
        )


class DrainingServer(Server):  # type: ignore[misc]
    connections: dict[Any, Any]
    tasks: set[asyncio.Task[None]]  # requests on the fast lane
    listen_problem = ""
    port: Any = None

    def listen_success(self, port: Any) -> None:
        self.port = port
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        self.listen_problem = failure.getErrorMessage()
        self.stop()

    async def refuse_new(self) -> None:
        if (closed := self.port.stopListening()) is not None:
            await closed.asFuture(loop)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] == "http.response.body" and isinstance(protocol, BoundedRequest):
            await protocol.room(more=message.get("more_body", False))

    def kill_all_applications(self) -> Deferred[Any]:
        # Its own version stumbles over connections that have no application yet, or no longer.
        open_ones = self.connections.items()
        self.connections = {key: value for key, value in open_ones if "application_instance" in value}
        self.connections |= {task: {"application_instance": task} for task in self.tasks}
        return super().kill_all_applications()  # type: ignore[no-any-return]


def serve(life: Life, *, host: str, port: int) -> None:
    http_protocol.WebRequest = BoundedRequest  # what Daphne makes of each request
    daphne_server.HTTPFactory = LanesFactory  # and of each connection
    ws_protocol.WebSocketFactory.protocol = PagesSocket
    server = DrainingServer(
        application,
        endpoints=[
            f"{each}:backlog={_BACKLOG}" for each in build_endpoint_description_strings(host=host, port=port)
        ],
        signal_handlers=False,
        request_buffer_size=_READ_BYTES,
        websocket_max_message_size=_MAX_MESSAGE_BYTES,
        websocket_max_frame_size=_MAX_MESSAGE_BYTES,
        ready_callable=lambda: loop.create_task(life.begin()),
        server_name="",
        verbosity=0,
    )
    server.tasks = set()
    life.watch_signals(loop, refuse_new=server.refuse_new, let_go=server.stop)
    server.run()
    if server.listen_problem:
        raise Problem(f"The server cannot listen on {host}, port {port}: {server.listen_problem}")
