"""Who answers what: the hot endpoints, Django behind its gate, the live socket."""

from __future__ import annotations

import warnings
from typing import cast

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from queues.routing import websocket_urlpatterns
from workflows.api import hot

from .gate import Application, Gate, Receive, Scope, Send
from .service import service

# WhiteNoise hands out small files that are read at once.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

_django = Gate(cast(Application, ASGIHandler()), at_once=settings.POLOS_DB_POOL_SIZE)
_socket = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if not service.started:  # Daphne knows no lifespan
        await service.start()
    scope["root_path"] = ""  # Daphne takes it from a header that anybody can send
    if scope["type"] == "websocket":
        await _socket(scope, receive, send)
        return
    with service.requests:
        answer = hot.application if hot.handles(scope) else _django
        await answer(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await service.start()
        else:
            await service.stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
